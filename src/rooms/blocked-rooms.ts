/**
 * Blocked rooms: nobody of this server joins them, knocks on them or invites into them. Who is inside stays until the
 * room is deleted.
 */
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId } from '../protocol/ids.ts';
import {
  type BlockedRoom,
  type BlockedRoomsWanted,
  deleteBlockedRoom,
  insertBlockedRoom,
  isBlockedRoom,
  listBlockedRooms,
} from '../storage/blocked-rooms.ts';
import type { Database } from '../storage/database.ts';
import type { Rooms } from './rooms.ts';

export interface BlockedRooms {
  list(wanted: BlockedRoomsWanted): Promise<readonly BlockedRoom[]>;
  block(roomId: RoomId, by: string): Promise<void>;
  unblock(roomId: RoomId): Promise<void>;
  /** Throws M_FORBIDDEN for a blocked room. */
  check(roomId: RoomId): Promise<void>;
}

export function createBlockedRooms({ database, clock }: { database: Database; clock: Clock }): BlockedRooms {
  return {
    list: (wanted) => listBlockedRooms(database, wanted),
    block: (roomId, by) => insertBlockedRoom(database, { room_id: roomId, blocked_by: by, created_at: clock.now() }),
    unblock: (roomId) => deleteBlockedRoom(database, roomId),
    async check(roomId) {
      if (await isBlockedRoom(database, roomId)) {
        throw new MatrixError('M_FORBIDDEN', 'This room is blocked on this server');
      }
    },
  };
}

const ENTERING: ReadonlySet<unknown> = new Set(['join', 'knock', 'invite']);

/** Rooms as clients have them, who cannot enter those that are blocked. */
export function withBlockedRooms(rooms: Rooms, { check }: Pick<BlockedRooms, 'check'>): Rooms {
  const { memberships } = rooms;
  return {
    ...rooms,
    memberships: {
      ...memberships,
      async join(actor, request) {
        await check(request.roomId);
        return memberships.join(actor, request);
      },
      async knock(actor, request) {
        await check(request.roomId);
        return memberships.knock(actor, request);
      },
      async invite(actor, request) {
        await check(request.roomId);
        return memberships.invite(actor, request);
      },
    },
    async setState(actor, request) {
      const isEntering = request.type === 'm.room.member' && ENTERING.has(request.content['membership']);
      if (isEntering) await check(request.roomId);
      return rooms.setState(actor, request);
    },
  };
}
