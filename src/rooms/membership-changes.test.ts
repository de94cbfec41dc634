import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { emptySnapshot, type Membership, type RoomSnapshot } from '../engine/room-snapshot.ts';
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { DEFAULT_ROOM_VERSION } from '../protocol/room-version.ts';
import {
  changeMembership,
  decideJoin,
  decideKick,
  decideLeave,
  decideProfileChange,
  decideUnban,
} from './membership-changes.ts';

const ALICE = '@alice:test.example' as UserId;
const BOB = '@bob:test.example' as UserId;

function roomWith(content: JsonObject | undefined, sender = BOB): RoomSnapshot {
  const room = emptySnapshot({ roomId: '!r' as RoomId, version: DEFAULT_ROOM_VERSION });
  if (content === undefined) return room;
  const eventId = '$e' as EventId;
  return room.withState({ nid: 1, eventId, type: 'm.room.member', stateKey: BOB, sender, content, originServerTs: 0 });
}

const removal = { sender: ALICE, target: BOB, content: {} };
const NOBODY = undefined;
const outcomes: Readonly<Record<string, Readonly<Record<'leave' | 'kick' | 'unban', string>>>> = {
  none: { leave: 'M_FORBIDDEN', kick: 'M_FORBIDDEN', unban: 'M_BAD_STATE' },
  join: { leave: 'leave', kick: 'leave', unban: 'M_BAD_STATE' },
  invite: { leave: 'leave', kick: 'leave', unban: 'M_BAD_STATE' },
  knock: { leave: 'leave', kick: 'leave', unban: 'M_BAD_STATE' },
  leave: { leave: 'nothing', kick: 'M_FORBIDDEN', unban: 'M_BAD_STATE' },
  // The auth rules forbid to leave a ban behind.
  ban: { leave: 'leave', kick: 'M_FORBIDDEN', unban: 'leave' },
};

function outcomeOf(decide: () => readonly { readonly content: JsonObject }[]): unknown {
  try {
    return decide()[0]?.content['membership'] ?? 'nothing';
  } catch (cause) {
    return Reflect.get(Object(cause), 'errcode');
  }
}

describe('removals', () => {
  for (const [membership, expected] of Object.entries(outcomes)) {
    test(`from ${membership}`, () => {
      const room = roomWith(membership === 'none' ? NOBODY : { membership });
      assert.deepEqual(
        {
          leave: outcomeOf(() => decideLeave(room, { sender: BOB, content: {} })),
          kick: outcomeOf(() => decideKick(room, removal)),
          unban: outcomeOf(() => decideUnban(room, removal)),
        },
        expected,
      );
    });
  }
});

test('the same membership by the same sender needs no event', () => {
  const invite = { sender: ALICE, target: BOB, membership: 'invite' as Membership, content: { reason: 'x' } };
  assert.equal(changeMembership(roomWith({ reason: 'x', membership: 'invite' }, ALICE), invite).length, 0);
  assert.equal(changeMembership(roomWith({ reason: 'y', membership: 'invite' }, ALICE), invite).length, 1);
  assert.equal(changeMembership(roomWith({ reason: 'x', membership: 'invite' }, BOB), invite).length, 1);
});

describe('joins', () => {
  const attempt = {
    userId: BOB,
    isGuest: false,
    content: {},
    profile: { displayname: 'Bob' },
    authoriser: () => undefined,
  };

  test('a joined user with the same profile stays as they are', () => {
    assert.deepEqual(decideJoin(roomWith({ membership: 'join', displayname: 'Bob', extra: 1 }), attempt), []);
    assert.equal(decideJoin(roomWith({ membership: 'join', displayname: 'B' }), attempt).length, 1);
    assert.equal(decideJoin(roomWith({ membership: 'invite', displayname: 'Bob' }), attempt).length, 1);
  });

  test('only we say who vouches for a join', () => {
    const forged = { ...attempt, content: { join_authorised_via_users_server: ALICE, displayname: 'Own' } };
    assert.deepEqual(decideJoin(roomWith(NOBODY), forged)[0]?.content, { membership: 'join', displayname: 'Own' });
    const vouched = decideJoin(roomWith(NOBODY), { ...forged, authoriser: () => ALICE })[0]?.content;
    assert.equal(vouched?.['join_authorised_via_users_server'], ALICE);
  });

  test('guests need a room that is open to them', () => {
    const guest = { ...attempt, isGuest: true };
    assert.equal(
      outcomeOf(() => decideJoin(roomWith(NOBODY), guest)),
      'M_GUEST_ACCESS_FORBIDDEN',
    );
  });
});

test('a new profile keeps the rest of the member event but for what belongs to the join', () => {
  const content = { membership: 'join', displayname: 'old', avatar_url: 'mxc://a/b', reason: 'r', extra: 1 };
  const joined = roomWith({ ...content, join_authorised_via_users_server: ALICE });
  const [event] = decideProfileChange(joined, { userId: BOB, profile: { displayname: 'new' } });
  assert.deepEqual(event?.content, { membership: 'join', displayname: 'new', extra: 1 });
  assert.deepEqual(
    decideProfileChange(roomWith({ membership: 'invite' }), { userId: BOB, profile: { displayname: 'x' } }),
    [],
  );
});
