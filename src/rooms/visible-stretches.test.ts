import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { VisibilityChange } from '../storage/search.ts';
import { visibleStretches } from './visible-stretches.ts';

const ROOM = '!room:test.example' as RoomId;
const READER = '@reader:test.example' as UserId;

function change(position: number, value: string): VisibilityChange {
  const isMembership = ['join', 'invite', 'leave', 'ban', 'knock'].includes(value);
  return isMembership
    ? { roomId: ROOM, position, type: 'm.room.member', content: { membership: value } }
    : { roomId: ROOM, position, type: 'm.room.history_visibility', content: { history_visibility: value } };
}

/** Which of the positions 0 to 9 the stretches cover. */
function covered(changes: Readonly<Record<number, string>>): string {
  const list = Object.entries(changes).map(([position, value]) => change(Number(position), value));
  const stretches = visibleStretches(list, READER);
  const positions = Array.from({ length: 10 }, (_, position) => position);
  return positions.filter((at) => stretches.some(({ from, until }) => from <= at && at < until)).join('');
}

describe('visible stretches', () => {
  const CASES: readonly [Readonly<Record<number, string>>, string][] = [
    [{ 1: 'shared', 4: 'join' }, '0123456789'],
    [{ 1: 'joined', 4: 'join' }, '0456789'],
    [{ 1: 'invited', 3: 'invite', 5: 'join' }, '03456789'],
    [{ 1: 'shared', 3: 'invite' }, ''],
    [{ 1: 'shared', 4: 'join', 7: 'leave' }, '0123456'],
    [{ 1: 'joined', 4: 'join', 7: 'ban' }, '0456'],
    [{ 1: 'world_readable', 5: 'shared', 7: 'leave' }, '1234'],
    [{ 1: 'shared', 2: 'join', 4: 'leave', 6: 'join', 8: 'leave' }, '01234567'],
    [{ 1: 'joined', 2: 'join', 4: 'leave', 6: 'join' }, '0236789'],
    [{ 1: 'nonsense', 4: 'join' }, '0123456789'],
    [{ 2: 'join' }, '0123456789'],
    [{ 1: 'shared' }, ''],
  ];
  for (const [changes, expected] of CASES) {
    test(`${JSON.stringify(changes)} shows ${expected}`, () => assert.equal(covered(changes), expected));
  }

  test('neighbors become one, rooms stay apart', () => {
    const other = '!other:test.example' as RoomId;
    const ofOther = { ...change(1, 'world_readable'), roomId: other };
    const stretches = visibleStretches([change(5, 'join'), change(1, 'world_readable'), ofOther], READER);
    assert.deepEqual(
      stretches.map(({ roomId, from }) => [roomId, from]),
      [
        [ROOM, Number.MIN_SAFE_INTEGER],
        [other, 1],
      ],
    );
  });
});
