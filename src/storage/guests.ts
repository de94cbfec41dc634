/**
 * Guest accounts of this server in rooms, and what turns one into an ordinary account.
 */
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

/**
 * Rooms that guests are joined to although they do not let guests join, by id. Contents are canonical JSON, so that a
 * room which allows it has these very characters in its event.
 */
export async function listRoomsWithUnwelcomeGuests(
  tx: Transaction,
  { serverName, after, limit }: { readonly serverName: string; readonly after: string; readonly limit: number },
): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`
    select distinct m.room_id
    from accounts a
      join memberships m on m.user_id = '@' || a.localpart || ':' || ${serverName}::text and m.membership = 'join'
      left join current_state c on c.room_id = m.room_id and c.type = 'm.room.guest_access' and c.state_key = ''
      left join events e on e.event_nid = c.event_nid
    where a.is_guest and m.room_id > ${after}
      and (e.pdu is null or e.redacted_by is not null or e.pdu not like '%"guest_access":"can_join"%')
    order by m.room_id limit ${limit}`);
  return rows.map((row) => row.room_id);
}

export interface RoomGuests {
  readonly roomId: RoomId;
  readonly serverName: string;
  readonly after: string;
  readonly limit: number;
}

/** Guests of this server that are joined to the room, by id. */
export async function listJoinedGuests(
  tx: Transaction,
  { roomId, serverName, after, limit }: RoomGuests,
): Promise<readonly UserId[]> {
  const suffix = `:${serverName}`;
  const rows = await tx.query(sql<{ user_id: UserId }>`
    select m.user_id from memberships m
      join accounts a on a.localpart = substring(m.user_id from 2 for length(m.user_id) - ${suffix.length + 1}::integer)
    where m.room_id = ${roomId} and m.membership = 'join' and m.user_id > ${after}
      and right(m.user_id, ${suffix.length}::integer) = ${suffix} and a.is_guest
    order by m.user_id limit ${limit}`);
  return rows.map((row) => row.user_id);
}

/** Makes the guest an ordinary account; false where it is none, or none any more. */
export async function promoteGuest(
  tx: Transaction,
  accountId: number,
  { passwordHash, isAdmin }: { readonly passwordHash: string | undefined; readonly isAdmin: boolean },
): Promise<boolean> {
  const rows = await tx.query(sql<{ account_id: number }>`
    update accounts set is_guest = false, password_hash = ${passwordHash ?? null}, admin = ${isAdmin}
    where account_id = ${accountId} and is_guest and not deactivated and not locked
    returning account_id`);
  return rows.length > 0;
}
