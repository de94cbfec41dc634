/**
 * The stream of memberships outside: those of users of ours in rooms that this server is not in. One row for each user and
 * room, which goes when the room itself tells of the user (src/storage/pdu-stream.ts).
 */
import type { EventId, RoomId, ServerName, UserId } from '../protocol/ids.ts';
import { getRoomVersion, type RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql, textArray } from './sql.ts';
import type { StreamRange } from './stream-events.ts';
import type { Positioned, StreamTable } from './stream-table.ts';

export interface OutsideMembership {
  readonly userId: UserId;
  readonly roomId: RoomId;
  readonly membership: 'invite' | 'knock' | 'leave' | 'ban';
  readonly version: RoomVersion;
  /** Who made it so: the inviter, the user, or whoever took it away. */
  readonly sender: UserId;
  /** The server that it came by. */
  readonly via: ServerName;
  readonly eventId: EventId;
  /** The membership event as canonical JSON. */
  readonly pduText: string;
  /** A JSON list of stripped state, the membership event included. */
  readonly strippedState: string;
}

export type PlacedOutside = OutsideMembership & { readonly position: number };

export const outsideStream: StreamTable<OutsideMembership> = {
  name: 'outside_memberships',
  async insert(tx, all) {
    const rows = lastPerKey(all);
    await tx.query(sql`
      insert into outside_memberships (user_id, room_id, membership, room_version, sender, via, event_id, pdu,
        stripped_state, writer_id, position)
      select * from unnest(
        ${textArray(rows.map(({ row }) => row.userId))}::text[],
        ${textArray(rows.map(({ row }) => row.roomId))}::text[],
        ${textArray(rows.map(({ row }) => row.membership))}::text[],
        ${textArray(rows.map(({ row }) => row.version.id))}::text[],
        ${textArray(rows.map(({ row }) => row.sender))}::text[],
        ${textArray(rows.map(({ row }) => row.via))}::text[],
        ${textArray(rows.map(({ row }) => row.eventId))}::text[],
        ${textArray(rows.map(({ row }) => row.pduText))}::text[],
        ${textArray(rows.map(({ row }) => row.strippedState))}::text[],
        ${bigintArray(rows.map(({ writerId }) => writerId))}::bigint[],
        ${bigintArray(rows.map(({ position }) => position))}::bigint[])
      on conflict (user_id, room_id) do update set membership = excluded.membership,
        room_version = excluded.room_version, sender = excluded.sender, via = excluded.via,
        event_id = excluded.event_id, pdu = excluded.pdu, stripped_state = excluded.stripped_state,
        writer_id = excluded.writer_id, position = excluded.position`);
  },
};

/** One upsert cannot touch a row twice. */
function lastPerKey(rows: readonly Positioned<OutsideMembership>[]): readonly Positioned<OutsideMembership>[] {
  return [...new Map(rows.map((row) => [JSON.stringify([row.row.userId, row.row.roomId]), row])).values()];
}

interface Row {
  readonly user_id: UserId;
  readonly room_id: RoomId;
  readonly membership: OutsideMembership['membership'];
  readonly room_version: string;
  readonly sender: UserId;
  readonly via: ServerName;
  readonly event_id: EventId;
  readonly pdu: string;
  readonly stripped_state: string;
  readonly position: number;
}

function toOutside(row: Row): readonly PlacedOutside[] {
  const version = getRoomVersion(row.room_version);
  if (version === undefined) return [];
  return [
    {
      userId: row.user_id,
      roomId: row.room_id,
      membership: row.membership,
      version,
      sender: row.sender,
      via: row.via,
      eventId: row.event_id,
      pduText: row.pdu,
      strippedState: row.stripped_state,
      position: row.position,
    },
  ];
}

/** What changed for the user in (after, upTo]. */
export async function listOutsideOfUser(
  tx: Transaction,
  userId: UserId,
  { after, upTo }: StreamRange,
): Promise<readonly PlacedOutside[]> {
  const rows = await tx.query(sql<Row>`
    select user_id, room_id, membership, room_version, sender, via, event_id, pdu, stripped_state, position
    from outside_memberships
    where user_id = ${userId} and position > ${after} and position <= ${upTo}
    order by position`);
  return rows.flatMap(toOutside);
}

/** Of all users in (after, upTo], for who reads the whole stream. */
export async function listOutside(tx: Transaction, { after, upTo }: StreamRange): Promise<readonly PlacedOutside[]> {
  const rows = await tx.query(sql<Row>`
    select user_id, room_id, membership, room_version, sender, via, event_id, pdu, stripped_state, position
    from outside_memberships where position > ${after} and position <= ${upTo}
    order by position`);
  return rows.flatMap(toOutside);
}

export interface OutsideKey {
  readonly userId: UserId;
  readonly roomId: RoomId;
}

export async function loadOutside(tx: Transaction, { userId, roomId }: OutsideKey): Promise<PlacedOutside | undefined> {
  const rows = await tx.query(sql<Row>`
    select user_id, room_id, membership, room_version, sender, via, event_id, pdu, stripped_state, position
    from outside_memberships where user_id = ${userId} and room_id = ${roomId}`);
  return rows.flatMap(toOutside)[0];
}

/** Of some users in one room. */
export async function listOutsideOfRoom(
  tx: Transaction,
  roomId: RoomId,
  userIds: readonly UserId[],
): Promise<readonly PlacedOutside[]> {
  const rows = await tx.query(sql<Row>`
    select user_id, room_id, membership, room_version, sender, via, event_id, pdu, stripped_state, position
    from outside_memberships where room_id = ${roomId} and user_id = any(${textArray(userIds)}::text[])`);
  return rows.flatMap(toOutside);
}

/** The versions of those of the rooms that a user of ours is invited to or knocks on from outside. */
export async function listOutsideVersions(
  tx: Transaction,
  roomIds: readonly RoomId[],
): Promise<ReadonlyMap<RoomId, RoomVersion>> {
  const rows = await tx.query(sql<{ room_id: RoomId; room_version: string }>`
    select distinct on (room_id) room_id, room_version from outside_memberships
    where room_id = any(${textArray(roomIds)}::text[]) and membership in ('invite', 'knock')
    order by room_id, position desc`);
  return new Map(
    rows.flatMap(({ room_id, room_version }): [RoomId, RoomVersion][] => {
      const version = getRoomVersion(room_version);
      return version === undefined ? [] : [[room_id, version]];
    }),
  );
}

/** Invites from outside that notify the user, after a position, oldest first. */
export async function listNotifyingInvites(
  tx: Transaction,
  { userId, after, limit }: { readonly userId: UserId; readonly after: number; readonly limit: number },
): Promise<readonly (PlacedOutside & { readonly tweaks: string | undefined })[]> {
  const rows = await tx.query(sql<Row & { tweaks: string | null }>`
    select o.user_id, o.room_id, o.membership, o.room_version, o.sender, o.via, o.event_id, o.pdu, o.stripped_state,
      o.position, x.tweaks
    from outside_memberships o join notification_exceptions x using (user_id, room_id, position)
    where o.user_id = ${userId} and o.membership = 'invite' and o.position > ${after} and x.notify
    order by o.position limit ${limit}`);
  return rows.flatMap((row) => toOutside(row).map((outside) => ({ ...outside, tweaks: row.tweaks ?? undefined })));
}

/** How many invites by users of a server a user has not answered. */
export async function countInvitesBy(tx: Transaction, userId: UserId, serverName: ServerName): Promise<number> {
  const [row] = await tx.query(sql<{ invites: number }>`
    select count(*) as invites from outside_memberships
    where user_id = ${userId} and membership = 'invite'
      and right(sender, ${serverName.length + 1}) = ${`:${serverName}`}`);
  return row?.invites ?? 0;
}

/** Forgets what has ended. */
export async function deleteEndedOutside(tx: Transaction, { userId, roomId }: OutsideKey): Promise<void> {
  await tx.query(sql`
    delete from outside_memberships
    where user_id = ${userId} and room_id = ${roomId} and membership in ('leave', 'ban')`);
}

/** Whether a user of ours is invited to the room or knocks on it from outside. */
export async function hasPendingOutside(tx: Transaction, roomId: RoomId): Promise<boolean> {
  const rows = await tx.query(sql<{ user_id: UserId }>`
    select user_id from outside_memberships
    where room_id = ${roomId} and membership in ('invite', 'knock') limit 1`);
  return rows.length > 0;
}
