/**
 * Nothing is lost and nothing doubled: whatever happens between two syncs, the increments together are the timeline.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, RoomId, UserId } from '../../src/protocol/ids.ts';
import { ALICE, BOB, createPublicRoom, createTestEngine, member, message, state } from '../support/engine.ts';
import { createTestSync, joinedRoom, type Synced } from '../support/sync.ts';

/** A small generator whose runs can be repeated by their seed. */
function createRandom(seed: number): (bound: number) => number {
  let value = seed;
  return (bound) => {
    value = (Math.imul(value, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((value / 2 ** 32) * bound);
  };
}

const LIMIT = { room: { timeline: { limit: 5 } } };

for (const seed of [1, 2, 3, 4]) {
  test(`F5: increments and the pages of their gaps are the whole timeline (seed ${seed})`, async () => {
    await using first = await createTestEngine();
    let at = first;
    let client = createTestSync(at);
    const random = createRandom(seed);
    const rooms = [
      await createPublicRoom(at, '11'),
      await createPublicRoom(at, '11'),
      await createPublicRoom(at, '11'),
    ];
    const sent = new Map<RoomId, EventId[]>(rooms.map((roomId) => [roomId, []]));
    const seen = new Map<RoomId, string[]>(rooms.map((roomId) => [roomId, []]));
    let { next_batch: since } = await client.get(ALICE);

    const act = async (): Promise<void> => {
      const roomId = rooms[random(rooms.length)];
      assert.ok(roomId);
      const choice = random(10);
      const messages = Array.from({ length: 1 + random(4) }, () => message(`m${random(1e6)}`));
      const topic = state('m.room.topic', { topic: `t${random(1e6)}` });
      const events = await at.engine.send({
        roomId,
        decide(snapshot) {
          if (choice < 6) return messages;
          return choice < 8 ? [topic] : [member(BOB, snapshot.membershipOf(BOB) === 'join' ? 'leave' : 'join')];
        },
      });
      sent.get(roomId)?.push(...events.map(({ eventId }) => eventId));
    };
    const take = async (synced: Synced): Promise<void> => {
      for (const roomId of rooms) {
        const room = joinedRoom(synced, roomId);
        if (room === undefined) continue;
        const gap = room.timeline.limited ? await pageBack(room.timeline.prev_batch, roomId) : [];
        seen.get(roomId)?.push(...gap, ...room.timeline.events.map(({ event_id }) => event_id));
      }
    };
    /** What lies between the last sync and the start of a limited timeline. */
    const pageBack = async (prevBatch: string, roomId: RoomId): Promise<readonly string[]> => {
      const snapshot = await at.engine.loadSnapshot(roomId);
      assert.ok(snapshot);
      const positionOf = (token: string) => Number(/^h1_1\.(\d+)/.exec(token)?.[1]);
      const range = { roomId, version: snapshot.version, after: positionOf(since), before: positionOf(prevBatch) + 1 };
      const events = await at.engine.loadTimeline({ ...range, limit: 1000, direction: 'forward' });
      return events.map(({ event }) => event.eventId);
    };

    for (let round = 0; round < 25; round++) {
      const actions = Array.from({ length: random(8) }, act);
      // Sometimes the sync runs while events are being committed.
      if (random(2) === 0) await Promise.all(actions);
      if (random(8) === 0) {
        await Promise.all(actions);
        at = await at.restart();
        client = createTestSync(at);
      }
      const synced = await client.get(ALICE, { since, filter: LIMIT });
      await take(synced);
      since = synced.next_batch;
      await Promise.all(actions);
    }
    await take(await client.get(ALICE, { since, filter: LIMIT }));
    for (const roomId of rooms) {
      assert.equal(new Set(seen.get(roomId)).size, seen.get(roomId)?.length, 'an event came twice');
      assert.deepEqual(new Set(seen.get(roomId)), new Set(sent.get(roomId)), 'an event was lost');
    }
  });
}

test('the state that a client builds from increments is the state of the room', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const random = createRandom(7);
  const roomId = await createPublicRoom(at);
  const users = Array.from({ length: 4 }, (_, index) => `@user${index}:test.example` as UserId);
  const known = new Map<string, string>();
  let since: string | undefined;
  for (let round = 0; round < 30; round++) {
    for (let step = random(20); step > 0; step--) {
      const user = users[random(users.length)];
      assert.ok(user);
      const isJoined = at.engine.getSnapshot(roomId)?.membershipOf(user) === 'join';
      const change = [
        state(`m.test.${random(3)}`, { value: random(1e6) }),
        member(user, isJoined ? 'leave' : 'join'),
        message('filler'),
      ][random(3)];
      assert.ok(change);
      await at.engine.send({ roomId, decide: () => [change] });
    }
    const useStateAfter = random(2) === 0;
    const synced = await client.get(ALICE, { since, filter: { room: { timeline: { limit: 3 } } }, useStateAfter });
    since = synced.next_batch;
    const room = joinedRoom(synced, roomId);
    const events = useStateAfter
      ? (room?.state_after?.events ?? [])
      : [...(room?.state.events ?? []), ...(room?.timeline.events ?? [])];
    for (const { type, state_key, event_id } of events) {
      if (state_key !== undefined) known.set(`${type}\u0000${state_key}`, event_id);
    }
    const current = [...(at.engine.getSnapshot(roomId)?.state() ?? [])];
    assert.deepEqual(known, new Map(current.map((entry) => [`${entry.type}\u0000${entry.stateKey}`, entry.eventId])));
  }
});
