import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { emptySnapshot, type RoomSnapshot, serversIn } from '../engine/room-snapshot.ts';
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import { DEFAULT_ROOM_VERSION } from '../protocol/room-version.ts';
import { createRoomServers } from './room-servers.ts';

const ROOM = '!room:a.example' as RoomId;

function withMember(snapshot: RoomSnapshot, userId: string, membership: string): RoomSnapshot {
  return snapshot.withState({
    nid: 1,
    eventId: '$e' as EventId,
    type: 'm.room.member',
    stateKey: userId,
    sender: userId as UserId,
    content: { membership },
    originServerTs: 0,
  });
}

test('what is worked out from changes is what a look at all members gives', () => {
  const user = fc.record({ name: fc.constantFrom('a', 'b', 'c'), server: fc.constantFrom('x', 'y:1', 'z') });
  const membership = fc.constantFrom('join', 'leave', 'invite', 'ban');
  const step = fc.record({ user, membership, isAsked: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const roomServers = createRoomServers();
      let snapshot = emptySnapshot({ roomId: ROOM, version: DEFAULT_ROOM_VERSION });
      for (const { user: who, membership: becomes, isAsked } of steps) {
        snapshot = withMember(snapshot, `@${who.name}:${who.server}`, becomes);
        if (isAsked) assert.deepEqual([...roomServers.of(snapshot)].sort(), [...serversIn(snapshot)].sort());
      }
    }),
  );
});

test('as long as no server comes or goes the answer is the same set', () => {
  const roomServers = createRoomServers();
  const first = withMember(emptySnapshot({ roomId: ROOM, version: DEFAULT_ROOM_VERSION }), '@a:x', 'join');
  const servers = roomServers.of(first);
  assert.equal(roomServers.of(withMember(first, '@b:x', 'join')), servers);
  assert.notEqual(roomServers.of(withMember(first, '@b:y', 'join')), servers);
});
