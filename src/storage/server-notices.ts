/**
 * The rooms in which the server talks to its users: one for each.
 */
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export async function loadNoticeRoom(tx: Transaction, userId: UserId): Promise<RoomId | undefined> {
  const [row] = await tx.query(sql<{ room_id: RoomId }>`
    select room_id from server_notice_rooms where user_id = ${userId}`);
  return row?.room_id;
}

export async function saveNoticeRoom(tx: Transaction, userId: UserId, roomId: RoomId): Promise<void> {
  await tx.query(sql`
    insert into server_notice_rooms (user_id, room_id) values (${userId}, ${roomId})
    on conflict (user_id) do update set room_id = excluded.room_id`);
}
