/**
 * Rooms shared by whole servers: joining one from another, reading its history, and what a server may read of a room.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBackfiller } from '../../src/engine/backfill.ts';
import { createResolutionRunner } from '../../src/engine/resolution-runner.ts';
import { createStateResolver } from '../../src/engine/state-resolver.ts';
import { KeyedQueue } from '../../src/lib/keyed-queue.ts';
import type { EventId, RoomId, ServerName } from '../../src/protocol/ids.ts';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import { findGapBefore } from '../../src/storage/backfilled.ts';
import { member, message, state, versionOf } from '../support/engine.ts';
import { Mesh, type MeshServer } from '../support/mesh.ts';
import { createVerifier, currentState } from '../support/receiver.ts';
import { bodies, createTestSync, joinedRoom } from '../support/sync.ts';

async function createRoom(server: MeshServer, version = '12', visibility = 'shared'): Promise<RoomId> {
  const creator = server.user('creator');
  const room = await server.at.engine.createRoom({
    version: versionOf(version),
    creator,
    creationContent: {},
    isPublic: false,
    events: () => [
      member(creator, 'join'),
      state('m.room.power_levels', version === '12' ? {} : { users: { [creator]: 100 } }, creator),
      state('m.room.join_rules', { join_rule: 'public' }, creator),
      state('m.room.history_visibility', { history_visibility: visibility }, creator),
    ],
  });
  return room.roomId;
}

async function createPair(): Promise<{ mesh: Mesh; a: MeshServer; b: MeshServer }> {
  const mesh = new Mesh();
  return { mesh, a: await mesh.add('a.example'), b: await mesh.add('b.example') };
}

function createHistory(mesh: Mesh, server: MeshServer) {
  const { engine, serverName, db } = server.at;
  const { database } = db;
  const { snapshotNids, eventNids } = engine.writing;
  const resolver = createStateResolver({ database, snapshotNids, runner: createResolutionRunner() });
  const verifier = createVerifier(mesh.keys);
  const remote = mesh.remoteOf(server);
  const receiving = new KeyedQueue<RoomId>();
  return createBackfiller({
    database,
    engine,
    eventNids,
    resolver,
    verifier,
    remote,
    serverName,
    writerId: 1,
    receiving,
  });
}

async function messagesOf({ at }: MeshServer, roomId: RoomId): Promise<readonly unknown[]> {
  const snapshot = await at.engine.loadSnapshot(roomId);
  assert.ok(snapshot);
  const all = { after: Number.MIN_SAFE_INTEGER, before: Number.MAX_SAFE_INTEGER, limit: 1000 };
  const events = await at.engine.loadTimeline({ roomId, version: snapshot.version, ...all, direction: 'forward' });
  return events.filter(({ event }) => event.type === 'm.room.message').map(({ event }) => event.content['body']);
}

for (const version of ROOM_VERSIONS.keys()) {
  test(`A3: a room of version ${version} is joined from another server, and lives on both`, async () => {
    const { mesh, a, b } = await createPair();
    await using _mesh = mesh;
    const roomId = await createRoom(a, version);
    const bob = b.user('bob');
    await b.join(bob, roomId, a);
    await b.send(roomId, message('from b', bob));
    await a.send(roomId, message('from a', a.user('creator')));
    await mesh.exchange(roomId);
    for (const server of [a, b]) {
      assert.deepEqual(new Set(await messagesOf(server, roomId)), new Set(['from a', 'from b']));
    }
    await b.restart();
    assert.deepEqual(await currentState(b.at, roomId), await currentState(a.at, roomId));
    using client = createTestSync(b.at);
    const synced = await client.get(bob);
    assert.deepEqual(new Set(bodies(joinedRoom(synced, roomId))), new Set(['from a', 'from b']));
  });
}

test('a room that everybody of ours left is taken in anew when somebody joins again', async () => {
  const { mesh, a, b } = await createPair();
  await using _mesh = mesh;
  const roomId = await createRoom(a);
  const bob = b.user('bob');
  await b.join(bob, roomId, a);
  await b.send(roomId, member(bob, 'leave'));
  await mesh.exchange(roomId);
  await a.send(roomId, state('m.room.topic', { topic: 'meanwhile' }, a.user('creator')));
  await b.join(bob, roomId, a);
  await a.send(roomId, message('welcome back', a.user('creator')));
  await mesh.exchange(roomId);
  assert.deepEqual(await currentState(b.at, roomId), await currentState(a.at, roomId));
  assert.ok((await messagesOf(b, roomId)).includes('welcome back'));
  await b.restart();
  assert.deepEqual(await currentState(b.at, roomId), await currentState(a.at, roomId));
});

for (const version of ['1', '11', '12']) {
  test(`history from before the join is fetched page by page, down to the first event (version ${version})`, async () => {
    const { mesh, a, b } = await createPair();
    await using _mesh = mesh;
    const roomId = await createRoom(a, version);
    const creator = a.user('creator');
    const old = Array.from({ length: 25 }, (_, index) => `old ${index}`);
    for (const body of old) await a.send(roomId, message(body, creator));
    const [secret] = await a.send(roomId, message('a secret', creator));
    assert.ok(secret);
    const redaction = { type: 'm.room.redaction', sender: creator, content: {}, redacts: secret.eventId };
    await a.at.engine.send({ roomId, redacts: secret.eventId, decide: () => [redaction] });
    const bob = b.user('bob');
    await b.join(bob, roomId, a);
    const history = createHistory(mesh, b);
    const state = await currentState(b.at, roomId);
    let pages = 0;
    for (let gap = await findGapBefore(b.at.db.database, roomId, 0); gap !== undefined; pages++) {
      const page = await history.backfill(roomId, { position: gap, limit: 10 });
      assert.ok(page.added > 0);
      gap = page.gap;
    }
    assert.equal(pages, 4);
    assert.deepEqual(
      (await messagesOf(b, roomId)).filter((body) => body !== undefined),
      old,
    );
    assert.deepEqual(await currentState(b.at, roomId), state);
    assert.equal(await findGapBefore(b.at.db.database, roomId, 0), undefined);
    const snapshot = await b.at.engine.loadSnapshot(roomId);
    assert.ok(snapshot);
    const range = { roomId, version: snapshot.version, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 100 };
    const events = await b.at.engine.loadTimeline({ ...range, direction: 'forward' });
    assert.equal(events[0]?.event.type, 'm.room.create');
    using client = createTestSync(b.at);
    const visible = await client.visibility.filterVisible(events, { userId: bob }, snapshot);
    assert.equal(visible.length, events.length, 'shared history is seen by who joined later');
  });
}

test('B1, B2: who is not in the room, and who asks for an event of another, finds nothing', async () => {
  const { mesh, a, b } = await createPair();
  await using _mesh = mesh;
  const [roomId, other] = [await createRoom(a), await createRoom(a)];
  await b.join(b.user('bob'), roomId, a);
  const creator = a.user('creator');
  const [sent] = await a.send(roomId, message('hello', creator));
  const [elsewhere] = await a.send(other, message('private', creator));
  assert.ok(sent && elsewhere);
  const { peers } = a;
  const ask = async (serverName: ServerName, room: RoomId, eventId: EventId) => {
    const at = { serverName, roomId: room, eventId };
    return [
      await peers.loadState(at),
      await peers.loadStateIds(at),
      await peers.loadAuthChain(at),
      ((await peers.loadMissingEvents({ ...at, earliest: [], latest: [eventId], limit: 10, minDepth: 0 })) ?? [])
        .length,
      ((await peers.loadBackfill({ ...at, from: [eventId], limit: 10 })) ?? []).length,
      await peers.loadEvent(serverName, eventId),
    ];
  };
  const nothing = [undefined, undefined, undefined, 0, 0, undefined];
  const stranger = 'stranger.example' as ServerName;
  assert.deepEqual(await ask(stranger, roomId, sent.eventId), nothing);
  assert.deepEqual(await ask(b.name, other, elsewhere.eventId), nothing);
  assert.deepEqual(await ask(b.name, roomId, elsewhere.eventId), nothing);
  assert.deepEqual(await ask(b.name, roomId, `$${'x'.repeat(43)}` as EventId), nothing);
  const allowed = await ask(b.name, roomId, sent.eventId);
  assert.ok(allowed.every((answer) => answer !== undefined && answer !== 0));
});

test('B3: of what a server may not see it gets what redaction leaves, by the visibility at the event', async () => {
  const { mesh, a, b } = await createPair();
  await using _mesh = mesh;
  const roomId = await createRoom(a, '12', 'joined');
  const creator = a.user('creator');
  const [before] = await a.send(roomId, message('before b came', creator));
  await b.join(b.user('bob'), roomId, a);
  const [after] = await a.send(roomId, message('after b came', creator));
  assert.ok(before && after);
  const pdus = await a.peers.loadBackfill({ serverName: b.name, roomId, from: [after.eventId], limit: 100 });
  assert.deepEqual(
    pdus?.filter(({ type }) => type === 'm.room.message').map(({ content }) => content['body']),
    ['after b came', undefined],
  );
  const one = await a.peers.loadEvent(b.name, before.eventId);
  assert.deepEqual(one?.pdu.content, {});
  const question = { serverName: b.name, roomId, earliest: [], latest: [after.eventId], limit: 2, minDepth: 0 };
  const missing = await a.peers.loadMissingEvents(question);
  assert.equal(missing?.length, 2);
  assert.ok(!JSON.stringify(missing).includes('before b came'));
});

test('a question of a peer costs a fixed number of statements', async () => {
  const { mesh, a, b } = await createPair();
  await using _mesh = mesh;
  const roomId = await createRoom(a, '12', 'joined');
  const creator = a.user('creator');
  await b.join(b.user('bob'), roomId, a);
  const count = async (length: number): Promise<number> => {
    for (let index = 0; index < length; index++) {
      await a.send(roomId, message(`m${index}`, creator), state('m.room.topic', { topic: `${index}` }, creator));
    }
    const [last] = await a.send(roomId, message('last', creator));
    assert.ok(last);
    const { stats } = a.at.db.database;
    const earlier = stats.statements;
    const at = { serverName: b.name, roomId, eventId: last.eventId };
    await a.peers.loadBackfill({ ...at, from: [last.eventId], limit: 100 });
    await a.peers.loadMissingEvents({ ...at, earliest: [], latest: [last.eventId], limit: 100, minDepth: 0 });
    await a.peers.loadState(at);
    await a.peers.loadAuthChain(at);
    return a.at.db.database.stats.statements - earlier;
  };
  const few = await count(2);
  assert.equal(await count(40), few);
});
