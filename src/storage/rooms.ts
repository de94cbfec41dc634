/**
 * Rooms as the engine loads them: version, forward extremities, depth and current state. Every function takes many rooms,
 * so that loading a hundred rooms costs as many statements as loading one.
 */
import type { Breathe } from '../lib/breather.ts';
import { referenceHash } from '../protocol/hashes.ts';
import type { EventId, RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { getRoomVersion, type RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { readEvent } from './events.ts';
import { bigintArray, sql, textArray } from './sql.ts';

export interface NewRoom {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  readonly creator: UserId;
  readonly createdAt: number;
  readonly isPublic: boolean;
}

export async function insertRoom(tx: Transaction, room: NewRoom): Promise<void> {
  await tx.query(sql`
    insert into rooms (room_id, room_version, creator, created_at, is_public)
    values (${room.roomId}, ${room.version.id}, ${room.creator}, ${room.createdAt}, ${room.isPublic})`);
}

export interface LoadedExtremity {
  readonly eventId: EventId;
  readonly nid: number;
  readonly stateAfter: number | null;
}

export interface LoadedRoom {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  readonly extremities: readonly LoadedExtremity[];
  readonly stateSnapshot: number;
  readonly depth: number;
  readonly lastPosition: number;
  /** Of a room that lacks members, the servers that are in it. */
  readonly partialServers: readonly ServerName[] | undefined;
  readonly completeFrom: number;
}

interface RoomRow {
  readonly room_id: RoomId;
  readonly room_version: string;
  readonly extremity_nids: readonly number[];
  readonly extremity_ids: readonly EventId[];
  readonly extremity_states: readonly (number | null)[];
  readonly state_snapshot: number;
  readonly depth: number;
  readonly last_position: number;
  readonly complete_from: number;
  readonly partial_servers: readonly ServerName[] | null;
}

export async function loadRooms(tx: Transaction, roomIds: readonly RoomId[]): Promise<readonly LoadedRoom[]> {
  const rows = await tx.query(sql<RoomRow>`
    select r.room_id, r.room_version, r.complete_from, h.state_snapshot, h.depth, h.last_position,
      (select p.servers from partial_state_rooms p where p.room_id = r.room_id) as partial_servers,
      array_agg(e.event_nid order by e.event_nid) as extremity_nids,
      array_agg(e.event_id order by e.event_nid) as extremity_ids,
      array_agg(e.state_after order by e.event_nid) as extremity_states
    from rooms r join room_heads h using (room_id) join events e on e.event_nid = any(h.forward_extremities)
    where r.room_id = any(${textArray(roomIds)}::text[])
    group by r.room_id, h.room_id`);
  return rows.map((row) => ({
    roomId: row.room_id,
    version: versionOf(row),
    extremities: row.extremity_nids.flatMap((nid, index) => {
      const eventId = row.extremity_ids[index];
      return eventId === undefined ? [] : [{ nid, eventId, stateAfter: row.extremity_states[index] ?? null }];
    }),
    stateSnapshot: row.state_snapshot,
    depth: row.depth,
    lastPosition: row.last_position,
    partialServers: row.partial_servers ?? undefined,
    completeFrom: row.complete_from,
  }));
}

function versionOf(row: RoomRow): RoomVersion {
  const version = getRoomVersion(row.room_version);
  if (version === undefined) throw new Error(`room ${row.room_id} has the unknown version ${row.room_version}`);
  return version;
}

/** A state event as the engine keeps it in memory. */
export interface LoadedState {
  readonly nid: number;
  readonly eventId: EventId;
  readonly type: string;
  readonly stateKey: string;
  readonly sender: UserId;
  readonly content: JsonObject;
  readonly originServerTs: number;
  /** Only in rooms of versions 1 and 2, whose events refer to others by id and hash. */
  readonly referenceHash?: string;
}

export interface StateRow {
  readonly event_nid: number;
  readonly event_id: EventId;
  readonly state_key: string;
  readonly pdu: string;
  readonly redacted: boolean;
}

/** Current state of the rooms. */
export async function loadCurrentState(
  tx: Transaction,
  rooms: readonly Pick<LoadedRoom, 'roomId' | 'version'>[],
  breathe: Breathe,
): Promise<ReadonlyMap<RoomId, readonly LoadedState[]>> {
  const rows = await tx.query(sql<StateRow & { room_id: RoomId }>`
    select c.room_id, c.event_nid, e.event_id, c.state_key, e.pdu, e.redacted_by is not null as redacted
    from unnest(${textArray(rooms.map(({ roomId }) => roomId))}::text[]) as wanted (room_id)
    -- Room by room, by the index: what rooms hold is so different that no estimate fits.
    cross join lateral (
      select room_id, event_nid, state_key from current_state where current_state.room_id = wanted.room_id offset 0
    ) c
    join events e using (event_nid)`);
  const versions = new Map(rooms.map(({ roomId, version }) => [roomId, version]));
  const states = new Map<RoomId, LoadedState[]>(rooms.map(({ roomId }) => [roomId, []]));
  for (const row of rows) {
    const version = versions.get(row.room_id);
    if (version !== undefined) states.get(row.room_id)?.push(readState(row, version));
    const pause = breathe();
    if (pause !== undefined) await pause;
  }
  return states;
}

export function readState(row: StateRow, version: RoomVersion): LoadedState {
  const event = readEvent(row.pdu, { eventId: row.event_id, version, isRedacted: row.redacted });
  const { eventId, type, sender, content, originServerTs } = event;
  return {
    nid: row.event_nid,
    eventId,
    type,
    stateKey: row.state_key,
    sender,
    content,
    originServerTs,
    ...(version.eventIds === 'server' ? { referenceHash: referenceHash(event.pdu, version) } : {}),
  };
}

export interface TransactionsOfDevice {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly deviceId: string;
}

export interface KnownTransaction {
  readonly path: string;
  readonly txnId: string;
  readonly eventId: EventId;
  readonly nid: number;
}

/** The newest transaction ids of a device in a room, newest first. */
export async function listTransactions(
  tx: Transaction,
  of: TransactionsOfDevice,
  limit: number,
): Promise<readonly KnownTransaction[]> {
  const rows = await tx.query(sql<{ path: string; txn_id: string; event_id: EventId; event_nid: number }>`
    select t.path, t.txn_id, e.event_id, e.event_nid
    from transaction_ids t join events e using (event_nid)
    where t.room_id = ${of.roomId} and t.user_id = ${of.userId} and t.device_id = ${of.deviceId}
    order by t.created_at desc limit ${limit}`);
  return rows.map((row) => ({ path: row.path, txnId: row.txn_id, eventId: row.event_id, nid: row.event_nid }));
}

/** What one transaction id of a device gave, where it gave something. */
export async function loadTransaction(
  tx: Transaction,
  of: TransactionsOfDevice,
  id: { readonly path: string; readonly txnId: string },
): Promise<KnownTransaction | undefined> {
  const [row] = await tx.query(sql<{ event_id: EventId; event_nid: number }>`
    select e.event_id, e.event_nid
    from transaction_ids t join events e using (event_nid)
    where t.room_id = ${of.roomId} and t.user_id = ${of.userId} and t.device_id = ${of.deviceId}
      and t.path = ${id.path} and t.txn_id = ${id.txnId}`);
  return row === undefined ? undefined : { ...id, eventId: row.event_id, nid: row.event_nid };
}

/** The next block of numeric ids of one kind: `[first, first + 1000)`. */
export async function reserveEventNids(tx: Transaction): Promise<number> {
  const [row] = await tx.query(sql<{ first: number }>`select nextval('event_nids') as first`);
  return firstOf(row);
}

export async function reserveSnapshotNids(tx: Transaction): Promise<number> {
  const [row] = await tx.query(sql<{ first: number }>`select nextval('snapshot_nids') as first`);
  return firstOf(row);
}

export const NIDS_PER_BLOCK = 1000;

function firstOf(row: { first: number } | undefined): number {
  if (row === undefined) throw new Error('nextval gave no row');
  return row.first;
}

export async function isKnownRoom(tx: Transaction, roomId: RoomId): Promise<boolean> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`select room_id from rooms where room_id = ${roomId}`);
  return rows.length > 0;
}

/** The room that an event belongs to. */
export async function loadRoomOfEvent(tx: Transaction, eventId: EventId): Promise<RoomId | undefined> {
  const [row] = await tx.query(sql<{ room_id: RoomId }>`select room_id from events where event_id = ${eventId}`);
  return row?.room_id;
}

/** Nothing lies at it: so a token of a server on which nothing has happened yet is no token of before everything. */
const FIRST_POSITION = 1;

/** The last position that the writer committed. */
export async function loadWriterPosition(tx: Transaction, writerId: number): Promise<number> {
  const [row] = await tx.query(sql<{ position: number }>`
    insert into stream_writers (writer_id, position) values (${writerId}, ${FIRST_POSITION})
    on conflict (writer_id) do update set position = greatest(stream_writers.position, ${FIRST_POSITION})
    returning position`);
  return row?.position ?? FIRST_POSITION;
}

export async function saveWriterPosition(
  tx: Transaction,
  writer: { readonly writerId: number; readonly position: number },
): Promise<void> {
  await tx.query(sql`update stream_writers set position = ${writer.position} where writer_id = ${writer.writerId}`);
}

/** Which of these numeric ids are which state keys: to rebuild a chain of deltas. */
export async function loadStateKeys(
  tx: Transaction,
  nids: readonly number[],
): Promise<ReadonlyMap<number, { readonly type: string; readonly stateKey: string }>> {
  const rows = await tx.query(sql<{ event_nid: number; type: string; state_key: string }>`
    select event_nid, type, state_key from events
    where event_nid = any(${bigintArray(nids)}::bigint[]) and state_key is not null`);
  return new Map(rows.map((row) => [row.event_nid, { type: row.type, stateKey: row.state_key }]));
}
