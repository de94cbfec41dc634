/**
 * What a sync reads from the database when memory does not reach back far enough. Each question is one statement for all
 * rooms of the answer, so that no sync costs more statements because its user is in more rooms.
 */
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { loadEventsByNid, type ReplacedState, type StoredEvent, type TimelineEvent, toStateChange } from './events.ts';
import { type LoadedState, readState, type StateRow } from './rooms.ts';
import { bigintArray, sql, textArray } from './sql.ts';

/** A room that concerns a user, and how they stand to it. */
export interface UserRoom {
  readonly roomId: RoomId;
  readonly membership: string;
  /** The position of the membership event. */
  readonly membershipPosition: number;
  /** The membership before the first change after the position asked for; undefined where there was none or no change. */
  readonly earlier: string | undefined;
}

export interface UserRooms {
  /** What the answer is complete up to: of the same instant as the rooms. */
  readonly position: number;
  readonly rooms: readonly UserRoom[];
}

interface UserRoomRow {
  readonly reached: number;
  readonly room_id: RoomId | null;
  readonly membership: string | null;
  readonly position: number | null;
  readonly earlier: string | null;
}

function toUserRooms(rows: readonly UserRoomRow[]): UserRooms {
  return {
    position: rows[0]?.reached ?? 0,
    rooms: rows.flatMap(({ room_id, membership, position, earlier }) =>
      room_id === null || membership === null || position === null
        ? []
        : [{ roomId: room_id, membership, membershipPosition: position, earlier: earlier ?? undefined }],
    ),
  };
}

interface OfUser {
  readonly userId: UserId;
  readonly writerId: number;
}

/** All rooms of a user, but for those that they forgot. */
export async function listUserRooms(tx: Transaction, { userId, writerId }: OfUser): Promise<UserRooms> {
  const rows = await tx.query(sql<UserRoomRow>`
    select w.position as reached, m.room_id, m.membership, m.position, null::text as earlier
    from stream_writers w
    left join memberships m on m.user_id = ${userId} and not m.forgotten
    where w.writer_id = ${writerId}`);
  return toUserRooms(rows);
}

/** The rooms of a user in which something happened after the position: their own membership, or any event they see. */
export async function listChangedRooms(
  tx: Transaction,
  { userId, writerId, after }: OfUser & { readonly after: number },
): Promise<UserRooms> {
  const rows = await tx.query(sql<UserRoomRow>`
    with changed as (
      select m.room_id, m.membership, m.position
      from memberships m join room_heads h using (room_id)
      where m.user_id = ${userId} and ((m.membership = 'join' and h.last_position > ${after}) or m.position > ${after})
    )
    select w.position as reached, c.room_id, c.membership, c.position, first_change.earlier
    from stream_writers w
    left join changed c on true
    left join lateral (
      select case when strpos(p.pdu, '\\u') = 0 then p.pdu::json #>> '{content,membership}' end as earlier
      from (
        select e.position, e.replaces_nid from events e
        where c.position > ${after} and e.room_id = c.room_id and e.type = 'm.room.member' and e.state_key = ${userId}
          and e.position > ${after} and e.rejection is null and not e.soft_failed and not e.sidelined
        union all
        select s.position, s.replaces_nid from state_changes s
        where c.position > ${after} and s.room_id = c.room_id and s.type = 'm.room.member' and s.state_key = ${userId}
          and s.position > ${after}
      ) own
      left join events p on p.event_nid = own.replaces_nid
      order by own.position limit 1
    ) first_change on true
    where w.writer_id = ${writerId}`);
  return toUserRooms(rows);
}

/** The position of a user's last join of a room, however it ended since. */
export async function loadLastJoin(tx: Transaction, roomId: RoomId, userId: UserId): Promise<number | undefined> {
  const [row] = await tx.query(sql<{ position: number }>`
    select e.position from events e
    where e.room_id = ${roomId} and e.type = 'm.room.member' and e.state_key = ${userId} and e.position is not null
      and e.rejection is null and not e.soft_failed
      and case when strpos(e.pdu, '\\u') = 0 then e.pdu::json #>> '{content,membership}' = 'join' end
    order by e.position desc limit 1`);
  return row?.position;
}

export interface RoomRange {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  /** Positions in (after, upTo]. */
  readonly after: number;
  readonly upTo: number;
}

/** The newest `limit` accepted events of each range, oldest first. One statement, and one more per room version. */
export async function listNewestEvents(
  tx: Transaction,
  ranges: readonly RoomRange[],
  limit: number,
): Promise<ReadonlyMap<RoomId, readonly TimelineEvent[]>> {
  const rows = await tx.query(sql<NewestRow>`
    select range.room_id, e.event_nid, e.position, e.replaces_nid, e.is_change
    from unnest(
      ${textArray(ranges.map(({ roomId }) => roomId))}::text[],
      ${bigintArray(ranges.map(({ after }) => after))}::bigint[],
      ${bigintArray(ranges.map(({ upTo }) => upTo))}::bigint[]
    ) as range (room_id, after, up_to)
    cross join lateral (
      (select event_nid, position, null::bigint as replaces_nid, false as is_change from events
      where events.room_id = range.room_id and events.position > range.after and events.position <= range.up_to
        and rejection is null and not soft_failed
      order by events.position desc limit ${limit})
      union all
      (select event_nid, position, replaces_nid, true from state_changes
      where state_changes.room_id = range.room_id and state_changes.position > range.after
        and state_changes.position <= range.up_to and event_nid is not null
      order by position desc limit ${limit})
      order by position desc limit ${limit}
    ) e`);
  const found = new Map<RoomId, TimelineEvent[]>(ranges.map(({ roomId }) => [roomId, []]));
  for (const [version, roomIds] of Map.groupBy(ranges, ({ version }) => version)) {
    const rooms = new Set(roomIds.map(({ roomId }) => roomId));
    const ofVersion = rows.filter(({ room_id }) => rooms.has(room_id));
    if (ofVersion.length === 0) continue;
    const nids = ofVersion.flatMap(({ event_nid, replaces_nid }) =>
      replaces_nid === null ? [event_nid] : [event_nid, replaces_nid],
    );
    const stored = new Map((await loadEventsByNid(tx, version, nids)).map((event) => [event.nid, event]));
    for (const row of ofVersion) {
      const event = stored.get(row.event_nid);
      if (event === undefined) continue;
      const placed = { ...event, position: row.position };
      found.get(row.room_id)?.push(row.is_change ? asChange(placed, stored.get(row.replaces_nid ?? 0)) : placed);
    }
  }
  for (const events of found.values()) events.sort((a, b) => a.position - b.position);
  return found;
}

interface NewestRow {
  readonly room_id: RoomId;
  readonly event_nid: number;
  readonly position: number;
  readonly replaces_nid: number | null;
  readonly is_change: boolean;
}

function asChange(event: TimelineEvent, replaced: StoredEvent | undefined): TimelineEvent {
  return { ...toStateChange(event), replaces: replaced === undefined ? undefined : toReplaced(replaced) };
}

function toReplaced({ event: { eventId, sender, content } }: StoredEvent): ReplacedState {
  return { eventId, sender, content };
}

/** What each range set as state: the last event of each type and state key in it. */
export async function listStateChanges(
  tx: Transaction,
  ranges: readonly RoomRange[],
): Promise<ReadonlyMap<RoomId, readonly LoadedState[]>> {
  const rows = await tx.query(sql<StateRow & { room_id: RoomId }>`
    select distinct on (e.room_id, e.type, e.state_key)
      e.room_id, e.event_nid, e.event_id, e.state_key, e.pdu, e.redacted_by is not null as redacted
    from unnest(
      ${textArray(ranges.map(({ roomId }) => roomId))}::text[],
      ${bigintArray(ranges.map(({ after }) => after))}::bigint[],
      ${bigintArray(ranges.map(({ upTo }) => upTo))}::bigint[]
    ) as range (room_id, after, up_to)
    cross join lateral (
      select event_nid, position from events
      where room_id = range.room_id and position > range.after and position <= range.up_to
        and state_key is not null and rejection is null and not soft_failed and not sidelined
      union all
      select event_nid, position from state_changes
      where room_id = range.room_id and position > range.after and position <= range.up_to and event_nid is not null
    ) changed
    join events e using (event_nid)
    order by e.room_id, e.type, e.state_key, changed.position desc`);
  return groupByRoom(rows, ranges);
}

export interface EventsOfRooms {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  readonly eventIds: readonly string[];
}

/** State events of many rooms by their ids. */
export async function listStateByIds(
  tx: Transaction,
  wanted: readonly EventsOfRooms[],
): Promise<ReadonlyMap<RoomId, readonly LoadedState[]>> {
  const ids = wanted.flatMap(({ eventIds }) => eventIds);
  const rows = await tx.query(sql<StateRow & { room_id: RoomId }>`
    select room_id, event_nid, event_id, state_key, pdu, redacted_by is not null as redacted
    from events
    where event_id = any(${textArray(ids)}::text[]) and state_key is not null and rejection is null`);
  return groupByRoom(rows, wanted);
}

function groupByRoom(
  rows: readonly (StateRow & { readonly room_id: RoomId })[],
  rooms: readonly { readonly roomId: RoomId; readonly version: RoomVersion }[],
): ReadonlyMap<RoomId, readonly LoadedState[]> {
  const versions = new Map(rooms.map(({ roomId, version }) => [roomId, version]));
  const found = new Map<RoomId, LoadedState[]>(rooms.map(({ roomId }) => [roomId, []]));
  for (const row of rows) {
    const version = versions.get(row.room_id);
    if (version !== undefined) found.get(row.room_id)?.push(readState(row, version));
  }
  return found;
}
