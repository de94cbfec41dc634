/**
 * Presence: who is told of whom and when, the timers that make users idle and offline, what a restart leaves, and what a
 * change costs those whom it does not concern.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPresence, IDLE_AFTER_MS, OFFLINE_AFTER_MS, SWEEP_INTERVAL_MS } from '../../src/ephemeral/presence.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { RoomId, UserId } from '../../src/protocol/ids.ts';
import { ALICE, BOB, createPublicRoom, createTestEngine, member, message, type TestEngine } from '../support/engine.ts';
import { createTestSync, type Synced, type SyncParameters } from '../support/sync.ts';

const CAROL = '@carol:test.example' as UserId;

const join = (at: TestEngine, roomId: RoomId, ...userIds: readonly UserId[]) =>
  at.engine.send({ roomId, decide: () => userIds.map((userId) => member(userId, 'join')) });

/** `user presence status` of each event. */
const presenceIn = ({ presence }: Synced): readonly string[] =>
  (presence?.events ?? []).map(
    ({ sender, content }) =>
      `${sender.slice(1, sender.indexOf(':'))} ${content['presence']} ${content['status_msg'] ?? ''}`,
  );

test('who shares a room hears of changes, and nobody else', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await join(at, roomId, BOB);
  const quiet = { setPresence: 'offline' } as const;
  const { next_batch: bobSince } = await client.get(BOB, quiet);
  const { next_batch: carolSince } = await client.get(CAROL, quiet);
  const waiting = client.get(BOB, { ...quiet, since: bobSince, timeout: 10_000 });
  await client.presence.set(ALICE, { state: 'online', message: 'here' });
  assert.deepEqual(presenceIn(await waiting), ['alice online here']);
  assert.deepEqual(presenceIn(await client.get(BOB, { ...quiet, since: bobSince })), ['alice online here']);
  assert.deepEqual(presenceIn(await client.get(CAROL, { ...quiet, since: carolSince })), []);
  // First syncs, and tokens from before the last start or without presence, give whoever is there.
  assert.deepEqual(presenceIn(await client.get(BOB, quiet)), ['alice online here']);
  const [stream = ''] = bobSince.split('~');
  for (const since of [stream, `${stream}~other.1.1`, `${stream}~test.0`]) {
    assert.deepEqual(presenceIn(await client.get(BOB, { ...quiet, since })), ['alice online here'], since);
  }
  const { next_batch: since } = await client.get(BOB, quiet);
  assert.deepEqual(presenceIn(await client.get(BOB, { ...quiet, since })), []);
});

test('syncing sets presence, and filters choose what of it comes', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await join(at, roomId, BOB, CAROL);
  let { next_batch: since } = await client.get(BOB, { setPresence: 'offline' });
  const next = async (parameters: SyncParameters) => {
    const synced = await client.get(BOB, { since, setPresence: 'offline', ...parameters });
    since = synced.next_batch;
    return presenceIn(synced);
  };
  await client.get(ALICE);
  assert.deepEqual(await next({}), ['alice online ']);
  await client.get(ALICE, { setPresence: 'unavailable' });
  await client.get(ALICE, { setPresence: 'offline' });
  assert.deepEqual(await next({}), ['alice unavailable ']);
  await client.get(ALICE);
  await client.get(CAROL);
  const before = since;
  const filtered = (presence: object) => next({ since: before, filter: { presence } });
  assert.deepEqual(await filtered({}), ['alice online ', 'carol online ']);
  assert.deepEqual(await filtered({ limit: 1 }), ['alice online ']);
  assert.deepEqual(await filtered({ senders: [CAROL] }), ['carol online ']);
  assert.deepEqual(await filtered({ not_senders: [CAROL] }), ['alice online ']);
  assert.deepEqual(await filtered({ types: [] }), []);
  assert.deepEqual(await filtered({ not_types: ['m.presence'] }), []);
});

test('newcomers and those who are there learn of each other', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const { next_batch: aliceSince } = await client.get(ALICE);
  const { next_batch: bobSince } = await client.get(BOB);
  const seen = await client.get(ALICE, { since: aliceSince });
  await join(at, roomId, BOB);
  assert.deepEqual(presenceIn(await client.get(ALICE, { since: seen.next_batch })), ['bob online ']);
  assert.deepEqual(presenceIn(await client.get(BOB, { since: bobSince })), ['alice online ']);
});

test('users become idle, active again and offline by the clock, and a restart remembers them', async () => {
  await using at = await createTestEngine();
  const clock = createManualClock();
  const options = { database: at.db.database, hub: at.hub, clock, logger: silentLogger };
  const presence = createPresence(options);
  const state = async () => (await presence.load(ALICE))?.state;
  const roomId = await createPublicRoom(at);
  const syncing = await presence.startSync(ALICE, 'online');
  assert.equal(await state(), 'online');
  clock.advance(IDLE_AFTER_MS + SWEEP_INTERVAL_MS);
  assert.equal(await state(), 'unavailable');
  (await presence.startSync(ALICE, 'online'))[Symbol.dispose]();
  assert.equal(await state(), 'unavailable');
  await at.engine.send({ roomId, decide: () => [message('I am back')] });
  assert.equal(await state(), 'online');
  clock.advance(OFFLINE_AFTER_MS + SWEEP_INTERVAL_MS);
  assert.equal(await state(), 'online');
  syncing[Symbol.dispose]();
  clock.advance(OFFLINE_AFTER_MS + SWEEP_INTERVAL_MS);
  assert.equal(await state(), 'offline');
  await presence.set(ALICE, { state: 'online', message: 'for now' });
  await presence[Symbol.asyncDispose]();
  const later = createPresence(options);
  assert.deepEqual(await later.load(ALICE), {
    userId: ALICE,
    state: 'online',
    statusMessage: 'for now',
    lastActiveAt: clock.now(),
  });
  clock.advance(OFFLINE_AFTER_MS + SWEEP_INTERVAL_MS);
  assert.equal((await later.load(ALICE))?.state, 'offline');
  await later[Symbol.asyncDispose]();
});

test('syncing over and over writes nothing and asks nothing', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await join(at, roomId, BOB);
  await client.get(BOB);
  let { next_batch: since } = await client.get(ALICE);
  await client.presence.flush();
  const statements = await client.count(async () => {
    for (let index = 0; index < 5; index++) since = (await client.get(ALICE, { since })).next_batch;
    await client.presence.flush();
  });
  assert.equal(statements, 0);
});

test('a change of somebody in many rooms costs one statement at most, however many rooms they are', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const rooms = await Promise.all(Array.from({ length: 30 }, () => createPublicRoom(at, '11')));
  const [shared] = rooms;
  assert.ok(shared);
  await join(at, shared, BOB);
  const { next_batch: since } = await client.get(BOB);
  await client.get(CAROL);
  const statements = await client.count(async () => {
    for (const state of ['online', 'unavailable', 'online'] as const) {
      await client.presence.set(ALICE, { state, message: state });
      const synced = await client.get(BOB, { since });
      assert.deepEqual(presenceIn(synced), [`alice ${state} ${state}`]);
    }
  });
  // Alice's presence, and the rooms of both.
  assert.ok(statements <= 2, `${statements} statements`);
});

test('rooms in common are known as they change', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await join(at, roomId, BOB);
  await client.sharedRooms.load([ALICE, BOB, CAROL]);
  assert.equal(client.sharedRooms.share(ALICE, BOB), true);
  assert.equal(client.sharedRooms.share(ALICE, CAROL), false);
  await join(at, roomId, CAROL);
  assert.equal(client.sharedRooms.share(ALICE, CAROL), true);
});

/** Time that the test moves; timers fire as it passes them. */
function createManualClock(): Clock & { advance(milliseconds: number): void } {
  let now = 1_700_000_000_000;
  const timers = new Set<{ readonly at: number; readonly callback: () => void }>();
  return {
    now: () => now,
    monotonic: () => now,
    after(delay, callback) {
      const timer = { at: now + delay, callback };
      timers.add(timer);
      return { [Symbol.dispose]: () => timers.delete(timer) };
    },
    advance(milliseconds) {
      const end = now + milliseconds;
      for (;;) {
        const due = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers.delete(due);
        now = due.at;
        due.callback();
      }
      now = end;
    },
  };
}
