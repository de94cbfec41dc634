/**
 * Aliases of rooms and the published room directory: which names lead to a room, and which rooms may be listed.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
 */
import pg from 'pg';
import type { RoomAlias, RoomId, UserId } from '../protocol/ids.ts';
import { getRoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { type LoadedState, readState, type StateRow } from './rooms.ts';
import { sql, textArray } from './sql.ts';

export interface AliasRow {
  readonly alias: RoomAlias;
  readonly roomId: RoomId;
  readonly creator: UserId;
  /** Unix milliseconds. */
  readonly createdAt: number;
}

/** Fails where the alias exists: `isAliasTaken` recognizes that failure. */
export async function insertAlias(tx: Transaction, { alias, roomId, creator, createdAt }: AliasRow): Promise<void> {
  await tx.query(sql`
    insert into room_aliases (alias, room_id, creator, created_at)
    values (${alias}, ${roomId}, ${creator}, ${createdAt})`);
}

const UNIQUE_VIOLATION = '23505';
const ALIAS_KEY = 'room_aliases_pkey';

/** Whether `insertAlias` failed since another room has the alias. */
export function isAliasTaken(cause: unknown): boolean {
  return cause instanceof pg.DatabaseError && cause.code === UNIQUE_VIOLATION && cause.constraint === ALIAS_KEY;
}

export interface AliasTarget {
  readonly roomId: RoomId;
  readonly creator: UserId;
}

/** Where the aliases lead; those that lead nowhere are left out. */
export async function loadAliases(
  tx: Transaction,
  aliases: readonly string[],
): Promise<ReadonlyMap<string, AliasTarget>> {
  const rows = await tx.query(sql<{ alias: string; room_id: RoomId; creator: UserId }>`
    select alias, room_id, creator from room_aliases where alias = any(${textArray(aliases)}::text[])`);
  return new Map(rows.map((row) => [row.alias, { roomId: row.room_id, creator: row.creator }]));
}

export async function deleteAlias(tx: Transaction, alias: RoomAlias): Promise<void> {
  await tx.query(sql`delete from room_aliases where alias = ${alias}`);
}

export async function listAliasesOfRoom(tx: Transaction, roomId: RoomId): Promise<readonly RoomAlias[]> {
  const rows = await tx.query(sql<{ alias: RoomAlias }>`
    select alias from room_aliases where room_id = ${roomId} order by created_at, alias`);
  return rows.map(({ alias }) => alias);
}

export interface Move {
  readonly from: RoomId;
  readonly to: RoomId;
}

export async function moveAliases(tx: Transaction, { from, to }: Move): Promise<void> {
  await tx.query(sql`update room_aliases set room_id = ${to} where room_id = ${from}`);
}

export async function setPublished(tx: Transaction, roomId: RoomId, isPublic: boolean): Promise<void> {
  await tx.query(sql`update rooms set is_public = ${isPublic} where room_id = ${roomId}`);
}

/** Whether the room is in the directory; undefined for a room that we do not know. */
export async function loadPublished(tx: Transaction, roomId: RoomId): Promise<boolean | undefined> {
  const [row] = await tx.query(sql<{ is_public: boolean }>`select is_public from rooms where room_id = ${roomId}`);
  return row?.is_public;
}

export interface PublishedRoom {
  readonly roomId: RoomId;
  readonly joinedCount: number;
}

/** The rooms of the directory, the largest first. */
export async function listPublishedRooms(tx: Transaction, limit: number): Promise<readonly PublishedRoom[]> {
  const rows = await tx.query(sql<{ room_id: RoomId; joined: number }>`
    select r.room_id, count(m.user_id) as joined
    from rooms r left join memberships m on m.room_id = r.room_id and m.membership = 'join'
    where r.is_public
    group by r.room_id
    order by joined desc, r.room_id limit ${limit}`);
  return rows.map((row) => ({ roomId: row.room_id, joinedCount: row.joined }));
}

/** Current state of the given types with an empty state key, by room. */
export async function loadDirectoryState(
  tx: Transaction,
  roomIds: readonly RoomId[],
  types: readonly string[],
): Promise<ReadonlyMap<RoomId, readonly LoadedState[]>> {
  const rows = await tx.query(sql<StateRow & { room_id: RoomId; room_version: string }>`
    select c.room_id, r.room_version, c.event_nid, e.event_id, c.state_key, e.pdu, e.redacted_by is not null as redacted
    from current_state c join rooms r using (room_id) join events e using (event_nid)
    where c.room_id = any(${textArray(roomIds)}::text[]) and c.type = any(${textArray(types)}::text[])
      and c.state_key = ''`);
  const states = new Map<RoomId, LoadedState[]>(roomIds.map((roomId) => [roomId, []]));
  for (const row of rows) {
    const version = getRoomVersion(row.room_version);
    if (version !== undefined) states.get(row.room_id)?.push(readState(row, version));
  }
  return states;
}
