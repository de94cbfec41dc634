/**
 * Events of a room by the time that their senders say they were sent at.
 */
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import type { RelatedEvent } from './event-relations.ts';
import { sql } from './sql.ts';

/** A place in the order of time, of events of the same time in that of the stream. */
export interface EventTime {
  readonly at: number;
  readonly position: number;
}

export interface TimedEvent extends RelatedEvent, EventTime {
  readonly eventId: EventId;
}

export interface TimesWanted extends EventTime {
  readonly roomId: RoomId;
  readonly direction: 'forward' | 'backward';
  readonly limit: number;
}

interface TimedRow {
  readonly event_nid: number;
  readonly event_id: EventId;
  readonly origin_server_ts: number;
  readonly position: number;
}

/** Accepted events after the place, or before it, the nearest first. */
export async function listEventsByTime(
  tx: Transaction,
  { roomId, at, position, direction, limit }: TimesWanted,
): Promise<readonly TimedEvent[]> {
  const rows = await tx.query(
    direction === 'forward'
      ? sql<TimedRow>`
          select event_nid, event_id, origin_server_ts, position from events
          where room_id = ${roomId} and position is not null and (origin_server_ts, position) > (${at}, ${position})
            and rejection is null and not soft_failed
          order by origin_server_ts, position limit ${limit}`
      : sql<TimedRow>`
          select event_nid, event_id, origin_server_ts, position from events
          where room_id = ${roomId} and position is not null and (origin_server_ts, position) < (${at}, ${position})
            and rejection is null and not soft_failed
          order by origin_server_ts desc, position desc limit ${limit}`,
  );
  return rows.map((row) => ({
    nid: row.event_nid,
    eventId: row.event_id,
    at: row.origin_server_ts,
    position: row.position,
  }));
}
