/**
 * Figures of rooms, kept beside them: members, events and bytes, each counted up to a position in the stream. What came
 * since is added when somebody asks, so that a list costs what changed and not what is there, and nobody who writes an
 * event pays for it. History that was fetched later than it happened is not counted: the figures are estimates then.
 */
import type { RoomId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql, textArray } from './sql.ts';

/** Rooms in which something happened since they were counted. */
export async function listUncountedRooms(tx: Transaction, limit: number): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`
    select h.room_id from room_heads h left join room_statistics s using (room_id)
    where s.room_id is null or s.position < h.last_position limit ${limit}`);
  return rows.map((row) => row.room_id);
}

/** Counts what came to the rooms since; members only where one of them changed. */
export async function countRooms(
  tx: Transaction,
  { roomIds, serverName }: { readonly roomIds: readonly RoomId[]; readonly serverName: string },
): Promise<void> {
  await tx.query(sql`
    insert into room_statistics (room_id, position, name, joined_members, local_members, events, bytes)
    select h.room_id, h.last_position,
      -- PostgreSQL cannot read every JSON text with such escapes; canonical JSON has them for control characters only.
      (select case when strpos(e.pdu, '\\u') = 0 then e.pdu::json #>> '{content,name}' end
        from current_state c join events e on e.event_nid = c.event_nid and e.redacted_by is null
        where c.room_id = h.room_id and c.type = 'm.room.name' and c.state_key = ''),
      coalesce(m.joined, s.joined_members), coalesce(m.local, s.local_members),
      coalesce(s.events, 0) + added.events, coalesce(s.bytes, 0) + added.bytes
    from room_heads h
    join rooms r using (room_id)
    left join room_statistics s using (room_id)
    cross join lateral (
      select count(*) as events, coalesce(sum(octet_length(e.pdu)), 0)::bigint as bytes,
        count(*) filter (where e.type = 'm.room.member') as members
      from events e
      where e.room_id = h.room_id and e.position is not null and e.position <= h.last_position
        and e.position > coalesce(s.position, (-9223372036854775808)::bigint)) added
    left join lateral (
      select count(*) as joined,
        count(*) filter (where right(user_id, ${serverName.length + 1}) = ${`:${serverName}`}) as local
      from memberships where room_id = h.room_id and membership = 'join') m
      on s.room_id is null or added.members > 0
    where h.room_id = any(${textArray(roomIds)}::text[])
    -- Rooms that are being deleted are passed over.
    for key share of r skip locked
    on conflict (room_id) do update set position = excluded.position, name = excluded.name,
      joined_members = excluded.joined_members, local_members = excluded.local_members,
      events = excluded.events, bytes = excluded.bytes`);
}

export interface RoomSummary {
  readonly room_id: RoomId;
  readonly room_version: string;
  readonly creator: string;
  readonly created_at: number;
  readonly is_public: boolean;
  readonly name: string | null;
  readonly joined_members: number;
  readonly local_members: number;
  readonly events: number;
  readonly event_bytes: number;
}

/** What rooms are sorted by: the greatest first. */
export type RoomFigure = 'members' | 'events' | 'bytes';

export interface RoomsByFigure {
  readonly orderBy: RoomFigure;
  /** Figure and id of the last room of the page before. */
  readonly after: readonly [figure: number, roomId: string] | undefined;
  readonly limit: number;
  /** A part of the name, the id or an alias; empty for all. */
  readonly search: string;
}

export function listRoomsByFigure(tx: Transaction, wanted: RoomsByFigure): Promise<readonly RoomSummary[]> {
  const { orderBy, after, limit, search } = wanted;
  return tx.query(sql<RoomSummary>`
    with counted as (
      select s.*, case ${orderBy} when 'members' then s.joined_members when 'events' then s.events else s.bytes end
        as figure
      from room_statistics s)
    select r.room_id, r.room_version, r.creator, r.created_at, r.is_public, c.name, c.joined_members, c.local_members,
      c.events, c.bytes as event_bytes
    from counted c join rooms r using (room_id)
    where (${search} = '' or strpos(lower(coalesce(c.name, '')), lower(${search})) > 0
        or strpos(c.room_id, ${search}) > 0
        or exists (select from room_aliases a where a.room_id = c.room_id and strpos(a.alias, ${search}) > 0))
      and (${after === undefined}::boolean or c.figure < ${after?.[0] ?? 0}::bigint
        or (c.figure = ${after?.[0] ?? 0}::bigint and c.room_id > ${after?.[1] ?? ''}))
    order by c.figure desc, c.room_id limit ${limit}`);
}

export interface RoomsByName extends Omit<RoomsByFigure, 'orderBy' | 'after'> {
  /** What the last room of the page before is sorted by, and its id. */
  readonly after: readonly [name: string, roomId: string] | undefined;
}

/** By name in lower case; those without come last, behind the greatest character. */
export function listRoomsByName(
  tx: Transaction,
  { after, limit, search }: RoomsByName,
): Promise<readonly (RoomSummary & { readonly sort_name: string })[]> {
  return tx.query(sql<RoomSummary & { sort_name: string }>`
    with counted as (
      select s.*, coalesce(lower(s.name), U&'\\+10FFFF') collate "C" as sort_name from room_statistics s)
    select r.room_id, r.room_version, r.creator, r.created_at, r.is_public, c.name, c.joined_members, c.local_members,
      c.events, c.bytes as event_bytes, c.sort_name
    from counted c join rooms r using (room_id)
    where (${search} = '' or strpos(lower(coalesce(c.name, '')), lower(${search})) > 0
        or strpos(c.room_id, ${search}) > 0
        or exists (select from room_aliases a where a.room_id = c.room_id and strpos(a.alias, ${search}) > 0))
      and (${after === undefined}::boolean or c.sort_name > ${after?.[0] ?? ''}
        or (c.sort_name = ${after?.[0] ?? ''} and c.room_id > ${after?.[1] ?? ''}))
    order by c.sort_name, c.room_id limit ${limit}`);
}

export interface RoomFigures extends RoomSummary {
  readonly state_events: number;
  readonly aliases: readonly string[];
}

export async function loadRoomFigures(tx: Transaction, roomId: RoomId): Promise<RoomFigures | undefined> {
  const [row] = await tx.query(sql<RoomFigures>`
    select r.room_id, r.room_version, r.creator, r.created_at, r.is_public, s.name, s.joined_members, s.local_members,
      s.events, s.bytes as event_bytes,
      (select count(*) from current_state c where c.room_id = r.room_id) as state_events,
      (select coalesce(array_agg(alias order by alias), '{}') from room_aliases a where a.room_id = r.room_id) as aliases
    from rooms r join room_statistics s using (room_id) where r.room_id = ${roomId}`);
  return row;
}
