/**
 * History that other servers have: read back to the first event from before a join, through gaps, and around a date; and
 * rooms of theirs as clients look at them before joining.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TestAuthority } from '../support/certificates.ts';
import {
  type ScriptedServer,
  startScriptedServer,
  type TestClient,
  type TestHomeserver,
} from '../support/federation.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { inRoom, startPair } from '../support/pair.ts';
import { PeerRoom } from '../support/peer-room.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let here: TestHomeserver;
let alice: TestClient;
let bob: TestClient;

before(async () => {
  ({ authority, here, alice, bob } = await startPair(stack));
});

after(() => stack.disposeAsync());

let transactions = 0;

async function createRoom(body: Readonly<Record<string, unknown>> = {}): Promise<string> {
  return textAt(await alice.ok('POST', '/createRoom', { preset: 'public_chat', ...body }), 'room_id');
}

async function say(user: TestClient, roomId: string, body: string, more: object = {}): Promise<string> {
  const path = `${inRoom(roomId)}/send/m.room.message/t${transactions++}`;
  return textAt(await user.ok('PUT', path, { msgtype: 'm.text', body, ...more }), 'event_id');
}

async function sayMany(roomId: string, count: number, name: string): Promise<string[]> {
  const sent: string[] = [];
  for (let index = 0; index < count; index++) sent.push(await say(alice, roomId, `${name} ${index}`));
  return sent;
}

const join = (user: TestClient, roomId: string): Promise<unknown> =>
  user.ok('POST', `/join/${encodeURIComponent(roomId)}?via=${here.serverName}`, {});

interface Walked {
  readonly ids: readonly string[];
  readonly bodies: readonly unknown[];
  readonly types: readonly unknown[];
}

/** Reads back from a token, or from the present, until nothing is left; the oldest event first. */
async function readBack(user: TestClient, roomId: string, from?: string, limit = 20): Promise<Walked> {
  const events: unknown[] = [];
  let token = from;
  for (let pages = 0; pages < 100; pages++) {
    const query = token === undefined ? '' : `&from=${encodeURIComponent(token)}`;
    const page = await user.ok('GET', `${inRoom(roomId)}/messages?dir=b&limit=${limit}${query}`);
    events.push(...listAt(page, 'chunk'));
    const end = at(page, 'end');
    if (typeof end !== 'string') break;
    token = end;
  }
  events.reverse();
  return {
    ids: events.map((event) => textAt(event, 'event_id')),
    bodies: events.map((event) => at(event, 'content', 'body')).filter((body) => body !== undefined),
    types: events.map((event) => at(event, 'type')),
  };
}

test('history from before a join is read to its first event, and what was missed between two joins too', async () => {
  const roomId = await createRoom();
  const first = await sayMany(roomId, 30, 'first');
  await join(bob, roomId);
  const joined = await readBack(bob, roomId);
  assert.equal(joined.types[0], 'm.room.create');
  assert.deepEqual(
    joined.ids.filter((id) => first.includes(id)),
    first,
  );
  await bob.ok('POST', `${inRoom(roomId)}/leave`, {});
  await until(async () => {
    const members = await alice.ok('GET', `${inRoom(roomId)}/joined_members`);
    return at(members, 'joined', bob.userId) === undefined;
  });
  const missed = await sayMany(roomId, 130, 'missed');
  await join(bob, roomId);
  const all = await readBack(bob, roomId);
  assert.deepEqual(
    all.ids.filter((id) => first.includes(id) || missed.includes(id)),
    [...first, ...missed],
    'what was missed lies between',
  );
  assert.equal(new Set(all.ids).size, all.ids.length, 'nothing comes twice');
});

test('B3: who joined a room whose history is for its members sees none of it, fetched or not', async () => {
  const visibility = { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } };
  const roomId = await createRoom({ initial_state: [visibility] });
  await sayMany(roomId, 15, 'secret');
  await join(bob, roomId);
  const seen = await readBack(bob, roomId);
  assert.deepEqual(seen.bodies, []);
});

test('relations and redactions of fetched history count like all others', async () => {
  const roomId = await createRoom();
  const root = await say(alice, roomId, 'root');
  const relation = { 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
  await say(alice, roomId, 'reply', relation);
  const secret = await say(alice, roomId, 'to be taken back');
  await alice.ok('PUT', `${inRoom(roomId)}/redact/${encodeURIComponent(secret)}/r${transactions++}`, {});
  await join(bob, roomId);
  const { bodies } = await readBack(bob, roomId);
  assert.deepEqual(bodies, ['root', 'reply']);
  const { body } = await bob.admin('GET', `/_matrix/client/v1${inRoom(roomId)}/threads`);
  assert.deepEqual(
    listAt(body, 'chunk').map((thread) => at(thread, 'event_id')),
    [root],
  );
  const children = await bob.admin('GET', `/_matrix/client/v1${inRoom(roomId)}/relations/${encodeURIComponent(root)}`);
  assert.equal(listAt(children.body, 'chunk').length, 1);
});

test('the event nearest to a time is found from before the join, and read on from', async () => {
  const roomId = await createRoom();
  const wanted = await say(alice, roomId, 'wanted');
  const event = await alice.ok('GET', `${inRoom(roomId)}/event/${encodeURIComponent(wanted)}`);
  const ts = Number(at(event, 'origin_server_ts'));
  await sayMany(roomId, 10, 'later');
  await join(bob, roomId);
  const path = `/_matrix/client/v1${inRoom(roomId)}/timestamp_to_event?ts=${ts}&dir=b`;
  const found = await bob.admin('GET', path);
  const id = textAt(found.body, 'event_id');
  assert.equal(at(found.body, 'origin_server_ts'), ts);
  const context = await bob.ok('GET', `${inRoom(roomId)}/context/${encodeURIComponent(id)}?limit=4`);
  const { ids, types } = await readBack(bob, roomId, textAt(context, 'end'));
  assert.equal(types[0], 'm.room.create');
  assert.ok(ids.includes(wanted));
  const whole = await readBack(bob, roomId);
  assert.equal(new Set(whole.ids).size, whole.ids.length);
  assert.equal(whole.bodies.length, 11);
});

test('spaces and rooms of other servers are shown before anybody joins them', async () => {
  const space = await createRoom({ creation_content: { type: 'm.space' }, name: 'space there', room_version: '11' });
  const inner = await createRoom({ name: 'inner' });
  const secret = await createRoom({ preset: 'private_chat', name: 'secret' });
  for (const child of [inner, secret]) {
    await alice.ok('PUT', `${inRoom(space)}/state/m.space.child/${encodeURIComponent(child)}`, {
      via: [here.serverName],
    });
  }
  const ours = textAt(await bob.ok('POST', '/createRoom', { creation_content: { type: 'm.space' } }), 'room_id');
  await bob.ok('PUT', `${inRoom(ours)}/state/m.space.child/${encodeURIComponent(space)}`, { via: [here.serverName] });
  const tree = await bob.admin('GET', `/_matrix/client/v1${inRoom(ours)}/hierarchy`);
  assert.deepEqual(
    listAt(tree.body, 'rooms').map((room) => at(room, 'room_id')),
    [ours, space, inner],
  );
  assert.ok(!JSON.stringify(tree.body).includes('"secret"'));
  const root = await bob.admin('GET', `/_matrix/client/v1${inRoom(space)}/hierarchy`);
  assert.deepEqual(
    listAt(root.body, 'rooms').map((room) => at(room, 'name')),
    ['space there', 'inner'],
  );
  const path = `/_matrix/client/v1/room_summary/${encodeURIComponent(inner)}`;
  const summary = await bob.admin('GET', `${path}?via=${here.serverName}`);
  assert.deepEqual([at(summary.body, 'name'), at(summary.body, 'membership')], ['inner', 'leave']);
  assert.equal((await bob.admin('GET', `/_matrix/client/v1/room_summary/!x:${here.serverName}`)).status, 404);
});

interface Scene {
  readonly peer: ScriptedServer;
  readonly peerRoom: PeerRoom;
  readonly roomId: string;
  readonly since: string;
}

/** A room of ours with a scripted server in it, and how far its user has synced. */
async function createScene(): Promise<Scene & AsyncDisposable> {
  const peer = await startScriptedServer(authority);
  const roomId = await createRoom({ room_version: '11' });
  const peerRoom = new PeerRoom(peer, here, { roomId, version: '11' });
  await peerRoom.join('eve');
  await say(alice, roomId, 'before the gap');
  await peerRoom.learn();
  const since = textAt(await alice.ok('GET', '/sync'), 'next_batch');
  return { peer, peerRoom, roomId, since, [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose]() };
}

/** More than is fetched when an event comes whose ancestors are missing. */
const GAP = 260;

test('a gap too long to fill ends the timeline of a sync, whose prev_batch leads through it', async () => {
  await using scene = await createScene();
  const { peerRoom, roomId } = scene;
  const eve = peerRoom.remote.user('eve');
  const missed = Array.from({ length: GAP }, (_, index) => peerRoom.room.message(eve, `missed ${index}`).eventId);
  peerRoom.serve();
  await peerRoom.send(peerRoom.room.message(eve, 'after the gap'));
  const synced = await alice.ok('GET', `/sync?since=${encodeURIComponent(scene.since)}`);
  const timeline = at(synced, 'rooms', 'join', roomId, 'timeline');
  assert.equal(at(timeline, 'limited'), true);
  const shown = listAt(timeline, 'events').map((event) => textAt(event, 'event_id'));
  const { ids, bodies } = await readBack(alice, roomId, textAt(timeline, 'prev_batch'));
  assert.equal(bodies[0], 'before the gap');
  const all = [...ids, ...shown];
  assert.deepEqual(
    all.filter((id) => missed.some((one) => one === id)),
    missed,
  );
  assert.equal(new Set(all).size, all.length);
});

test('A7, A20: of what fills a gap what is forged is left out, and the rest is kept', async () => {
  await using scene = await createScene();
  const { peerRoom, roomId } = scene;
  const eve = peerRoom.remote.user('eve');
  for (let index = 0; index < GAP; index++) peerRoom.room.message(eve, `missed ${index}`);
  peerRoom.serve((path, answer) => {
    if (!path.includes('/backfill/')) return answer;
    const forged = { type: 'm.room.message', sender: alice.userId, content: { body: 'forged' }, room_id: roomId };
    return { pdus: [null, 7, forged, { ...forged, depth: -1 }, ...listAt(answer, 'pdus')] as never };
  });
  await peerRoom.send(peerRoom.room.message(eve, 'after the gap'));
  const { bodies } = await readBack(alice, roomId);
  assert.ok(bodies.includes('missed 0') && bodies.includes(`missed ${GAP - 1}`));
  assert.ok(!bodies.includes('forged'));
});

test('B13: where nobody gives what is missing, what lies behind it is read all the same', async () => {
  await using scene = await createScene();
  const { peerRoom, roomId } = scene;
  const eve = peerRoom.remote.user('eve');
  for (let index = 0; index < GAP; index++) peerRoom.room.message(eve, `missed ${index}`);
  peerRoom.serve((path, answer) => (path.includes('/backfill/') ? 500 : answer));
  await peerRoom.send(peerRoom.room.message(eve, 'after the gap'));
  const { bodies, types } = await readBack(alice, roomId);
  assert.equal(types[0], 'm.room.create');
  assert.ok(bodies.includes('before the gap') && bodies.includes('after the gap'));
  assert.ok(!bodies.includes('missed 0'));
});

test('C16: spaces of a server that lies are walked once, within bounds', async () => {
  await using peer = await startScriptedServer(authority);
  const { handle } = peer;
  const child = (id: string): object => ({
    type: 'm.space.child',
    state_key: id,
    content: { via: [peer.serverName] },
    sender: `@eve:${peer.serverName}`,
    origin_server_ts: 1,
  });
  const root = textAt(await alice.ok('POST', '/createRoom', { creation_content: { type: 'm.space' } }), 'room_id');
  peer.handle = (request, response) => {
    const [, asked] = /\/hierarchy\/([^?]+)/.exec(request.url ?? '') ?? [];
    if (asked === undefined) return handle(request, response);
    const id = decodeURIComponent(asked);
    const below = Array.from({ length: 600 }, (_, index) => child(`!${index}${id.slice(0, 50)}`));
    const room = {
      room_id: id,
      room_type: 'm.space',
      join_rule: 'public',
      name: 7,
      topic: 'x'.repeat(100_000),
      num_joined_members: -1,
      children_state: [child(id), child(root), null, { type: 'm.space.child' }, ...below],
    };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ room, children: [{ room_id: root, name: 'forged' }, 7], inaccessible_children: [] }));
    return undefined;
  };
  const first = `!first:${peer.serverName}`;
  await alice.ok('PUT', `${inRoom(root)}/state/m.space.child/${encodeURIComponent(first)}`, { via: [peer.serverName] });
  const { status, body } = await alice.admin('GET', `/_matrix/client/v1${inRoom(root)}/hierarchy`);
  assert.equal(status, 200);
  const rooms = listAt(body, 'rooms');
  const ids = rooms.map((one) => textAt(one, 'room_id'));
  assert.deepEqual(ids.slice(0, 2), [root, first]);
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(rooms.every((one) => at(one, 'name') !== 'forged' && at(one, 'name') !== 7));
  assert.ok(peer.requests.filter((line) => line.includes('/hierarchy/')).length <= 30);
});
