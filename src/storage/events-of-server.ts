/**
 * The stream of events as other servers are sent it: what this server's users did, whatever the rooms. What was
 * done by way of a server, such as a join, that server sends. Changes of current state that state resolution made are no
 * events, and nobody is sent them; the events that they go back to are.
 */
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import { getRoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { readEvent } from './events.ts';
import { sql } from './sql.ts';

export interface EventOfServer {
  readonly roomId: RoomId;
  readonly position: number;
  readonly pdu: Pdu;
}

export interface EventsOfServerRange {
  /** Events of users of this server, and those that it is to send on. */
  readonly serverName: string;
  /** Exclusive. */
  readonly after: number;
  /** Inclusive. */
  readonly upTo: number;
  readonly limit: number;
}

/** Accepted events for the other servers in stream order; a state event that is not current is one of them. */
export async function listEventsOfServer(
  tx: Transaction,
  { serverName, after, upTo, limit }: EventsOfServerRange,
): Promise<readonly EventOfServer[]> {
  const rows = await tx.query(sql<{
    room_id: RoomId;
    room_version: string;
    event_id: EventId;
    position: number;
    pdu: string;
    redacted: boolean;
  }>`
    select e.room_id, r.room_version, e.event_id, e.position, e.pdu, e.redacted
    from room_heads h join rooms r using (room_id)
    cross join lateral (
      select room_id, event_id, position, pdu, redacted_by is not null as redacted from events
      where events.room_id = h.room_id and events.position > ${after} and events.position <= ${upTo}
        and rejection is null and not soft_failed and coalesce(outgoing, substr(sender, strpos(sender, ':') + 1) = ${serverName})
    ) e
    where h.last_position > ${after}
    order by e.position limit ${limit}`);
  return rows.flatMap((row) => {
    const version = getRoomVersion(row.room_version);
    if (version === undefined) return [];
    const { pdu } = readEvent(row.pdu, { eventId: row.event_id, version, isRedacted: row.redacted });
    return [{ roomId: row.room_id, position: row.position, pdu }];
  });
}
