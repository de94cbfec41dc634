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

/** The same with the rooms of other servers that the user is invited to or knocks on, the newest first. */
export async function listRoomsAnywhereOfUser(
  tx: Transaction,
  { userId, membership, limit }: { readonly userId: UserId; readonly membership: string; readonly limit: number },
): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`
    select room_id from (
      select room_id, position from memberships m
      where user_id = ${userId} and membership = ${membership} and not exists (
        select from outside_memberships o
        where o.user_id = m.user_id and o.room_id = m.room_id and o.position > m.position)
      union all
      select room_id, position from outside_memberships o
      where user_id = ${userId} and membership = ${membership} and not exists (
        select from memberships m
        where m.user_id = o.user_id and m.room_id = o.room_id and m.position >= o.position)
    ) all_rooms
    order by position desc, room_id limit ${limit}`);
  return rows.map((row) => row.room_id);
}

/** In how many rooms the user has each membership, those of other servers included. */
export async function countRoomsOfUser(tx: Transaction, userId: UserId): Promise<Readonly<Record<string, number>>> {
  const rows = await tx.query(sql<{ membership: string; rooms: number }>`
    select membership, count(*) as rooms from (
      select membership from memberships m where user_id = ${userId} and not exists (
        select from outside_memberships o
        where o.user_id = m.user_id and o.room_id = m.room_id and o.position > m.position)
      union all
      select membership from outside_memberships o where user_id = ${userId} and not exists (
        select from memberships m
        where m.user_id = o.user_id and m.room_id = o.room_id and m.position >= o.position)
    ) all_rooms
    group by membership`);
  return Object.fromEntries(rows.map((row) => [row.membership, row.rooms]));
}

/** Rooms that the user is joined to, by id. */
export async function listJoinedRooms(
  tx: Transaction,
  { userId, after, limit }: { readonly userId: UserId; readonly after: string; readonly limit: number },
): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`
    select room_id from memberships
    where user_id = ${userId} and membership = 'join' and room_id > ${after} order by room_id limit ${limit}`);
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

export interface MutualRooms {
  readonly roomIds: readonly RoomId[];
  /** Before and behind the page as well. */
  readonly count: number;
}

/** The rooms behind the given one that both users are joined to. */
export async function listMutualRooms(
  tx: Transaction,
  users: readonly [UserId, UserId],
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<MutualRooms> {
  const rows = await tx.query(sql<{ room_id: RoomId; count: number; is_behind: boolean }>`
    select room_id, count(*) over () as count, room_id > ${after} as is_behind
    from memberships mine join memberships theirs using (room_id)
    where mine.user_id = ${users[0]} and mine.membership = 'join'
      and theirs.user_id = ${users[1]} and theirs.membership = 'join'
    order by is_behind desc, room_id limit ${limit}`);
  return {
    roomIds: rows.filter((row) => row.is_behind).map((row) => row.room_id),
    count: rows[0]?.count ?? 0,
  };
}

/** The rooms that each of the users has joined. */
export async function listRoomsJoinedBy(tx: Transaction, userIds: readonly UserId[]): Promise<readonly RoomMember[]> {
  const rows = await tx.query(sql<{ room_id: RoomId; user_id: UserId }>`
    select room_id, user_id from memberships
    where user_id = any(${textArray(userIds)}::text[]) and membership = 'join'`);
  return rows.map(({ room_id, user_id }) => ({ roomId: room_id, userId: user_id }));
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
