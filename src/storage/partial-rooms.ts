/**
 * Rooms that were joined without their members, and how they become whole: which events came meanwhile, what is written
 * about them once the whole state is known, and the stream that says from which position on a room is whole.
 */
import type { EventId, RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { bigintArray, booleanArray, sql, textArray } from './sql.ts';
import type { StreamTable } from './stream-table.ts';

export interface PartialRoom {
  readonly roomId: RoomId;
  /** The server that let us in. */
  readonly joinedVia: ServerName;
  /** All that are in the room, as it said. */
  readonly servers: readonly ServerName[];
  /** The join by which the room came here without its members. */
  readonly firstNid: number;
  readonly startedAt: number;
}

/** Marks a room whose members are still to come; a room that is one already stays what it was before. */
export async function insertPartialRoom(tx: Transaction, room: PartialRoom): Promise<void> {
  await tx.query(sql`
    insert into partial_state_rooms (room_id, joined_via, servers, first_nid, started_at)
    values (${room.roomId}, ${room.joinedVia}, ${textArray(room.servers)}::text[], ${room.firstNid}, ${room.startedAt})
    on conflict (room_id) do update set joined_via = excluded.joined_via, servers = excluded.servers`);
}

export async function listPartialRooms(tx: Transaction): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`select room_id from partial_state_rooms order by started_at`);
  return rows.map((row) => row.room_id);
}

export async function loadPartialRoom(tx: Transaction, roomId: RoomId): Promise<PartialRoom | undefined> {
  const [row] = await tx.query(
    sql<{
      joined_via: ServerName;
      servers: readonly ServerName[];
      first_nid: number;
      started_at: number;
    }>`select joined_via, servers, first_nid, started_at from partial_state_rooms where room_id = ${roomId}`,
  );
  if (row === undefined) return undefined;
  const { joined_via: joinedVia, servers, first_nid: firstNid, started_at: startedAt } = row;
  return { roomId, joinedVia, servers, firstNid, startedAt };
}

/** Who an event is and what it follows. */
export interface GraphNode {
  readonly nid: number;
  readonly eventId: EventId;
  readonly prevEvents: readonly EventId[];
}

interface NodeRow {
  readonly event_nid: number;
  readonly event_id: EventId;
  readonly prev_events: readonly (EventId | readonly [EventId, unknown])[];
}

/**
 * What came into the room's graph since the join, and after the event `after`: in the order in which it came, accepted or
 * not. History from before the join is no part of it.
 */
export async function listEventsSince(
  tx: Transaction,
  { roomId, firstNid, after }: { readonly roomId: RoomId; readonly firstNid: number; readonly after: number },
): Promise<readonly GraphNode[]> {
  const rows = await tx.query(sql<NodeRow>`
    select event_nid, event_id, pdu::json -> 'prev_events' as prev_events
    from (
      select event_nid, event_id, pdu from events
      where room_id = ${roomId} and not outlier and event_nid > ${after}
        and position >= (select position from events where event_nid = ${firstNid})
      union all
      select event_nid, event_id, pdu from events
      where room_id = ${roomId} and not outlier and event_nid > ${after}
        and position is null and event_nid > ${firstNid}
    ) e
    order by event_nid`);
  return rows.map((row) => ({
    nid: row.event_nid,
    eventId: row.event_id,
    prevEvents: row.prev_events.map((prev) => (typeof prev === 'string' ? prev : prev[0])),
  }));
}

/** The events that the room's members are known by, whether or not the room in memory has them. */
export async function listMemberNids(tx: Transaction, roomId: RoomId): Promise<readonly number[]> {
  const rows = await tx.query(sql<{ event_nid: number }>`
    select event_nid from current_state where room_id = ${roomId} and type = 'm.room.member'`);
  return rows.map((row) => row.event_nid);
}

/** Removes what an earlier attempt left of members that there are none of. */
export async function deleteLeftMembers(tx: Transaction, roomId: RoomId, nids: readonly number[]): Promise<void> {
  if (nids.length === 0) return;
  await Promise.all([
    tx.query(sql`
      delete from current_state using events e
      where current_state.room_id = ${roomId} and e.event_nid = current_state.event_nid and e.position is null
        and e.event_nid = any(${bigintArray(nids)}::bigint[])`),
    tx.query(sql`
      delete from memberships using events e
      where memberships.room_id = ${roomId} and memberships.position = 0 and e.event_nid = memberships.event_nid
        and e.position is null and e.event_nid = any(${bigintArray(nids)}::bigint[])`),
  ]);
}

/** Members as they were before anything came: nothing of the room depends on them until it is whole. */
export async function insertMissingMembers(
  tx: Transaction,
  roomId: RoomId,
  members: readonly MissingMember[],
): Promise<void> {
  const nids = bigintArray(members.map(({ nid }) => nid));
  const userIds = textArray(members.map(({ stateKey }) => stateKey));
  await Promise.all([
    tx.query(sql`
      insert into current_state (room_id, type, state_key, event_nid)
      select ${roomId}, 'm.room.member', * from unnest(${userIds}::text[], ${nids}::bigint[])
      where exists (select from rooms where room_id = ${roomId})
      on conflict (room_id, type, state_key) do nothing`),
    tx.query(sql`
      insert into memberships (room_id, user_id, membership, sender, event_nid, position)
      select ${roomId}, user_id, membership, sender, nid, 0 from unnest(
        ${userIds}::text[],
        ${textArray(members.map(({ membership }) => membership))}::text[],
        ${textArray(members.map(({ sender }) => sender))}::text[], ${nids}::bigint[]
      ) as member (user_id, membership, sender, nid)
      where exists (select from rooms where room_id = ${roomId})
      on conflict (room_id, user_id) do nothing`),
  ]);
}

export interface MissingMember {
  readonly nid: number;
  readonly stateKey: string;
  readonly sender: UserId;
  readonly membership: string;
}

/** What an event became when it was judged by the whole state. */
export interface RejudgedEvent {
  readonly nid: number;
  readonly stateBefore: number;
  readonly stateAfter: number;
  readonly rejection: string | undefined;
  readonly softFailed: boolean;
  readonly replacesNid: number | null;
}

/** What is refused now loses its place in the stream. */
export async function updateRejudged(tx: Transaction, events: readonly RejudgedEvent[]): Promise<void> {
  if (events.length === 0) return;
  await tx.query(sql`
    update events set state_before = judged.state_before, state_after = judged.state_after,
      rejection = judged.rejection, soft_failed = judged.soft_failed, replaces_nid = judged.replaces_nid,
      position = case when judged.rejection is null and not judged.soft_failed then events.position end
    from unnest(
      ${bigintArray(events.map(({ nid }) => nid))}::bigint[],
      ${bigintArray(events.map(({ stateBefore }) => stateBefore))}::bigint[],
      ${bigintArray(events.map(({ stateAfter }) => stateAfter))}::bigint[],
      ${textArray(events.map(({ rejection }) => rejection ?? null))}::text[],
      ${booleanArray(events.map(({ softFailed }) => softFailed))}::boolean[],
      ${bigintArray(events.map(({ replacesNid }) => replacesNid))}::bigint[]
    ) as judged (nid, state_before, state_after, rejection, soft_failed, replaces_nid)
    where events.event_nid = judged.nid`);
}

/** Makes way for the rows of events that were refused and now enter the stream. */
export async function deleteRefused(tx: Transaction, nids: readonly number[]): Promise<void> {
  if (nids.length === 0) return;
  await tx.query(sql`
    delete from events where event_nid = any(${bigintArray(nids)}::bigint[]) and position is null`);
}

export interface WholeHead {
  readonly roomId: RoomId;
  readonly forwardExtremities: readonly number[];
  readonly stateSnapshot: number;
  /** The members of whom it was said when they were first heard of: they were there all the time. */
  readonly introducedNids: readonly number[];
}

export async function updateWholeHead(tx: Transaction, head: WholeHead): Promise<void> {
  const { roomId } = head;
  await Promise.all([
    tx.query(sql`
      update room_heads set forward_extremities = ${bigintArray(head.forwardExtremities)}::bigint[],
        state_snapshot = ${head.stateSnapshot}
      where room_id = ${roomId}`),
    tx.query(sql`
      delete from state_changes
      where room_id = ${roomId} and type = 'm.room.member' and replaces_nid is null
        and event_nid = any(${bigintArray(head.introducedNids)}::bigint[])`),
  ]);
}

export interface WholeRoomRow {
  readonly roomId: RoomId;
}

/** Says that a room is whole: from this position on whoever wants all members sees it. */
export const wholeRoomStream: StreamTable<WholeRoomRow> = {
  name: 'whole_rooms',
  async insert(tx, rows) {
    const roomIds = textArray(rows.map(({ row }) => row.roomId));
    const positions = bigintArray(rows.map(({ position }) => position));
    await Promise.all([
      tx.query(sql`
        update rooms set complete_from = whole.position
        from unnest(${roomIds}::text[], ${positions}::bigint[]) as whole (room_id, position)
        where rooms.room_id = whole.room_id`),
      tx.query(sql`
        update room_heads set last_position = greatest(last_position, whole.position)
        from unnest(${roomIds}::text[], ${positions}::bigint[]) as whole (room_id, position)
        where room_heads.room_id = whole.room_id`),
      tx.query(sql`delete from partial_state_rooms where room_id = any(${roomIds}::text[])`),
      // Its members are counted anew.
      tx.query(sql`delete from room_statistics where room_id = any(${roomIds}::text[])`),
    ]);
  },
};
