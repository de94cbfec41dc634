/**
 * What another server may read of a room over HTTP: a scripted server joins a room of a whole one, and asks.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createEvent } from '../../src/protocol/event.ts';
import type { JsonObject, Pdu } from '../../src/protocol/pdu.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import { versionOf } from '../support/engine.ts';
import {
  type ScriptedServer,
  startHomeserver,
  startScriptedServer,
  type TestClient,
  type TestHomeserver,
} from '../support/federation.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { PeerRoom } from '../support/peer-room.ts';
import { askAs } from '../support/signed-requests.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let here: TestHomeserver;
let peer: ScriptedServer;
let stranger: ScriptedServer;
let alice: TestClient;

before(async () => {
  authority = stack.use(await createTestAuthority());
  here = stack.use(await startHomeserver({ authority }));
  peer = stack.use(await startScriptedServer(authority));
  stranger = stack.use(await startScriptedServer(authority));
  alice = await here.register('alice');
});

after(() => stack.disposeAsync());

let transactions = 0;

async function createRoom(body: Readonly<Record<string, unknown>> = {}, version = '12'): Promise<string> {
  const room = await alice.ok('POST', '/createRoom', { preset: 'public_chat', room_version: version, ...body });
  return textAt(room, 'room_id');
}

async function say(roomId: string, body: string): Promise<string> {
  const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/t${transactions++}`;
  return textAt(await alice.ok('PUT', path, { msgtype: 'm.text', body }), 'event_id');
}

async function setState(roomId: string, type: string, content: object): Promise<void> {
  await alice.ok('PUT', `/rooms/${encodeURIComponent(roomId)}/state/${type}`, content);
}

async function joinedRoom(version: string, body: Readonly<Record<string, unknown>> = {}) {
  const roomId = await createRoom(body, version);
  const room = new PeerRoom(peer, here, { roomId, version });
  const join = await room.join('bob');
  return { roomId, room, join, inRoom: `/${encodeURIComponent(roomId)}` };
}

for (const version of ['1', '10', '12']) {
  test(`a server in a room of version ${version} reads its events, state, auth chains and history`, async () => {
    const { roomId, room, join, inRoom } = await joinedRoom(version);
    const sent = await say(roomId, 'hello');
    const toId = (pdu: unknown): string => createEvent(pdu as Pdu, versionOf(version)).eventId;
    const named = `event_id=${encodeURIComponent(sent)}`;

    const event = await room.ask(`/event/${encodeURIComponent(sent)}`);
    assert.equal(event.status, 200);
    assert.deepEqual(listAt(event.body, 'pdus').map(toId), [sent]);

    const ids = await room.ask(`/state_ids${inRoom}?${named}`);
    const state = await room.ask(`/state${inRoom}?${named}`);
    assert.equal(state.status, 200);
    assert.ok(listAt(ids.body, 'pdu_ids').includes(join.eventId));
    const sorted = (values: readonly unknown[]): readonly unknown[] => values.toSorted();
    assert.deepEqual(sorted(listAt(state.body, 'pdus').map(toId)), sorted(listAt(ids.body, 'pdu_ids')));
    assert.deepEqual(sorted(listAt(state.body, 'auth_chain').map(toId)), sorted(listAt(ids.body, 'auth_chain_ids')));
    const known = new Set(listAt(ids.body, 'auth_chain_ids'));
    for (const pdu of [...listAt(state.body, 'pdus'), ...listAt(state.body, 'auth_chain')]) {
      const { authEvents } = createEvent(pdu as Pdu, versionOf(version));
      assert.ok(authEvents.every((id) => known.has(id)));
    }

    const auth = await room.ask(`/event_auth${inRoom}/${encodeURIComponent(sent)}`);
    assert.equal(auth.status, 200);
    assert.ok(listAt(auth.body, 'auth_chain').map(toId).length >= 2);

    const history = await room.ask(`/backfill${inRoom}?v=${encodeURIComponent(sent)}&limit=3`);
    assert.equal(history.status, 200);
    const found = listAt(history.body, 'pdus').map(toId);
    assert.deepEqual(found.slice(0, 2), [sent, join.eventId]);
    assert.equal(found.length, 3);

    const body = { earliest_events: [], latest_events: [sent], limit: 2, min_depth: 0 };
    const missing = await room.ask(`/get_missing_events${inRoom}`, body);
    assert.equal(listAt(missing.body, 'events').map(toId).at(-1), join.eventId);
    assert.equal(listAt(missing.body, 'events').length, 2);
  });
}

test('the event nearest to a time is one that the server may see', async () => {
  const { roomId, room, inRoom } = await joinedRoom('12');
  const sent = await say(roomId, 'now');
  const event = await room.ask(`/event/${encodeURIComponent(sent)}`);
  const ts = Number(at(event.body, 'pdus', 0, 'origin_server_ts'));
  const found = await room.ask(`/timestamp_to_event${inRoom}?ts=${ts}&dir=f`);
  assert.deepEqual(found.body, { event_id: sent, origin_server_ts: ts });
  assert.equal((await room.ask(`/timestamp_to_event${inRoom}?ts=${ts + 60_000}&dir=f`)).status, 404);
  assert.equal((await room.ask(`/timestamp_to_event${inRoom}?ts=0&dir=b`)).status, 404);
  assert.equal((await room.ask(`/timestamp_to_event${inRoom}?ts=0&dir=x`)).status, 400);
});

test('B3, B4: a server that came later finds nothing of what only members of then may see', async () => {
  const roomId = await createRoom({
    initial_state: [{ type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } }],
  });
  const secret = await say(roomId, 'the secret');
  const room = new PeerRoom(peer, here, { roomId, version: '12' });
  await room.join('bob');
  const inRoom = `/${encodeURIComponent(roomId)}`;
  const event = await room.ask(`/event/${encodeURIComponent(secret)}`);
  const ts = Number(at(event.body, 'pdus', 0, 'origin_server_ts'));
  const found = await room.ask(`/timestamp_to_event${inRoom}?ts=${ts}&dir=b`);
  assert.notEqual(at(found.body, 'event_id'), secret);
  const last = await say(roomId, 'after');
  const answers = [
    event,
    await room.ask(`/backfill${inRoom}?v=${encodeURIComponent(last)}&limit=100`),
    await room.ask(`/get_missing_events${inRoom}`, { earliest_events: [], latest_events: [last], limit: 100 }),
  ];
  for (const { status, body } of answers) {
    assert.equal(status, 200);
    assert.ok(!JSON.stringify(body).includes('the secret'));
  }
});

const readingPaths = (
  roomId: string,
  eventId: string,
): readonly { path: string; method?: string; body?: JsonObject }[] => {
  const [room, event] = [encodeURIComponent(roomId), encodeURIComponent(eventId)];
  const base = '/_matrix/federation/v1';
  return [
    { path: `${base}/state/${room}?event_id=${event}` },
    { path: `${base}/state_ids/${room}?event_id=${event}` },
    { path: `${base}/event_auth/${room}/${event}` },
    { path: `${base}/backfill/${room}?v=${event}&limit=10` },
    { path: `${base}/timestamp_to_event/${room}?ts=0&dir=f` },
    {
      path: `${base}/get_missing_events/${room}`,
      method: 'POST',
      body: { earliest_events: [], latest_events: [eventId] },
    },
  ];
};

test('B1: a server that is not in the room gets the same answers as for a room that does not exist', async () => {
  const roomId = await createRoom({ preset: 'private_chat' });
  const sent = await say(roomId, 'private');
  const real = readingPaths(roomId, sent);
  const unreal = readingPaths(`!${'x'.repeat(43)}`, sent);
  for (const [index, asked] of real.entries()) {
    const answer = await askAs(stranger, here, asked);
    assert.equal(answer.status, 403, asked.path);
    assert.deepEqual(answer, await askAs(stranger, here, unreal[index] ?? asked));
  }
  const event = { path: `/_matrix/federation/v1/event/${encodeURIComponent(sent)}` };
  const nothing = { path: `/_matrix/federation/v1/event/$${'x'.repeat(43)}` };
  assert.equal((await askAs(stranger, here, event)).status, 404);
  assert.deepEqual(await askAs(stranger, here, event), await askAs(stranger, here, nothing));
  const hierarchy = { path: `/_matrix/federation/v1/hierarchy/${encodeURIComponent(roomId)}` };
  assert.equal((await askAs(stranger, here, hierarchy)).status, 404);
  assert.equal((await askAs(stranger, here, { path: '/_matrix/federation/v1/hierarchy/!x:y' })).status, 404);
});

test('B2: an event of another room is one that does not exist', async () => {
  const { roomId } = await joinedRoom('12');
  const other = await createRoom();
  const sent = await say(other, 'elsewhere');
  const unknown = `$${'x'.repeat(43)}`;
  for (const [index, asked] of readingPaths(roomId, sent).entries()) {
    const answer = await askAs(peer, here, asked);
    assert.deepEqual(answer.status, (await askAs(peer, here, readingPaths(roomId, unknown)[index] ?? asked)).status);
    assert.ok(!JSON.stringify(answer.body).includes('elsewhere'));
  }
});

test('limit 18: a server that the access control list denies reads nothing', async () => {
  const { roomId, room } = await joinedRoom('12');
  const sent = await say(roomId, 'before');
  await setState(roomId, 'm.room.server_acl', { allow: ['*'], deny: [peer.address], allow_ip_literals: true });
  for (const asked of readingPaths(roomId, sent))
    assert.equal((await askAs(peer, here, asked)).status, 403, asked.path);
  assert.equal((await room.ask(`/event/${encodeURIComponent(sent)}`)).status, 404);
});

test('C20: limits out of bounds are clamped or refused', async () => {
  const { roomId, room, inRoom } = await joinedRoom('12');
  const sent = encodeURIComponent(await say(roomId, 'x'));
  assert.equal((await room.ask(`/backfill${inRoom}?v=${sent}&limit=1000000000`)).status, 200);
  for (const limit of ['-1', '0', 'x', '1e9']) {
    assert.equal((await room.ask(`/backfill${inRoom}?v=${sent}&limit=${limit}`)).status, 400, limit);
  }
  assert.equal((await room.ask(`/backfill${inRoom}?limit=1`)).status, 400);
  const ids = Array.from({ length: 10_000 }, (_, index) => `$${index}`);
  const many = { earliest_events: ids, latest_events: ids, limit: 1e9 };
  assert.deepEqual(await room.ask(`/get_missing_events${inRoom}`, many), { status: 200, body: { events: [] } });
});

test('hierarchy: a server sees the children that its users could join', async () => {
  const space = await createRoom({ creation_content: { type: 'm.space' } });
  const open = await createRoom({ name: 'open' });
  const secret = await createRoom({ preset: 'private_chat' });
  const allowing = { type: 'm.room_membership', room_id: space };
  const restricted = await createRoom({
    preset: 'private_chat',
    initial_state: [
      { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'restricted', allow: [allowing] } },
      { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'shared' } },
    ],
  });
  const unknown = `!unknown:${peer.serverName}`;
  for (const child of [open, secret, restricted, unknown]) {
    const path = `/rooms/${encodeURIComponent(space)}/state/m.space.child/${encodeURIComponent(child)}`;
    await alice.ok('PUT', path, { via: [here.serverName], suggested: child === open });
  }
  const path = `/_matrix/federation/v1/hierarchy/${encodeURIComponent(space)}`;
  const shown = async (asked = path) => {
    const { status, body } = await askAs(peer, here, { path: asked });
    assert.equal(status, 200);
    return {
      root: at(body, 'room', 'room_id'),
      named: listAt(body, 'room', 'children_state').length,
      children: listAt(body, 'children').map((child) => at(child, 'room_id')),
      hidden: listAt(body, 'inaccessible_children'),
    };
  };
  const outside = await shown();
  assert.deepEqual([outside.root, outside.named, outside.children], [space, 4, [open]]);
  assert.deepEqual(new Set(outside.hidden), new Set([secret, restricted]));
  await new PeerRoom(peer, here, { roomId: space, version: '12' }).join('carol');
  assert.deepEqual(new Set((await shown()).children), new Set([open, restricted]));
  assert.deepEqual((await shown(`${path}?suggested_only=true`)).children, [open]);
});
