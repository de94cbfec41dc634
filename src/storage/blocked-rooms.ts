/**
 * Rooms that nobody of this server may enter. They outlive the room itself.
 */
import type { RoomId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface BlockedRoom {
  readonly room_id: RoomId;
  readonly blocked_by: string;
  readonly created_at: number;
}

export interface BlockedRoomsWanted {
  readonly after: string;
  readonly limit: number;
}

/** By id, those after the given one. */
export function listBlockedRooms(
  tx: Transaction,
  { after, limit }: BlockedRoomsWanted,
): Promise<readonly BlockedRoom[]> {
  return tx.query(sql<BlockedRoom>`
    select room_id, blocked_by, created_at from blocked_rooms where room_id > ${after} order by room_id limit ${limit}`);
}

export async function isBlockedRoom(tx: Transaction, roomId: RoomId): Promise<boolean> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`select room_id from blocked_rooms where room_id = ${roomId}`);
  return rows.length > 0;
}

export async function insertBlockedRoom(tx: Transaction, room: BlockedRoom): Promise<void> {
  await tx.query(sql`
    insert into blocked_rooms (room_id, blocked_by, created_at)
    values (${room.room_id}, ${room.blocked_by}, ${room.created_at})
    on conflict do nothing`);
}

export async function deleteBlockedRoom(tx: Transaction, roomId: RoomId): Promise<void> {
  await tx.query(sql`delete from blocked_rooms where room_id = ${roomId}`);
}
