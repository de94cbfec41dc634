/**
 * What is deleted or walked through when an account ends: its account data, its rooms and its events.
 */
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

/** Makes the account deactivated and no administrator; false where it was deactivated before. */
export async function markDeactivated(tx: Transaction, accountId: number): Promise<boolean> {
  const rows = await tx.query(sql<{ account_id: number }>`
    update accounts set deactivated = true, admin = false
    where account_id = ${accountId} and not deactivated returning account_id`);
  return rows.length > 0;
}

export async function isDeactivatedAccount(tx: Transaction, accountId: number): Promise<boolean> {
  const rows = await tx.query(sql<{ account_id: number }>`
    select account_id from accounts where account_id = ${accountId} and deactivated`);
  return rows.length > 0;
}

export async function deleteAllAccountData(tx: Transaction, userId: UserId): Promise<void> {
  await tx.query(sql`delete from account_data where user_id = ${userId}`);
}

/** Rooms that the user is in, invited to or knocking on, by id. */
export async function listCurrentRooms(
  tx: Transaction,
  { userId, after, limit }: { readonly userId: UserId; readonly after: string; readonly limit: number },
): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`
    select room_id from memberships
    where user_id = ${userId} and membership in ('join', 'invite', 'knock') and room_id > ${after}
    union
    select room_id from outside_memberships
    where user_id = ${userId} and membership in ('invite', 'knock') and room_id > ${after}
    order by room_id limit ${limit}`);
  return rows.map((row) => row.room_id);
}

/** The next room, by id, that ever heard of the user. */
export async function loadNextRoom(tx: Transaction, userId: UserId, after: string): Promise<RoomId | undefined> {
  const [row] = await tx.query(sql<{ room_id: RoomId }>`
    select room_id from memberships where user_id = ${userId} and room_id > ${after} order by room_id limit 1`);
  return row?.room_id;
}

export interface SentEvents {
  readonly roomId: RoomId;
  readonly userId: UserId;
  /** Positions in (after, upTo]. */
  readonly after: number;
  readonly upTo: number;
  readonly limit: number;
}

/**
 * Events of a sender that nobody has redacted, oldest first. Three types are left out: without its contents a room's
 * create event, server ACL or encryption would mean something else.
 */
export async function listUnredactedEvents(
  tx: Transaction,
  { roomId, userId, after, upTo, limit }: SentEvents,
): Promise<readonly { readonly eventId: EventId; readonly position: number }[]> {
  const rows = await tx.query(sql<{ event_id: EventId; position: number }>`
    select event_id, position from events
    where room_id = ${roomId} and sender = ${userId} and position > ${after} and position <= ${upTo}
      and redacted_by is null and rejection is null
      and type not in ('m.room.create', 'm.room.server_acl', 'm.room.encryption')
    order by position limit ${limit}`);
  return rows.map((row) => ({ eventId: row.event_id, position: row.position }));
}
