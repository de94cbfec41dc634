/**
 * The stream of events as somebody reads it who was not there: a follower that starts after the server was down.
 */
import type { RoomId } from '../protocol/ids.ts';
import { getRoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { loadEventsByNid, type TimelineEvent } from './events.ts';
import { bigintArray, sql, textArray } from './sql.ts';

export interface StreamRange {
  /** Positions in (after, upTo]. */
  readonly after: number;
  readonly upTo: number;
}

/** Accepted events of all rooms, oldest first. One statement, and one more per room version. */
export async function listStreamEvents(tx: Transaction, range: StreamRange): Promise<readonly TimelineEvent[]> {
  // The rooms that have something new are few, and each has an index over its positions.
  const rows = await tx.query(sql<{ event_nid: number; position: number; room_version: string }>`
    select e.event_nid, e.position, r.room_version
    from room_heads h join rooms r using (room_id)
    cross join lateral (
      select event_nid, position from events
      where events.room_id = h.room_id and events.position > ${range.after} and events.position <= ${range.upTo}
        and rejection is null and not soft_failed
    ) e
    where h.last_position > ${range.after}`);
  const positions = new Map(rows.map(({ event_nid, position }) => [event_nid, position]));
  const events: TimelineEvent[] = [];
  for (const [id, ofVersion] of Map.groupBy(rows, ({ room_version }) => room_version)) {
    const version = getRoomVersion(id);
    if (version === undefined) continue;
    const nids = ofVersion.map(({ event_nid }) => event_nid);
    for (const stored of await loadEventsByNid(tx, version, nids)) {
      events.push({ ...stored, position: positions.get(stored.nid) ?? 0 });
    }
  }
  return events.sort((a, b) => a.position - b.position);
}

/** The first position of the range at which there is an event. */
export async function loadNextStreamPosition(tx: Transaction, range: StreamRange): Promise<number | undefined> {
  const [row] = await tx.query(sql<{ position: number | null }>`
    select min(e.position) as position
    from room_heads h cross join lateral (
      select position from events
      where events.room_id = h.room_id and events.position > ${range.after} and events.position <= ${range.upTo}
      order by position limit 1
    ) e
    where h.last_position > ${range.after}`);
  return row?.position ?? undefined;
}

export interface Redacted {
  /** The redaction. */
  readonly by: number;
  readonly roomId: RoomId;
  readonly position: number;
}

/** Where the events stand that these redactions took effect on. */
export async function listRedacted(
  tx: Transaction,
  redactions: readonly Pick<TimelineEvent, 'nid' | 'event'>[],
): Promise<readonly Redacted[]> {
  const targets = redactions.flatMap(({ event }) => event.redacts ?? []);
  if (targets.length === 0) return [];
  const rows = await tx.query(sql<{ redacted_by: number; room_id: RoomId; position: number }>`
    select redacted_by, room_id, position from events
    where event_id = any(${textArray(targets)}::text[]) and position is not null
      and redacted_by = any(${bigintArray(redactions.map(({ nid }) => nid))}::bigint[])`);
  return rows.map(({ redacted_by, room_id, position }) => ({ by: redacted_by, roomId: room_id, position }));
}
