/**
 * History from before a room's first event here: events with negative positions, the newest nearest to zero.
 */
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { arrayLiteral, storedDepth } from './pdu-stream.ts';
import type { UnplacedEvent } from './received-events.ts';
import { bigintArray, sql, textArray } from './sql.ts';

/** Where history that we lack begins: events that ours refer to. */
export async function listHistoryEnds(tx: Transaction, roomId: RoomId, limit: number): Promise<readonly EventId[]> {
  const rows = await tx.query(sql<{ event_id: EventId }>`
    select b.event_id from backward_extremities b join events e on e.event_nid = b.referenced_by
    where b.room_id = ${roomId} group by b.event_id order by max(e.depth) desc limit ${limit}`);
  return rows.map((row) => row.event_id);
}

export interface BackfilledEvent extends UnplacedEvent {
  readonly replacesNid: number | null;
}

/** Puts the events, oldest first, before everything that the room has. */
export async function insertBackfilled(
  tx: Transaction,
  { roomId, writerId }: { readonly roomId: RoomId; readonly writerId: number },
  events: readonly BackfilledEvent[],
): Promise<void> {
  if (events.length === 0) return;
  await tx.query(sql`
    insert into events (event_nid, event_id, room_id, type, state_key, sender, depth, origin_server_ts, writer_id,
      position, state_before, state_after, replaces_nid, auth_nids, pdu)
    select event_nid, event_id, ${roomId}, type, state_key, sender, depth, origin_server_ts, ${writerId}::smallint,
      first.position - ${events.length} + place - 1, state_before, state_after, replaces_nid, auth_nids::bigint[], pdu
    from unnest(
      ${bigintArray(events.map(({ nid }) => nid))}::bigint[],
      ${textArray(events.map(({ event }) => event.eventId))}::text[],
      ${textArray(events.map(({ event }) => event.type))}::text[],
      ${textArray(events.map(({ event }) => event.stateKey ?? null))}::text[],
      ${textArray(events.map(({ event }) => event.sender))}::text[],
      ${bigintArray(events.map(({ event }) => storedDepth(event)))}::bigint[],
      ${bigintArray(events.map(({ event }) => event.originServerTs))}::bigint[],
      ${bigintArray(events.map(({ stateBefore }) => stateBefore))}::bigint[],
      ${bigintArray(events.map(({ stateAfter }) => stateAfter))}::bigint[],
      ${bigintArray(events.map(({ replacesNid }) => replacesNid))}::bigint[],
      ${textArray(events.map(({ authNids }) => arrayLiteral(authNids)))}::text[],
      ${textArray(events.map(({ pduText }) => pduText))}::text[]
    ) with ordinality as event (event_nid, event_id, type, state_key, sender, depth, origin_server_ts, state_before,
      state_after, replaces_nid, auth_nids, pdu, place),
    (select least(coalesce(min(position), 0), 0) as position from events where room_id = ${roomId}) as first`);
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
