/**
 * How far those who follow the stream of events have come, by name. Whoever goes on after a restart starts here.
 */
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import { getRoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { readEvent } from './events.ts';
import { sql } from './sql.ts';

export interface FollowerPosition {
  readonly name: string;
  readonly writerId: number;
  readonly position: number;
}

/** Undefined for a follower that is new. */
export async function loadFollowerPosition(
  tx: Transaction,
  { name, writerId }: Omit<FollowerPosition, 'position'>,
): Promise<number | undefined> {
  const [row] = await tx.query(sql<{ position: number }>`
    select position from stream_followers where name = ${name} and writer_id = ${writerId}`);
  return row?.position;
}

export async function saveFollowerPosition(tx: Transaction, follower: FollowerPosition): Promise<void> {
  await tx.query(sql`
    insert into stream_followers (name, writer_id, position)
    values (${follower.name}, ${follower.writerId}, ${follower.position})
    on conflict (name, writer_id) do update set position = excluded.position`);
}

export interface FollowedEvent {
  readonly roomId: RoomId;
  readonly position: number;
  readonly pdu: Pdu;
}

export interface FollowedRange {
  /** Events of users of this server only. */
  readonly serverName: string;
  /** Exclusive. */
  readonly after: number;
  /** Inclusive. */
  readonly upTo: number;
  readonly limit: number;
}

/** Accepted events of a server's users in stream order, whatever their rooms. */
export async function listEventsOfServer(
  tx: Transaction,
  { serverName, after, upTo, limit }: FollowedRange,
): Promise<readonly FollowedEvent[]> {
  const rows = await tx.query(sql<{
    room_id: RoomId;
    room_version: string;
    event_id: EventId;
    position: number;
    pdu: string;
    redacted: boolean;
  }>`
    select e.room_id, r.room_version, e.event_id, e.position, e.pdu, e.redacted_by is not null as redacted
    from events e join rooms r using (room_id)
    where e.position > ${after} and e.position <= ${upTo} and e.rejection is null and not e.soft_failed
      and substr(e.sender, strpos(e.sender, ':') + 1) = ${serverName}
    order by e.position limit ${limit}`);
  return rows.flatMap((row) => {
    const version = getRoomVersion(row.room_version);
    if (version === undefined) return [];
    const { pdu } = readEvent(row.pdu, { eventId: row.event_id, version, isRedacted: row.redacted });
    return [{ roomId: row.room_id, position: row.position, pdu }];
  });
}
