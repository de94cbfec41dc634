/**
 * Taking a room out of the database: every table that holds something of it. A test compares this list with the schema,
 * so a new table with a room in it cannot be forgotten here.
 */
import type { RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { insertPartingEvents } from './parting-events.ts';
import { type Statement, sql } from './sql.ts';

/** By table; each before those that it refers to. */
const DELETIONS: Readonly<Record<string, (roomId: RoomId) => Statement<never>>> = {
  federated_rooms: (roomId) => sql`delete from federated_rooms where room_id = ${roomId}`,
  owed_events: (roomId) => sql`delete from owed_events where room_id = ${roomId}`,
  event_relations: (roomId) => sql`delete from event_relations where room_id = ${roomId}`,
  transaction_ids: (roomId) => sql`delete from transaction_ids where room_id = ${roomId}`,
  current_state: (roomId) => sql`delete from current_state where room_id = ${roomId}`,
  memberships: (roomId) => sql`delete from memberships where room_id = ${roomId}`,
  backward_extremities: (roomId) => sql`delete from backward_extremities where room_id = ${roomId}`,
  partial_state_rooms: (roomId) => sql`delete from partial_state_rooms where room_id = ${roomId}`,
  room_aliases: (roomId) => sql`delete from room_aliases where room_id = ${roomId}`,
  account_data: (roomId) => sql`delete from account_data where room_id = ${roomId} and room_id <> ''`,
  notification_exceptions: (roomId) => sql`delete from notification_exceptions where room_id = ${roomId}`,
  notifications: (roomId) => sql`delete from notifications where room_id = ${roomId}`,
  unread_starts: (roomId) => sql`delete from unread_starts where room_id = ${roomId}`,
  outside_memberships: (roomId) => sql`delete from outside_memberships where room_id = ${roomId}`,
  receipts: (roomId) => sql`delete from receipts where room_id = ${roomId}`,
  server_notice_rooms: (roomId) => sql`delete from server_notice_rooms where room_id = ${roomId}`,
  state_changes: (roomId) => sql`delete from state_changes where room_id = ${roomId}`,
  pending_redactions: (roomId) => sql`delete from pending_redactions where room_id = ${roomId}`,
  inbound_pdus: (roomId) => sql`delete from inbound_pdus where room_id = ${roomId}`,
  state_snapshots: (roomId) => sql`delete from state_snapshots where room_id = ${roomId}`,
  // In two statements, since the index of most events holds those with a position only.
  outliers: (roomId) => sql`delete from events where room_id = ${roomId} and position is null`,
  events: (roomId) => sql`delete from events where room_id = ${roomId} and position is not null`,
  // After the events, whose rows the index locks while it adds theirs here.
  event_search: (roomId) => sql`delete from event_search where room_id = ${roomId}`,
  room_statistics: (roomId) => sql`delete from room_statistics where room_id = ${roomId}`,
  room_heads: (roomId) => sql`delete from room_heads where room_id = ${roomId}`,
  rooms: (roomId) => sql`delete from rooms where room_id = ${roomId}`,
};

/** The tables that `deleteRoomRows` empties of a room. */
export const TABLES_OF_ROOMS: readonly string[] = Object.keys(DELETIONS).filter((name) => name !== 'outliers');

/**
 * Deletes everything of the room, and remembers which local users were in it, and whom they have to tell that they
 * left.
 */
export async function deleteRoomRows(tx: Transaction, roomId: RoomId, serverName: ServerName): Promise<void> {
  await rememberMembers(tx, roomId, serverName);
  await insertPartingEvents(tx, roomId, serverName);
  for (const deletion of Object.values(DELETIONS)) await tx.query(deletion(roomId));
}

/** As `deleteRoomRows`, but each table for itself: what can't be deleted stays. Returns what failed, by table. */
export async function deleteRoomRowsByForce(
  database: Transaction,
  roomId: RoomId,
  serverName: ServerName,
): Promise<ReadonlyMap<string, unknown>> {
  const failures = new Map<string, unknown>();
  const attempt = async (table: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (cause) {
      failures.set(table, cause);
    }
  };
  await attempt('deleted_room_members', () => rememberMembers(database, roomId, serverName));
  await attempt('parting_events', () => insertPartingEvents(database, roomId, serverName));
  for (const [table, deletion] of Object.entries(DELETIONS)) {
    await attempt(table, () => database.query(deletion(roomId)));
  }
  return failures;
}

async function rememberMembers(tx: Transaction, roomId: RoomId, serverName: ServerName): Promise<void> {
  await tx.query(sql`
    insert into deleted_room_members (user_id, room_id, position)
    select user_id, room_id,
      -- Whom nothing made leave learns of it at the next position that there will be.
      case when membership in ('leave', 'ban') then position else (select max(position) + 1 from stream_writers) end
    from (
      select user_id, room_id, membership, position from memberships
      where room_id = ${roomId} and not forgotten and right(user_id, ${serverName.length + 1}) = ${`:${serverName}`}
        and not exists (
          select from outside_memberships o
          where o.room_id = ${roomId} and o.user_id = memberships.user_id and o.position > memberships.position)
      union all
      select user_id, room_id, membership, position from outside_memberships o
      where room_id = ${roomId} and not exists (
        select from memberships m
        where m.room_id = ${roomId} and m.user_id = o.user_id and m.position >= o.position)
    ) member
    on conflict (user_id, room_id) do update set position = greatest(deleted_room_members.position, excluded.position)`);
}

/** The deleted rooms whose end the user has not heard of: in them the membership ended in (after, upTo]. */
export async function listDeletedRooms(
  tx: Transaction,
  userId: UserId,
  { after, upTo }: { readonly after: number; readonly upTo: number },
): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`
    select room_id from deleted_room_members
    where user_id = ${userId} and position > ${after} and position <= ${upTo} order by room_id`);
  return rows.map((row) => row.room_id);
}

/** Local users who are in the room, invited to it or knocking on it; those after the given one. */
export async function listLocalMembers(
  tx: Transaction,
  { roomId, serverName, after, limit }: LocalMembersWanted,
): Promise<readonly UserId[]> {
  const rows = await tx.query(sql<{ user_id: UserId }>`
    select user_id from memberships
    where room_id = ${roomId} and membership in ('join', 'invite', 'knock')
      and right(user_id, ${serverName.length + 1}) = ${`:${serverName}`}
      and user_id > ${after}
    union
    select user_id from outside_memberships
    where room_id = ${roomId} and membership in ('invite', 'knock') and user_id > ${after}
    order by user_id limit ${limit}`);
  return rows.map((row) => row.user_id);
}

export interface LocalMembersWanted {
  readonly roomId: RoomId;
  readonly serverName: ServerName;
  readonly after: string;
  readonly limit: number;
}

/** Rooms that no local user is in, invited to or knocking on. */
export async function listAbandonedRooms(
  tx: Transaction,
  serverName: ServerName,
  limit: number,
): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`
    select r.room_id from rooms r
    where not exists (
        select from memberships m
        where m.room_id = r.room_id and m.membership in ('join', 'invite', 'knock')
          and right(m.user_id, ${serverName.length + 1}) = ${`:${serverName}`})
      and not exists (
        select from outside_memberships o where o.room_id = r.room_id and o.membership in ('invite', 'knock'))
      and not exists (
        select from jobs j
        where j.kind = 'delete_abandoned_room' and j.subject = r.room_id and j.state in ('queued', 'running'))
    limit ${limit}`);
  return rows.map((row) => row.room_id);
}
