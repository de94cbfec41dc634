/**
 * The rooms that two users share, for the one of them who asks: nothing that the member lists of these rooms do not say.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
 */
import { MatrixError } from '../protocol/errors.ts';
import { parseRoomId, type RoomId, type UserId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import { listMutualRooms } from '../storage/memberships.ts';

export interface MutualRoomsPage {
  readonly roomIds: readonly RoomId[];
  readonly count: number;
  readonly nextBatch: string | undefined;
}

export type LoadMutualRooms = (
  users: readonly [asking: UserId, other: UserId],
  from: string | undefined,
) => Promise<MutualRoomsPage>;

const PAGE_SIZE = 100;

export function createMutualRooms(database: Transaction): LoadMutualRooms {
  return async (users, from) => {
    if (users[0] === users[1]) throw new MatrixError('M_INVALID_PARAM', 'You share all your rooms with yourself');
    const after = from === undefined ? '' : parseToken(from);
    const { roomIds, count } = await listMutualRooms(database, users, { after, limit: PAGE_SIZE + 1 });
    const last = roomIds.length > PAGE_SIZE ? roomIds[PAGE_SIZE - 1] : undefined;
    return {
      roomIds: roomIds.slice(0, PAGE_SIZE),
      count,
      nextBatch: last === undefined ? undefined : `m${Buffer.from(last).toString('base64url')}`,
    };
  };
}

/** A token names the last room of the page before. */
function parseToken(token: string): string {
  const roomId = token.startsWith('m') ? parseRoomId(Buffer.from(token.slice(1), 'base64url').toString()) : undefined;
  if (roomId === undefined) throw new MatrixError('M_INVALID_PARAM', 'from is not a token that this server gave');
  return roomId;
}
