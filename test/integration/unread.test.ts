/**
 * Unread counts: what push rules, receipts, threads and redactions make of them, whatever the order, after a crash, and
 * without a statement for those who sync often.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EventTemplate } from '../../src/engine/types.ts';
import type { EventId, RoomId, UserId } from '../../src/protocol/ids.ts';
import type { JsonObject } from '../../src/protocol/pdu.ts';
import { placePushRule, removePushRule } from '../../src/protocol/push-ruleset.ts';
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
import { createScene, EVE } from '../support/remote-scene.ts';
import { createTestSync, joinedRoom } from '../support/sync.ts';

const THREADS = { room: { timeline: { unread_thread_notifications: true } } };

interface Sending {
  readonly sender?: UserId;
  readonly thread?: string | undefined;
  readonly content?: JsonObject;
}

async function send(
  at: TestEngine,
  roomId: RoomId,
  { sender = ALICE, thread, content }: Sending = {},
): Promise<EventId> {
  const relation = thread === undefined ? {} : { 'm.relates_to': { rel_type: 'm.thread', event_id: thread } };
  return sendEvent(at, roomId, {
    ...message('hello', sender),
    content: { msgtype: 'm.text', body: 'hello', ...relation, ...content },
  });
}

async function sendEvent(at: TestEngine, roomId: RoomId, template: EventTemplate): Promise<EventId> {
  const redacts = template.redacts === undefined ? {} : { redacts: template.redacts };
  const [sent] = await at.engine.send({ roomId, decide: () => [template], ...redacts });
  assert.ok(sent);
  return sent.eventId;
}

async function createRoomOfTwo(at: TestEngine): Promise<RoomId> {
  const roomId = await createPublicRoom(at);
  await at.engine.send({ roomId, decide: () => [member(BOB, 'join')] });
  return roomId;
}

type Client = ReturnType<typeof createTestSync>;

/** `[notifications, highlights]` of the main timeline and, by root, of the threads. */
async function countsOf(client: Client, roomId: RoomId, userId = BOB): Promise<unknown> {
  const room = joinedRoom(await client.get(userId, { filter: THREADS }), roomId);
  assert.ok(room?.unread_notifications, 'the room comes with its counts');
  const pair = (count: unknown) =>
    ['notification_count', 'highlight_count'].map((key) => Reflect.get(Object(count), key));
  const threads = Object.entries(room?.unread_thread_notifications ?? {});
  return {
    main: pair(room?.unread_notifications),
    ...Object.fromEntries(threads.map(([root, count]) => [root, pair(count)])),
  };
}

test('receipts clear what is before them, each in its thread', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createRoomOfTwo(at);
  const mention = { body: `hello ${BOB}` };
  const a = await send(at, roomId);
  const b = await send(at, roomId, { thread: a });
  await send(at, roomId, { thread: a, content: mention });
  const d = await send(at, roomId, { content: { 'm.mentions': { user_ids: [BOB] } } });
  await send(at, roomId, { thread: a });
  const relate = (type: string, rel_type: string, event_id: string) =>
    sendEvent(at, roomId, {
      type,
      sender: ALICE,
      content: { msgtype: 'm.text', body: 'x', 'm.relates_to': { rel_type, event_id } },
    });
  const f = await relate('m.room.message', 'm.reference', a);
  const g = await relate('m.reaction', 'm.annotation', f);
  const { rooms } = await client.get(BOB);
  assert.deepEqual(rooms?.join?.[roomId]?.unread_notifications, { notification_count: 6, highlight_count: 2 });
  assert.deepEqual(await countsOf(client, roomId), { main: [3, 1], [a]: [3, 1] });
  const read = (eventId: string, threadId?: string, type: 'm.read' | 'm.read.private' = 'm.read') =>
    client.receipts.move(roomId, BOB, [{ type, eventId, threadId }]);
  await read(a, 'main');
  assert.deepEqual(await countsOf(client, roomId), { main: [2, 1], [a]: [3, 1] });
  await read(b, a, 'm.read.private');
  assert.deepEqual(await countsOf(client, roomId), { main: [2, 1], [a]: [2, 1] });
  await read(d);
  assert.deepEqual(await countsOf(client, roomId), { main: [1, 0], [a]: [1, 0] });
  await read(g, a);
  assert.deepEqual(await countsOf(client, roomId), { main: [1, 0] });
  await read(a);
  assert.deepEqual(await countsOf(client, roomId), { main: [1, 0] });
  // The sender has nothing to read.
  assert.deepEqual(await countsOf(client, roomId, ALICE), { main: [0, 0] });
});

test('edits, reactions, notices and redacted messages are not counted, mentions of the room and tombstones highlight', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createRoomOfTwo(at);
  const first = await send(at, roomId);
  await send(at, roomId, { content: { 'm.relates_to': { rel_type: 'm.replace', event_id: first } } });
  await send(at, roomId, { content: { msgtype: 'm.notice' } });
  assert.deepEqual(await countsOf(client, roomId), { main: [1, 0] });
  await send(at, roomId, { content: { 'm.mentions': { room: true } } });
  await sendEvent(at, roomId, state('m.room.tombstone', { body: 'over', replacement_room: '!x' }));
  assert.deepEqual(await countsOf(client, roomId), { main: [3, 2] });
  await sendEvent(at, roomId, { type: 'm.room.redaction', sender: ALICE, content: {}, redacts: first });
  assert.deepEqual(await countsOf(client, roomId), { main: [2, 2] });
  await client.notifications.flush();
  const again = await at.restart();
  using later = createTestSync(again);
  assert.deepEqual(await countsOf(later, roomId), { main: [2, 2] });
});

test('who came later, ignores the sender or changed rules has other counts', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createRoomOfTwo(at);
  const carol = '@carol:test.example' as UserId;
  await send(at, roomId);
  await at.engine.send({ roomId, decide: () => [member(carol, 'join')] });
  assert.deepEqual(await countsOf(client, roomId, carol), { main: [0, 0] });
  await send(at, roomId);
  assert.deepEqual(await countsOf(client, roomId, carol), { main: [1, 0] });
  await client.accountData.set(
    { userId: carol, roomId: undefined, type: 'm.ignored_user_list' },
    { ignored_users: { [ALICE]: {} } },
  );
  await client.pushRules.change(BOB, (rules) =>
    placePushRule(rules, 'content', {
      rule: {
        rule_id: 'cake',
        default: false,
        enabled: true,
        pattern: 'cake',
        actions: ['notify', { set_tweak: 'highlight' }],
      },
    }),
  );
  await send(at, roomId, { content: { body: 'cake' } });
  assert.deepEqual(await countsOf(client, roomId, carol), { main: [1, 0] });
  assert.deepEqual(await countsOf(client, roomId), { main: [3, 1] });
  // A new name is no new membership.
  const named = { ...member(BOB, 'join'), content: { membership: 'join', displayname: 'Bobby' } };
  await at.engine.send({ roomId, decide: () => [named] });
  await send(at, roomId, { content: { body: 'hi bobby' } });
  assert.deepEqual(await countsOf(client, roomId), { main: [4, 2] });
  await at.engine.send({ roomId, decide: () => [member(BOB, 'leave')] });
  await at.engine.send({ roomId, decide: () => [member(BOB, 'join')] });
  assert.deepEqual(await countsOf(client, roomId), { main: [0, 0] });
});

test('a crash of the follower loses no count and doubles none', async () => {
  await using at = await createTestEngine();
  const client = createTestSync(at);
  const roomId = await createRoomOfTwo(at);
  const first = await send(at, roomId);
  await send(at, roomId);
  assert.deepEqual(await countsOf(client, roomId), { main: [2, 0] });
  await client.notifications.flush();
  await send(at, roomId, { content: { body: 'hello bob' } });
  await sendEvent(at, roomId, { type: 'm.room.redaction', sender: ALICE, content: {}, redacts: first });
  assert.deepEqual(await countsOf(client, roomId), { main: [2, 1] });
  // Nothing since the flush was written.
  const again = await at.restart();
  using later = createTestSync(again);
  assert.deepEqual(await countsOf(later, roomId), { main: [2, 1] });
  await send(again, roomId);
  assert.deepEqual(await countsOf(later, roomId), { main: [3, 1] });
  await later.notifications.flush();
  using fresh = createTestSync(await again.restart());
  assert.deepEqual(await countsOf(fresh, roomId), { main: [3, 1] });
});

test('counts from a recent token cost no statement, receipts included', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createRoomOfTwo(at);
  await send(at, roomId);
  let { next_batch: since } = await client.get(BOB);
  for (let round = 0; round < 3; round++) {
    const eventId = await send(at, roomId);
    await client.receipts.move(roomId, BOB, [{ type: 'm.read', eventId }]);
    await send(at, roomId);
    const statements = await client.count(async () => {
      const synced = await client.get(BOB, { since });
      const unread = joinedRoom(synced, roomId)?.unread_notifications;
      assert.deepEqual(unread, { notification_count: 1, highlight_count: 0 });
      since = synced.next_batch;
    });
    assert.equal(statements, 0);
  }
});

test('counts come with a receipt of one own, even to who wants no receipts', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createRoomOfTwo(at);
  const eventId = await send(at, roomId);
  const filter = { room: { ephemeral: { types: [] } } };
  const { next_batch: since } = await client.get(BOB, { filter });
  await client.receipts.move(roomId, ALICE, [{ type: 'm.read', eventId }]);
  assert.equal(joinedRoom(await client.get(BOB, { since, filter }), roomId), undefined);
  await client.receipts.move(roomId, BOB, [{ type: 'm.read.private', eventId }]);
  const room = joinedRoom(await client.get(BOB, { since, filter }), roomId);
  assert.deepEqual(room?.unread_notifications, { notification_count: 0, highlight_count: 0 });
  assert.equal(room?.ephemeral, undefined);
});

test('a message to many members is one row, and rules are read for those who have some', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createRoomOfTwo(at);
  const crowd = Array.from({ length: 200 }, (_, index) => `@user${index}:test.example` as UserId);
  await at.engine.send({ roomId, decide: () => crowd.map((userId) => member(userId, 'join')) });
  await client.pushRules.change(BOB, (rules) =>
    placePushRule(rules, 'room', { rule: { rule_id: roomId, default: false, enabled: true, actions: [] } }),
  );
  const statements = await client.count(async () => {
    for (let index = 0; index < 5; index++) await send(at, roomId);
    assert.deepEqual(await countsOf(client, roomId, crowd[7]), { main: [5, 0] });
  });
  // Bob's rules once; all others are those of a first sync.
  assert.ok(statements <= 8, `${statements} statements`);
  assert.deepEqual(await countsOf(client, roomId), { main: [0, 0] });
});

type Step =
  | { readonly kind: 'send'; readonly sender: UserId; readonly thread: number | undefined; readonly mention: boolean }
  | { readonly kind: 'read'; readonly event: number; readonly threaded: boolean; readonly isPrivate: boolean }
  | { readonly kind: 'redact'; readonly event: number }
  | { readonly kind: 'mute' | 'check' | 'flush' | 'restart' };

const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('send' as const),
        sender: fc.constantFrom(ALICE, ALICE, BOB),
        thread: fc.option(fc.nat(2), { nil: undefined }),
        mention: fc.boolean(),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('read' as const),
        event: fc.nat(30),
        threaded: fc.boolean(),
        isPrivate: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('redact' as const), event: fc.nat(30) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom('mute' as const, 'check' as const, 'check' as const, 'flush' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  ),
  { minLength: 10, maxLength: 50 },
) satisfies fc.Arbitrary<Step[]>;

interface Sent {
  readonly eventId: EventId;
  readonly thread: string;
  /** What it means to Bob, by a much simpler reading of his rules. */
  notify: boolean;
  readonly highlight: boolean;
  isRedacted?: boolean;
}

/** Rules are read as they are when the follower starts: what changes them comes after that here. */
async function startClient(at: TestEngine): Promise<Client> {
  const client = createTestSync(at);
  await client.get(ALICE);
  await client.notifications.count(ALICE, ['!nowhere' as RoomId], at.committer.position);
  return client;
}

/** Bob's counts, told by walking the whole timeline. */
function recount(timeline: readonly Sent[], read: ReadonlyMap<string, number>): unknown {
  const counts = new Map<string, [number, number]>([['main', [0, 0]]]);
  for (const [index, { thread, notify, highlight }] of timeline.entries()) {
    if (!notify || index <= (read.get('') ?? -1) || index <= (read.get(thread) ?? -1)) continue;
    const count = counts.get(thread) ?? [0, 0];
    counts.set(thread, [count[0] + 1, count[1] + Number(highlight)]);
  }
  return Object.fromEntries(counts);
}

test('counts are those of a recount, whatever happens in whatever order', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      await using first = await createTestEngine();
      let at = first;
      let client = await startClient(at);
      const roomId = await createRoomOfTwo(at);
      const roots = [await send(at, roomId), await send(at, roomId), await send(at, roomId)];
      const timeline: Sent[] = roots.map((eventId) => ({ eventId, thread: 'main', notify: true, highlight: false }));
      const read = new Map<string, number>();
      let isMuted = false;
      let isCold = false;
      const run = async (step: Step): Promise<void> => {
        switch (step.kind) {
          case 'send': {
            const thread = step.thread === undefined ? undefined : roots[step.thread];
            const content = { 'm.mentions': step.mention ? { user_ids: [BOB] } : {} };
            const eventId = await send(at, roomId, { sender: step.sender, thread, content });
            const notify = step.sender !== BOB && (step.mention || !isMuted);
            timeline.push({ eventId, thread: thread ?? 'main', notify, highlight: step.mention });
            return;
          }
          case 'read': {
            const index = step.event % timeline.length;
            const target = timeline[index];
            assert.ok(target);
            // Without its relation a redacted event is in no thread.
            const threadId = step.threaded && !target.isRedacted ? target.thread : undefined;
            const type = step.isPrivate ? 'm.read.private' : 'm.read';
            await client.receipts.move(roomId, BOB, [{ type, eventId: target.eventId, threadId }]);
            const key = threadId ?? '';
            read.set(key, Math.max(read.get(key) ?? -1, index));
            return;
          }
          case 'redact': {
            const target = timeline[step.event % timeline.length];
            // What a thread hangs on stays, so that the thread stays one.
            if (target === undefined || roots.includes(target.eventId)) return;
            await sendEvent(at, roomId, {
              type: 'm.room.redaction',
              sender: ALICE,
              content: {},
              redacts: target.eventId,
            });
            target.notify = false;
            target.isRedacted = true;
            return;
          }
          case 'mute':
            // Rules that are read from the database are those of now: what came before has to be looked at before.
            if (isCold) await client.notifications.count(BOB, [roomId], at.committer.position);
            await client.pushRules.change(BOB, (rules) =>
              isMuted
                ? removePushRule(rules, 'room', roomId)
                : placePushRule(rules, 'room', {
                    rule: { rule_id: roomId, default: false, enabled: true, actions: [] },
                  }),
            );
            isMuted = !isMuted;
            return;
          case 'flush':
            return client.notifications.flush();
          case 'restart':
            // Rules that changed since the last flush would be read as they are now.
            await client.notifications.count(BOB, [roomId], at.committer.position);
            await client.notifications.flush();
            at = await at.restart();
            client = await startClient(at);
            isCold = true;
            return;
          case 'check':
            assert.deepEqual(await countsOf(client, roomId), recount(timeline, read));
        }
      };
      for (const step of list) await run(step);
      assert.deepEqual(await countsOf(client, roomId), recount(timeline, read));
    }),
    { numRuns: 15, endOnFailure: true },
  );
});

test('what other servers send counts like our own, but for what the room does not take for current', async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  using client = createTestSync(at);
  const levels = state('m.room.power_levels', { users: { [EVE]: 100 }, events: { 'm.room.tombstone': 100 } });
  await at.engine.send({ roomId, decide: () => [member(BOB, 'join'), levels] });
  await room.learnFrom(at);
  assert.deepEqual(await receive(room.message(EVE, `hello ${BOB}`)), ['accepted']);
  assert.deepEqual(await countsOf(client, roomId), { main: [1, 1] });
  const base = [room.newest];
  const makeTombstone = (replacement: string) =>
    room.make({
      type: 'm.room.tombstone',
      sender: EVE,
      stateKey: '',
      content: { body: 'over', replacement_room: replacement },
      prev: base,
    });
  const [oldest, middle, newest] = [makeTombstone('!a'), makeTombstone('!b'), makeTombstone('!c')];
  assert.deepEqual(await receive(middle), ['accepted']);
  assert.deepEqual(await countsOf(client, roomId), { main: [2, 2] });
  assert.deepEqual(await receive(oldest), ['accepted']);
  assert.deepEqual(await countsOf(client, roomId), { main: [2, 2] }, 'it lost');
  assert.deepEqual(await receive(newest), ['accepted']);
  assert.deepEqual(await countsOf(client, roomId), { main: [3, 3] }, 'it won');
  await at.engine.send({ roomId, decide: () => [member(EVE, 'ban', ALICE)] });
  const [outcome] = await receive(room.message(EVE, 'late', { prev: base }));
  assert.match(outcome ?? '', /^soft_failed /);
  assert.deepEqual(await countsOf(client, roomId), { main: [3, 3] });
});

test('positions that were left free before an event cost who follows nothing, in memory or after a start', async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  await at.engine.send({ roomId, decide: () => [member(BOB, 'join')] });
  await room.learnFrom(at);
  const answers = room.answers();
  scene.answers = { ...answers, fetchMissingEvents: async () => [] };
  room.message(EVE, 'missing');
  using live = createTestSync(at);
  await live.get(BOB);
  const cost = await live.count(async () => {
    assert.deepEqual(await receive(room.message(EVE, 'after the gap')), ['accepted']);
    assert.deepEqual(await countsOf(live, roomId), { main: [1, 0] });
  });
  assert.ok(cost < 200, `${cost} statements`);
  using restarted = createTestSync(at);
  const again = await restarted.count(async () => {
    assert.deepEqual(await countsOf(restarted, roomId), { main: [1, 0] });
  });
  assert.ok(again < 200, `${again} statements`);
});
