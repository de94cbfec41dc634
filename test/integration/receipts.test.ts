/**
 * Receipts in threads and in crowds: which events a thread's receipt may name, that an unthreaded receipt wins over
 * threaded ones for the same event, and that no receipt of a batch is lost.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, RoomId, UserId } from '../../src/protocol/ids.ts';
import { ALICE, BOB, createPublicRoom, createTestEngine, member, message, type TestEngine } from '../support/engine.ts';
import { createTestSync, joinedRoom, type Synced } from '../support/sync.ts';

const send = async (
  at: TestEngine,
  roomId: RoomId,
  relation?: { rel_type: string; event_id: string },
): Promise<EventId> => {
  const content = { msgtype: 'm.text', body: 'x', ...(relation !== undefined && { 'm.relates_to': relation }) };
  const [sent] = await at.engine.send({ roomId, decide: () => [{ ...message('x'), content }] });
  assert.ok(sent);
  return sent.eventId;
};

/** `type event user thread` of each receipt of the answer. */
function receiptsIn(synced: Synced, roomId: RoomId): readonly string[] {
  const events = joinedRoom(synced, roomId)?.ephemeral?.events.filter(({ type }) => type === 'm.receipt') ?? [];
  const lines: string[] = [];
  for (const { content } of events) {
    for (const [eventId, types] of Object.entries(content)) {
      for (const [type, users] of Object.entries(Object(types))) {
        for (const [userId, receipt] of Object.entries(Object(users))) {
          lines.push(`${type} ${eventId} ${userId} ${Reflect.get(Object(receipt), 'thread_id')}`);
        }
      }
    }
  }
  return lines;
}

test('a thread is read up to its root, its events and what relates to them', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const root = await send(at, roomId);
  const reply = await send(at, roomId, { rel_type: 'm.thread', event_id: root });
  const reference = await send(at, roomId, { rel_type: 'm.reference', event_id: root });
  const reaction = await send(at, roomId, { rel_type: 'm.annotation', event_id: reference });
  const other = await send(at, roomId);
  const move = (eventId: string, threadId: string) =>
    client.receipts.move(roomId, ALICE, [{ type: 'm.read', eventId, threadId }]);
  for (const eventId of [root, reply, reaction]) await move(eventId, root);
  await move(reaction, 'main');
  for (const [eventId, threadId] of [
    [reply, 'main'],
    [other, root],
    [reply, other],
  ] as const) {
    await assert.rejects(move(eventId, threadId), { errcode: 'M_INVALID_PARAM' });
  }
});

test('an unthreaded receipt wins over a threaded one for the same event (MSC4102)', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const root = await send(at, roomId);
  const reply = await send(at, roomId, { rel_type: 'm.thread', event_id: root });
  const { next_batch: since } = await client.get(ALICE);
  await client.receipts.move(roomId, ALICE, [{ type: 'm.read', eventId: reply }]);
  await client.receipts.move(roomId, ALICE, [{ type: 'm.read', eventId: reply, threadId: root }]);
  await client.receipts.move(roomId, ALICE, [{ type: 'm.read', eventId: root, threadId: 'main' }]);
  const expected = [`m.read ${reply} ${ALICE} undefined`, `m.read ${root} ${ALICE} main`];
  assert.deepEqual(receiptsIn(await client.get(ALICE), roomId).toSorted(), expected.toSorted());
  assert.deepEqual(receiptsIn(await client.get(ALICE, { since }), roomId).toSorted(), expected.toSorted());
});

test('F8: the receipts of fifty users at once are all kept, and none moves back', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const users = Array.from({ length: 50 }, (_, index) => `@user${index}:test.example` as UserId);
  await at.engine.send({ roomId, decide: () => [BOB, ...users].map((userId) => member(userId, 'join')) });
  const first = await send(at, roomId);
  const second = await send(at, roomId);
  const { next_batch: since } = await client.get(BOB);
  const read = (eventId: string) => (userId: UserId) =>
    client.receipts.move(roomId, userId, [{ type: 'm.read', eventId }]);
  await Promise.all(users.map(read(second)));
  await Promise.all(users.map(read(first)));
  const expected = users.map((userId) => `m.read ${second} ${userId} undefined`).toSorted();
  assert.deepEqual(receiptsIn(await client.get(BOB, { since }), roomId).toSorted(), expected);
  assert.deepEqual(receiptsIn(await client.get(BOB), roomId).toSorted(), expected);
});
