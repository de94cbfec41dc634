/**
 * Rooms and the whole database as administrators see them: lists, counts and sizes. These read much, for few readers.
 */
import type { RoomId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

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
}

export interface RoomsWanted {
  readonly skip: number;
  readonly limit: number;
  readonly orderBy: 'members' | 'events' | 'name';
  /** A part of the name, the id or an alias; empty for all. */
  readonly search: string;
  readonly serverName: string;
}

export function listRoomSummaries(tx: Transaction, wanted: RoomsWanted): Promise<readonly RoomSummary[]> {
  const { skip, limit, orderBy, search, serverName } = wanted;
  return tx.query(sql<RoomSummary>`
    with named as (
      -- PostgreSQL cannot read every JSON text with such escapes; canonical JSON has them for control characters only.
      select r.*, case when strpos(e.pdu, '\\u') = 0 then e.pdu::json #>> '{content,name}' end as name
      from rooms r
      left join current_state c on c.room_id = r.room_id and c.type = 'm.room.name' and c.state_key = ''
      left join events e on e.event_nid = c.event_nid and e.redacted_by is null
    ), counted as (
      select n.room_id, n.room_version, n.creator, n.created_at, n.is_public, n.name,
        (select count(*) from memberships m where m.room_id = n.room_id and m.membership = 'join') as joined_members,
        (select count(*) from memberships m where m.room_id = n.room_id and m.membership = 'join'
          and right(m.user_id, ${serverName.length + 1}) = ${`:${serverName}`}) as local_members,
        (select count(*) from events e where e.room_id = n.room_id and e.position is not null) as events
      from named n
      where ${search} = '' or position(lower(${search}) in lower(coalesce(n.name, ''))) > 0
        or position(${search} in n.room_id) > 0
        or exists (select from room_aliases a where a.room_id = n.room_id and position(${search} in a.alias) > 0)
    )
    select * from counted
    order by case ${orderBy} when 'members' then -joined_members when 'events' then -events else 0 end,
      lower(name) nulls last, room_id
    offset ${skip} limit ${limit}`);
}

export interface RoomFigures extends Omit<RoomSummary, 'name' | 'local_members' | 'joined_members'> {
  /** Of its events' text, as the greatest part by far. */
  readonly event_bytes: number;
  readonly state_events: number;
  readonly aliases: readonly string[];
}

export async function loadRoomFigures(tx: Transaction, roomId: RoomId): Promise<RoomFigures | undefined> {
  const [row] = await tx.query(sql<RoomFigures>`
    select r.room_id, r.room_version, r.creator, r.created_at, r.is_public,
      (select count(*) from events e where e.room_id = r.room_id) as events,
      (select coalesce(sum(octet_length(pdu)), 0)::bigint from events e where e.room_id = r.room_id) as event_bytes,
      (select count(*) from current_state c where c.room_id = r.room_id) as state_events,
      (select coalesce(array_agg(alias order by alias), '{}') from room_aliases a where a.room_id = r.room_id) as aliases
    from rooms r where r.room_id = ${roomId}`);
  return row;
}

export interface Statistics {
  readonly accounts: number;
  readonly deactivated_accounts: number;
  readonly devices: number;
  readonly rooms: number;
  readonly events: number;
  readonly database_bytes: number;
}

/** The number of events is the planner's estimate: counting them would read them all. */
export async function loadStatistics(tx: Transaction): Promise<Statistics> {
  const [row] = await tx.query(sql<Statistics>`
    select (select count(*) from accounts) as accounts,
      (select count(*) from accounts where deactivated) as deactivated_accounts,
      (select count(*) from devices) as devices,
      (select count(*) from rooms) as rooms,
      (select greatest(reltuples, 0)::bigint from pg_class where oid = 'events'::regclass) as events,
      pg_database_size(current_database()) as database_bytes`);
  if (row === undefined) throw new Error('a select without from gave no row');
  return row;
}
