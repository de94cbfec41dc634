/**
 * Gaps in timelines, and what fills them: events that are put right before the one that follows the gap, where positions
 * were kept free for them (docs/adr/0021-gaps.md). They change no current state.
 */
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { arrayLiteral, storedDepth } from './pdu-stream.ts';
import type { UnplacedEvent } from './received-events.ts';
import { bigintArray, booleanArray, sql, textArray } from './sql.ts';

/** The position of the event after a gap, where the first event at or after this position is one. */
export async function findGapBefore(tx: Transaction, roomId: RoomId, position: number): Promise<number | undefined> {
  const [row] = await tx.query(sql<{ position: number; after_gap: boolean }>`
    select position, after_gap from events where room_id = ${roomId} and position >= ${position}
    order by position limit 1`);
  return row?.after_gap === true ? row.position : undefined;
}

export interface TimelineGap {
  /** Of the event after the gap. */
  readonly position: number;
  readonly nid: number;
  /** Positions between it and the event before it. */
  readonly room: number;
  /** Events that we lack and that the events from here to the next gap refer to, the newest first. */
  readonly ends: readonly EventId[];
}

/** The gap before the event at this position; undefined where there is none, or no longer. */
export async function loadGap(
  tx: Transaction,
  { roomId, position, limit }: { readonly roomId: RoomId; readonly position: number; readonly limit: number },
): Promise<TimelineGap | undefined> {
  const rows = await tx.query(sql<{ event_nid: number; below: number; event_id: EventId | null }>`
    with gap as (
      select event_nid, position,
        coalesce((select max(position) from events where room_id = ${roomId} and position < ${position}), 0) as below,
        (select min(position) from events where room_id = ${roomId} and position > ${position} and after_gap) as next
      from events where room_id = ${roomId} and position = ${position} and after_gap
    )
    select gap.event_nid, gap.below, missing.event_id
    from gap left join lateral (
      select b.event_id from backward_extremities b join events e on e.event_nid = b.referenced_by
      where b.room_id = ${roomId} and e.position >= gap.position and (gap.next is null or e.position < gap.next)
      group by b.event_id order by max(e.depth) desc limit ${limit}
    ) missing on true`);
  const [first] = rows;
  if (first === undefined) return undefined;
  const ends = rows.map((row) => row.event_id).filter((id) => id !== null);
  return { position, nid: first.event_nid, room: position - first.below - 1, ends };
}

/** The gap lies before another event now, or nowhere any more. */
export async function moveGap(
  tx: Transaction,
  roomId: RoomId,
  { from, to }: { readonly from: number; readonly to: number | undefined },
): Promise<void> {
  await tx.query(sql`
    update events set after_gap = position is not distinct from ${to ?? null}::bigint
    where room_id = ${roomId} and position in (${from}, ${to ?? null}::bigint)`);
}

export interface BackfilledEvent extends UnplacedEvent {
  readonly replacesNid: number | null;
}

export interface GapPlace {
  readonly roomId: RoomId;
  readonly writerId: number;
  /** The event after the gap stands here. */
  readonly position: number;
}

/** Puts the events, oldest first, right before the event after the gap. */
export async function insertBackfilled(
  tx: Transaction,
  { roomId, writerId, position }: GapPlace,
  events: readonly BackfilledEvent[],
): Promise<void> {
  if (events.length === 0) return;
  const first = position - events.length;
  await tx.query(sql`
    insert into events (event_nid, event_id, room_id, type, state_key, sender, depth, origin_server_ts, writer_id,
      position, state_before, state_after, replaces_nid, sidelined, auth_nids, pdu)
    select event_nid, event_id, ${roomId}, type, state_key, sender, depth, origin_server_ts, ${writerId}::smallint,
      position, state_before, state_after, replaces_nid, sidelined, auth_nids::bigint[], pdu
    from unnest(
      ${bigintArray(events.map(({ nid }) => nid))}::bigint[],
      ${textArray(events.map(({ event }) => event.eventId))}::text[],
      ${textArray(events.map(({ event }) => event.type))}::text[],
      ${textArray(events.map(({ event }) => event.stateKey ?? null))}::text[],
      ${textArray(events.map(({ event }) => event.sender))}::text[],
      ${bigintArray(events.map(({ event }) => storedDepth(event)))}::bigint[],
      ${bigintArray(events.map(({ event }) => event.originServerTs))}::bigint[],
      ${bigintArray(events.map((_event, index) => first + index))}::bigint[],
      ${bigintArray(events.map(({ stateBefore }) => stateBefore))}::bigint[],
      ${bigintArray(events.map(({ stateAfter }) => stateAfter))}::bigint[],
      ${bigintArray(events.map(({ replacesNid }) => replacesNid))}::bigint[],
      ${booleanArray(events.map(({ event }) => event.stateKey !== undefined))}::boolean[],
      ${textArray(events.map(({ authNids }) => arrayLiteral(authNids)))}::text[],
      ${textArray(events.map(({ pduText }) => pduText))}::text[]
    ) as event (event_nid, event_id, type, state_key, sender, depth, origin_server_ts, position, state_before,
      state_after, replaces_nid, sidelined, auth_nids, pdu)`);
}

/** Applies redactions that were here before what they redact. */
export async function updateRedactedBy(
  tx: Transaction,
  redactions: readonly { readonly nid: number; readonly by: number }[],
): Promise<void> {
  if (redactions.length === 0) return;
  await tx.query(sql`
    update events set redacted_by = redaction.by
    from unnest(
      ${bigintArray(redactions.map(({ nid }) => nid))}::bigint[],
      ${bigintArray(redactions.map(({ by }) => by))}::bigint[]
    ) as redaction (nid, by)
    where events.event_nid = redaction.nid and events.redacted_by is null`);
}
