import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventTemplate } from '../../src/engine/types.ts';
import { MatrixError } from '../../src/protocol/errors.ts';
import type { EventId, RoomId, UserId } from '../../src/protocol/ids.ts';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import { listTimeline } from '../../src/storage/events.ts';
import {
  ALICE,
  BOB,
  createPublicRoom,
  createTestEngine,
  member,
  message,
  state,
  type TestEngine,
} from '../support/engine.ts';

const send = (at: TestEngine, roomId: RoomId, ...templates: readonly EventTemplate[]) =>
  at.engine.send({ roomId, decide: () => templates });

async function timelineOf({ engine }: TestEngine, roomId: RoomId): Promise<readonly string[]> {
  const snapshot = await engine.loadSnapshot(roomId);
  assert.ok(snapshot);
  const range = { roomId, version: snapshot.version, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 1000 };
  const events = await engine.loadTimeline({ ...range, direction: 'forward' });
  return events.map(({ event }) => event.eventId);
}

for (const version of ROOM_VERSIONS.keys()) {
  test(`a room of version ${version} is the same after a restart`, async () => {
    await using first = await createTestEngine();
    const roomId = await createPublicRoom(first, version);
    await send(first, roomId, member(BOB, 'join'));
    await send(first, roomId, message('one'), message('two', BOB));
    await send(first, roomId, state('m.room.topic', { topic: 'restarts' }));
    const before = await first.engine.loadSnapshot(roomId);
    const timeline = await timelineOf(first, roomId);
    assert.equal(timeline.length, 9);
    const second = await first.restart();
    const after = await second.engine.loadSnapshot(roomId);
    assert.ok(before && after);
    const stateOf = (snapshot: typeof before) => new Map([...snapshot.state()].map((entry) => [entry.eventId, entry]));
    assert.deepEqual(stateOf(after), stateOf(before));
    assert.deepEqual(after.parts.extremities, before.parts.extremities);
    assert.equal(after.parts.depth, 9);
    assert.equal(after.joinedCount, 2);
    assert.deepEqual(await timelineOf(second, roomId), timeline);
    await send(second, roomId, state('m.room.topic', { topic: 'and goes on' }), message('three'));
    assert.equal((await timelineOf(second, roomId)).length, 11);
    await second.restart();
  });
}

test('what the rules forbid is refused, and the room stays as it was', async () => {
  await using at = await createTestEngine();
  const roomId = await createPublicRoom(at);
  const before = await timelineOf(at, roomId);
  await assert.rejects(
    send(at, roomId, message('first is fine'), message('stranger', BOB)),
    (cause) => cause instanceof MatrixError && cause.errcode === 'M_FORBIDDEN',
  );
  await assert.rejects(send(at, roomId, state('m.room.name', { name: 'x' }, BOB)), MatrixError);
  assert.deepEqual(await timelineOf(at, roomId), before);
  await send(at, roomId, message('still works'));
});

test('an unknown room is M_NOT_FOUND', async () => {
  await using at = await createTestEngine();
  await assert.rejects(
    send(at, '!nowhere:test.example' as RoomId, message('hello')),
    (cause) => cause instanceof MatrixError && cause.errcode === 'M_NOT_FOUND',
  );
});

test('many senders at once make one line of events', async () => {
  await using at = await createTestEngine();
  const roomId = await createPublicRoom(at);
  const sent = await Promise.all(Array.from({ length: 200 }, (_, index) => send(at, roomId, message(`${index}`))));
  const timeline = await timelineOf(at, roomId);
  assert.deepEqual(
    timeline.slice(-200),
    sent.map(([event]) => event?.eventId),
  );
  const snapshot = at.engine.getSnapshot(roomId);
  assert.equal(snapshot?.parts.extremities.length, 1);
});

test('G5, L11: one transaction id sent many times at once, and after a restart, is one event', async () => {
  await using at = await createTestEngine();
  const roomId = await createPublicRoom(at);
  const transaction = { userId: ALICE, deviceId: 'DEVICE', path: '/send/m.room.message', txnId: 't1' };
  const once = (engine: TestEngine, txn = transaction) =>
    engine.engine.send({ roomId, transaction: txn, decide: () => [message('once')] });
  const results = await Promise.all(Array.from({ length: 50 }, () => once(at)));
  assert.equal(new Set(results.map(([event]) => event?.eventId)).size, 1);
  const again = await at.restart();
  assert.deepEqual(await once(again), results[0]);
  const other = await once(again, { ...transaction, deviceId: 'OTHER' });
  assert.notDeepEqual(other, results[0]);
  assert.equal((await timelineOf(again, roomId)).length, 7);
  await again.restart();
});

test('state at every event reads back as it was', async () => {
  await using at = await createTestEngine();
  const roomId = await createPublicRoom(at);
  const names = Array.from({ length: 21 }, (_, index) => `name ${index}`);
  const users = names.map((_, index) => `@user${index}:test.example` as UserId);
  for (const [index, name] of names.entries()) {
    await send(at, roomId, member(users[index] ?? ALICE, 'join'), state('m.room.name', { name }));
  }
  const again = await at.restart();
  const version = (await again.engine.loadSnapshot(roomId))?.version;
  assert.ok(version);
  const range = { roomId, version, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 100 };
  const events = await again.engine.loadTimeline({ ...range, direction: 'forward' });
  const named = events.filter(({ event }) => event.type === 'm.room.name');
  const snapshotNids = named.flatMap(({ stateAfter }) => (stateAfter === null ? [] : [stateAfter]));
  const keys = [
    { type: 'm.room.name', stateKey: '' },
    { type: 'm.room.member', stateKey: users[3] ?? '' },
  ];
  const entries = await again.engine.loadStateEntries(roomId, { snapshotNids, keys });
  for (const [index, nid] of snapshotNids.entries()) {
    assert.equal(entries.get(nid, 'm.room.name', '')?.content['name'], names[index]);
    assert.equal(entries.get(nid, 'm.room.member', users[3] ?? '') !== undefined, index >= 3);
    const whole = await again.engine.loadStateAt(roomId, nid);
    assert.equal(whole.length, 5 + index + 1 + 1);
  }
  await again.restart();
});

test('B8: a redacted event has lost its content everywhere', async () => {
  await using at = await createTestEngine();
  const roomId = await createPublicRoom(at);
  const [sent] = await send(at, roomId, message('a secret'));
  const [topic] = await send(at, roomId, state('m.room.topic', { topic: 'a secret' }));
  assert.ok(sent && topic);
  const redact = (redacts: EventId) => {
    const template = { type: 'm.room.redaction', sender: ALICE, content: {}, redacts };
    return at.engine.send({ roomId, redacts, decide: () => [template] });
  };
  await redact(sent.eventId);
  await redact(topic.eventId);
  const check = async (engine: TestEngine) => {
    for (const { eventId } of [sent, topic]) {
      const event = await engine.engine.loadEvent(roomId, eventId);
      assert.ok(event?.redactedBecause);
      assert.deepEqual(event.event.content, {});
      assert.equal(event.event.eventId, eventId);
    }
    const snapshot = await engine.engine.loadSnapshot(roomId);
    assert.deepEqual(snapshot?.get('m.room.topic', '')?.content, {});
    const version = snapshot?.version;
    assert.ok(version);
    const range = { roomId, version, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 100 };
    const events = await engine.engine.loadTimeline({ ...range, direction: 'backward' });
    assert.ok(!JSON.stringify(events.map(({ event }) => event)).includes('a secret'));
  };
  await check(at);
  const again = await at.restart();
  await check(again);
  await again.restart();
});

test('a send into a warm room issues no statement outside the committer', async () => {
  await using at = await createTestEngine();
  const roomId = await createPublicRoom(at);
  const transaction = { userId: ALICE, deviceId: 'DEVICE', path: '/send/m.room.message' };
  const sendOne = (txnId: string) =>
    at.engine.send({ roomId, transaction: { ...transaction, txnId }, decide: () => [message(txnId)] });
  await sendOne('warm');
  const before = at.db.database.stats.statements;
  await Promise.all(Array.from({ length: 100 }, (_, index) => sendOne(`${index}`)));
  assert.equal(at.db.database.stats.statements, before);
});

test('an event that the database refuses fails alone, and the room goes on', async () => {
  await using at = await createTestEngine();
  const roomId = await createPublicRoom(at);
  const fine = send(at, roomId, message('before'));
  // No text in PostgreSQL holds this character.
  const refused = at.engine.send({ roomId, decide: () => [{ ...message('never'), type: 'm.\u0000' }] });
  const bad = assert.rejects(refused, /0x00/);
  const other = await createPublicRoom(at);
  await Promise.all([fine, bad]);
  await send(at, roomId, message('after'));
  await send(at, other, message('elsewhere'));
  assert.equal((await timelineOf(at, roomId)).length, 7);
});

test('A19: what other servers could not read is refused, and so is what is too large', async () => {
  await using at = await createTestEngine();
  const roomId = await createPublicRoom(at);
  const refused = async (template: EventTemplate, errcode: string) => {
    await assert.rejects(
      send(at, roomId, template),
      (cause) => cause instanceof MatrixError && cause.errcode === errcode,
    );
  };
  for (const value of [1.5, 2 ** 53, -0, '\ud800', Number.NaN]) {
    await refused({ type: 'm.x', sender: ALICE, content: { value } }, 'M_BAD_JSON');
  }
  await refused(message('x'.repeat(65_536)), 'M_TOO_LARGE');
  await refused(message('日'.repeat(22_000)), 'M_TOO_LARGE');
  await refused({ ...message('x'), type: 'é'.repeat(128) }, 'M_TOO_LARGE');
  await send(at, roomId, message('x'.repeat(60_000)), { ...message('x'), type: 'é'.repeat(127) });
});

test('rooms that one user creates at the same time are different rooms', async () => {
  await using at = await createTestEngine();
  const roomIds = await Promise.all(Array.from({ length: 50 }, () => createPublicRoom(at)));
  assert.equal(new Set(roomIds).size, 50);
});

test('the newest page is read once, and is what the database says whatever happens to it', async () => {
  await using at = await createTestEngine();
  const roomId = await createPublicRoom(at);
  const texts = Array.from({ length: 250 }, (_, index) => message(`${index}`));
  await send(at, roomId, ...texts);
  await using again = await at.restart();
  const { engine } = again;
  const snapshot = await engine.loadSnapshot(roomId);
  assert.ok(snapshot);
  const { version } = snapshot;
  const read = async (limit: number, before = Number.MAX_SAFE_INTEGER): Promise<readonly string[]> => {
    const range = { roomId, version, after: 0, before, limit, direction: 'backward' } as const;
    const [page, stored] = await Promise.all([engine.loadTimeline(range), listTimeline(at.db.database, range)]);
    assert.deepEqual(
      page.map(({ event }) => [event.eventId, event.content]),
      stored.map(({ event }) => [event.eventId, event.content]),
    );
    return page.map(({ event }) => event.eventId);
  };
  assert.equal((await read(20)).length, 20);
  // Of several at once the first to come back is kept, and that may be the shortest.
  await Promise.all([read(100), read(100), read(90)]);
  await read(100);
  const before = at.db.database.stats.statements;
  const [newest] = await read(100);
  // Its own look at the database is the only one.
  assert.equal(at.db.database.stats.statements, before + 1);
  for (const limit of [1, 128, 129, 200, 300]) await read(limit);
  await read(50, 120);
  const target = newest as EventId;
  await engine.send({
    roomId,
    redacts: target,
    decide: () => [{ type: 'm.room.redaction', sender: ALICE, content: { redacts: target }, redacts: target }],
  });
  await read(100);
  for (let index = 0; index < 80; index++) await engine.send({ roomId, decide: () => [message(`later ${index}`)] });
  assert.equal((await read(300)).length, 300);
});
