/**
 * What a user may see, held against the rules told plainly: the state at each event is kept by the test itself. Pages are
 * taken from anywhere in the history, warm and cold, so that every way of finding out the state is taken.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createVisibility } from '../../src/engine/visible-events.ts';
import type { UserId } from '../../src/protocol/ids.ts';
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

interface Moment {
  readonly visibility: string;
  readonly membership: string;
}

function isAllowed({ visibility, membership }: Moment, joinsLater: boolean): boolean {
  if (visibility === 'world_readable' || membership === 'join') return true;
  if (visibility === 'shared') return joinsLater;
  return visibility === 'invited' && membership === 'invite';
}

async function historyOf(at: TestEngine, roomId: Awaited<ReturnType<typeof createPublicRoom>>) {
  const snapshot = await at.engine.loadSnapshot(roomId);
  assert.ok(snapshot);
  const range = { roomId, version: snapshot.version, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 10_000 };
  return { snapshot, events: await at.engine.loadTimeline({ ...range, direction: 'forward' }) };
}

function expectedFor(userId: UserId, events: Awaited<ReturnType<typeof historyOf>>['events']) {
  let now: Moment = { visibility: 'shared', membership: 'leave' };
  const moments = events.map(({ event }) => {
    const before = now;
    const value = (key: string): string => String(event.content[key]);
    if (event.type === 'm.room.history_visibility') now = { ...now, visibility: value('history_visibility') };
    if (event.stateKey === userId && event.type === 'm.room.member') now = { ...now, membership: value('membership') };
    return { event, before, after: now };
  });
  const lastJoin = moments.findLastIndex(({ after }) => after.membership === 'join');
  return moments.map(({ event, before, after }, index) => {
    const later = index < lastJoin || now.membership === 'join';
    const isOwn = event.type === 'm.room.member' && event.stateKey === userId;
    const eitherSide = event.type === 'm.room.history_visibility';
    return {
      visible: isOwn || isAllowed(after, later) || (eitherSide && isAllowed(before, later)),
      membership: after.membership,
    };
  });
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`users see what the rules allow, on every page (seed ${seed})`, async () => {
    await using at = await createTestEngine();
    let value = seed;
    const random = (bound: number): number => {
      value = (Math.imul(value, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((value / 2 ** 32) * bound);
    };
    const roomId = await createPublicRoom(at);
    for (let step = 0; step < 90; step++) {
      const choice = random(10);
      await at.engine.send({
        roomId,
        decide(snapshot) {
          const membership = snapshot.membershipOf(BOB) ?? 'leave';
          if (choice < 5) return [message(`${step}`)];
          if (choice < 7) {
            const visibility = ['world_readable', 'shared', 'invited', 'joined'][random(4)] ?? 'shared';
            return [state('m.room.history_visibility', { history_visibility: visibility })];
          }
          if (membership === 'join') return [member(BOB, 'leave', random(2) === 0 ? ALICE : BOB)];
          if (membership === 'invite') return [member(BOB, random(2) === 0 ? 'join' : 'leave')];
          if (membership === 'ban') return [member(BOB, 'leave', ALICE)];
          return [
            random(4) === 0
              ? member(BOB, 'ban', ALICE)
              : random(2) === 0
                ? member(BOB, 'invite', ALICE)
                : member(BOB, 'join'),
          ];
        },
      });
    }
    for (const from of [at, await at.restart()]) {
      const { snapshot, events } = await historyOf(from, roomId);
      const visibility = createVisibility({ engine: from.engine, database: from.db.database });
      for (const userId of [ALICE, BOB, '@stranger:test.example' as UserId]) {
        const expected = expectedFor(userId, events);
        for (let page = 0; page < 12; page++) {
          const start = page === 0 ? 0 : random(events.length);
          const end = page < 2 ? events.length : start + 1 + random(12);
          const seen = await visibility.filterVisible(events.slice(start, end), { userId }, snapshot);
          const wanted = events.slice(start, end).flatMap(({ event }, index) => {
            const here = expected[start + index];
            return here?.visible ? [`${event.eventId} ${here.membership}`] : [];
          });
          assert.deepEqual(
            seen.map(({ event, readerMembership }) => `${event.eventId} ${readerMembership}`),
            wanted,
          );
        }
      }
    }
  });
}

test('a page that ends at the present is decided without a statement', async () => {
  await using at = await createTestEngine();
  const roomId = await createPublicRoom(at);
  const { engine, db } = at;
  await engine.send({ roomId, decide: () => [state('m.room.history_visibility', { history_visibility: 'joined' })] });
  await engine.send({ roomId, decide: () => [message('before'), member(BOB, 'join'), message('after')] });
  const { snapshot, events } = await historyOf(at, roomId);
  const visibility = createVisibility({ engine, database: db.database });
  const before = db.database.stats.statements;
  const seen = await visibility.filterVisible(events.slice(-3), { userId: BOB }, snapshot);
  assert.deepEqual(
    seen.map(({ event }) => event.type),
    ['m.room.member', 'm.room.message'],
  );
  assert.equal(db.database.stats.statements, before);
});
