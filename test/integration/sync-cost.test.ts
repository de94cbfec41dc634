/**
 * What a sync costs: statements that do not grow with the user's rooms, none at all from a recent token, and wake-ups
 * after COMMIT for those concerned only.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId } from '../../src/protocol/ids.ts';
import { ALICE, BOB, createPublicRoom, createTestEngine, member, message, type TestEngine } from '../support/engine.ts';
import { bodies, createTestSync, joinedRoom } from '../support/sync.ts';

/** Two for changes, two for timelines, a transaction's two for cold rooms, one each for receipts and account data. */
const MAX_STATEMENTS = 12;

const send = (at: TestEngine, roomId: RoomId, body = 'x', sender = ALICE) =>
  at.engine.send({ roomId, decide: () => [message(body, sender)] });

async function createRooms(at: TestEngine, count: number): Promise<readonly RoomId[]> {
  return Promise.all(Array.from({ length: count }, () => createPublicRoom(at, '11')));
}

test('a sync from a recent token asks the database nothing', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const rooms = await createRooms(at, 30);
  let { next_batch: since } = await client.get(ALICE);
  assert.equal(await client.count(() => client.get(ALICE, { since })), 0);
  for (const roomId of rooms) await send(at, roomId);
  const statements = await client.count(async () => {
    const synced = await client.get(ALICE, { since });
    assert.equal(Object.keys(synced.rooms?.join ?? {}).length, 30);
    since = synced.next_batch;
  });
  assert.equal(statements, 0);
});

test('a gap in every room is one question more, not one per room', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const counts: number[] = [];
  for (const count of [3, 12]) {
    const rooms = await createRooms(at, count);
    const { next_batch: since } = await client.get(ALICE);
    for (const roomId of rooms) {
      await at.engine.send({ roomId, decide: () => Array.from({ length: 80 }, (_, index) => message(`${index}`)) });
    }
    counts.push(await client.count(() => client.get(ALICE, { since })));
  }
  assert.equal(counts[0], counts[1]);
  assert.ok((counts[1] ?? 0) <= MAX_STATEMENTS);
});

/** Rooms that an answer with all of them takes at a time. */
const SLICE = 4;

// The later slices ask neither for what changed nor for what concerns no room.
for (const [kind, small, large, slices] of [
  ['initial', 3, SLICE, 1],
  ['initial', 3, 60, 15],
  ['incremental', 3, 60, 1],
] as const) {
  test(`a cold ${kind} sync costs in ${large} rooms ${slices === 1 ? 'as much' : `${slices} times as much`} as in ${small} at most`, async () => {
    const counts: number[] = [];
    for (const count of [small, large]) {
      await using first = await createTestEngine();
      const before = createTestSync(first);
      const rooms = await createRooms(first, count);
      const { next_batch } = await before.get(ALICE);
      for (const roomId of rooms) await send(first, roomId);
      const at = await first.restart();
      using client = createTestSync(at);
      const since = kind === 'initial' ? undefined : next_batch;
      const statements = await client.count(async () => {
        const synced = await client.get(ALICE, { since });
        assert.equal(Object.keys(synced.rooms?.join ?? {}).length, count);
      });
      counts.push(statements);
    }
    const [few = 0, many = 0] = counts;
    assert.ok(few <= MAX_STATEMENTS && many <= few * slices, `${few} and ${many} statements`);
  });
}

test('C17: a waiting client hears of an event that is committed, and of nothing else', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const otherRoom = await createPublicRoom(at);
  await at.engine.send({ roomId, decide: () => [member(BOB, 'join')] });
  const { next_batch: since } = await client.get(BOB);
  let answered = false;
  const waiting = client.get(BOB, { since, timeout: 30_000 }).then((synced) => {
    answered = true;
    return synced;
  });
  await send(at, otherRoom, 'not for Bob');
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(answered, false);
  assert.equal(client.sync.waiting, 1);
  await send(at, roomId, 'for Bob');
  assert.deepEqual(bodies(joinedRoom(await waiting, roomId)), ['for Bob']);
  assert.equal(client.sync.waiting, 0);
});

test('waiting clients hear of invitations, kicks, typing, receipts and account data', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const [sent] = await send(at, roomId);
  assert.ok(sent);
  let { next_batch: since } = await client.get(BOB);
  const next = async (act: () => unknown) => {
    const waiting = client.get(BOB, { since, timeout: 10_000 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await act();
    const synced = await waiting;
    since = synced.next_batch;
    return synced;
  };
  const sendMember = (membership: string, sender = BOB) =>
    at.engine.send({ roomId, decide: () => [member(BOB, membership, sender)] });
  assert.ok((await next(() => sendMember('invite', ALICE))).rooms?.invite?.[roomId]);
  assert.ok(joinedRoom(await next(() => sendMember('join')), roomId));
  const typing = await next(() => client.typing.start(roomId, ALICE));
  assert.equal(joinedRoom(typing, roomId)?.ephemeral?.events[0]?.type, 'm.typing');
  const receipt = await next(() => client.receipts.move(roomId, ALICE, [{ type: 'm.read', eventId: sent.eventId }]));
  assert.equal(joinedRoom(receipt, roomId)?.ephemeral?.events[0]?.type, 'm.receipt');
  const data = await next(() => client.accountData.set({ userId: BOB, roomId: undefined, type: 'a.b' }, {}));
  assert.equal(data.account_data?.events[0]?.type, 'a.b');
  assert.ok((await next(() => sendMember('leave', ALICE))).rooms?.leave?.[roomId]);
});

test('a wait ends with its time-out or its client', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  await createPublicRoom(at);
  const { next_batch: since } = await client.get(ALICE);
  const timedOut = await client.get(ALICE, { since, timeout: 30 });
  assert.equal(timedOut.rooms, undefined);
  const gone = new AbortController();
  const waiting = client.get(ALICE, { since, timeout: 60_000, signal: gone.signal });
  setTimeout(() => gone.abort(), 20);
  assert.equal((await waiting).rooms, undefined);
  assert.equal(client.sync.waiting, 0);
});

test('a token from before anything ever happened is one to wait from', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const { next_batch: since } = await client.get(ALICE);
  const before = performance.now();
  const next = await client.get(ALICE, { since, timeout: 50 });
  assert.ok(performance.now() - before >= 45);
  assert.deepEqual([next.next_batch, next.rooms, next.account_data], [since, undefined, undefined]);
});

test('thirty waiting clients get a message without a statement', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const { next_batch: since } = await client.get(ALICE);
  const statements = await client.count(async () => {
    const waiting = Array.from({ length: 30 }, (_, index) =>
      client.get(ALICE, { since, timeout: 10_000, deviceId: `D${index}` }),
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
    await send(at, roomId, 'hello');
    for (const synced of await Promise.all(waiting)) assert.deepEqual(bodies(joinedRoom(synced, roomId)), ['hello']);
  });
  assert.equal(statements, 0);
});
