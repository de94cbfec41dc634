/**
 * Rooms that lack members, as a reader sees them who wants all members: not at all until they are whole, and then as rooms
 * that they have just joined. Who loads members lazily sees them at once, and misses nothing that they would show.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { RoomChange, SyncContext } from './types.ts';

interface Seen {
  readonly rooms: readonly RoomChange[];
  readonly snapshots: ReadonlyMap<RoomId, RoomSnapshot>;
}

export function withoutPartial({ filter, userId, after }: SyncContext, seen: Seen): Seen {
  if (filter.lazyLoadMembers) return seen;
  const isHidden = (snapshot: RoomSnapshot | undefined): boolean =>
    snapshot?.isPartial === true && snapshot.membershipOf(userId) === 'join';
  const isNew = (snapshot: RoomSnapshot | undefined): boolean => (snapshot?.parts.completeFrom ?? 0) > after;
  const shown = seen.rooms.filter(({ roomId }) => !isHidden(seen.snapshots.get(roomId)));
  return {
    rooms: shown.map((room) => (isNew(seen.snapshots.get(room.roomId)) ? { ...room, earlier: undefined } : room)),
    snapshots: new Map([...seen.snapshots].filter(([, snapshot]) => !isHidden(snapshot))),
  };
}
