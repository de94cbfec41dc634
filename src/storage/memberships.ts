/**
 * Who is in which room, as the last membership event of each says: maintained by the stream of PDUs, read here.
 */
import type { RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql, textArray } from './sql.ts';

/** The rooms in which the user has one of the memberships, the newest change first. */
export async function listRoomsOfUser(
  tx: Transaction,
  userId: UserId,
  memberships: readonly string[],
): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`
    select room_id from memberships
    where user_id = ${userId} and membership = any(${textArray(memberships)}::text[])
    order by position desc, room_id`);
  return rows.map((row) => row.room_id);
}

export interface RoomMember {
  readonly roomId: RoomId;
  readonly userId: UserId;
}

/** Whether the user asked to forget the room after leaving it. */
export async function isForgotten(tx: Transaction, { roomId, userId }: RoomMember): Promise<boolean> {
  const [row] = await tx.query(sql<{ forgotten: boolean }>`
    select forgotten from memberships where room_id = ${roomId} and user_id = ${userId}`);
  return row?.forgotten ?? false;
}

/** Has no effect while the user is in the room: the next membership event would undo it anyway. */
export async function markForgotten(tx: Transaction, { roomId, userId }: RoomMember): Promise<void> {
  await tx.query(sql`
    update memberships set forgotten = true
    where room_id = ${roomId} and user_id = ${userId} and membership in ('leave', 'ban')`);
}

/** Users of a server whom the room has ever had as members, whatever became of them. */
export async function listMembersOfServer(
  tx: Transaction,
  { roomId, serverName, limit }: { readonly roomId: RoomId; readonly serverName: ServerName; readonly limit: number },
): Promise<readonly UserId[]> {
  const rows = await tx.query(sql<{ user_id: UserId }>`
    select user_id from memberships
    where room_id = ${roomId} and right(user_id, ${serverName.length + 1}) = ${`:${serverName}`}
    limit ${limit}`);
  return rows.map((row) => row.user_id);
}
