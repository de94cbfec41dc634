/**
 * What other servers are still owed. The sender writes here only what is left over: servers that took everything leave
 * no trace, and those that are away cost one row, however much happens meanwhile.
 */
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import { getRoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { readEvent } from './events.ts';
import { bigintArray, sql, textArray } from './sql.ts';

export interface DestinationRow {
  readonly serverName: ServerName;
  /** The first position that was not sent; undefined where nothing is owed. */
  readonly pendingFrom: number | undefined;
  readonly failures: number;
  /** Unix milliseconds, all of them. */
  readonly failingSince: number | undefined;
  readonly retryAt: number | undefined;
  readonly lastError: string | undefined;
  readonly lastSuccessAt: number | undefined;
}

interface Row {
  readonly server_name: ServerName;
  readonly pending_from: number | null;
  readonly failures: number;
  readonly failing_since: number | null;
  readonly retry_at: number | null;
  readonly last_error: string | null;
  readonly last_success_at: number | null;
}

export async function saveDestinations(tx: Transaction, rows: readonly DestinationRow[]): Promise<void> {
  await tx.query(sql`
    insert into destinations
      (server_name, pending_from, failures, failing_since, retry_at, last_error, last_success_at)
    select * from unnest(
      ${textArray(rows.map(({ serverName }) => serverName))}::text[],
      ${bigintArray(rows.map(({ pendingFrom }) => pendingFrom ?? null))}::bigint[],
      ${bigintArray(rows.map(({ failures }) => failures))}::bigint[],
      ${bigintArray(rows.map(({ failingSince }) => failingSince ?? null))}::bigint[],
      ${bigintArray(rows.map(({ retryAt }) => retryAt ?? null))}::bigint[],
      ${textArray(rows.map(({ lastError }) => lastError ?? null))}::text[],
      ${bigintArray(rows.map(({ lastSuccessAt }) => lastSuccessAt ?? null))}::bigint[])
    on conflict (server_name) do update set pending_from = excluded.pending_from, failures = excluded.failures,
      failing_since = excluded.failing_since, retry_at = excluded.retry_at, last_error = excluded.last_error,
      last_success_at = coalesce(excluded.last_success_at, destinations.last_success_at)`);
}

/** All that are owed something, or did not answer the last time. */
export async function listUnsettledDestinations(tx: Transaction): Promise<readonly DestinationRow[]> {
  const rows = await tx.query(sql<Row>`
    select server_name, pending_from, failures, failing_since, retry_at, last_error, last_success_at
    from destinations where pending_from is not null or failures > 0`);
  return rows.map(toDestination);
}

export interface DestinationPage {
  /** The last name of the page before; empty for the first. */
  readonly after: string;
  readonly limit: number;
  readonly onlyFailing: boolean;
}

export async function listDestinations(
  tx: Transaction,
  { after, limit, onlyFailing }: DestinationPage,
): Promise<readonly DestinationRow[]> {
  const rows = await tx.query(sql<Row>`
    select server_name, pending_from, failures, failing_since, retry_at, last_error, last_success_at
    from destinations where server_name > ${after} and (failures > 0 or not ${onlyFailing})
    order by server_name limit ${limit}`);
  return rows.map(toDestination);
}

function toDestination(row: Row): DestinationRow {
  return {
    serverName: row.server_name,
    pendingFrom: row.pending_from ?? undefined,
    failures: row.failures,
    failingSince: row.failing_since ?? undefined,
    retryAt: row.retry_at ?? undefined,
    lastError: row.last_error ?? undefined,
    lastSuccessAt: row.last_success_at ?? undefined,
  };
}

/** Where an event lies; the newest of a room that was to be sent, or one that is owed to a server. */
export interface EventPlace {
  readonly roomId: RoomId;
  readonly position: number;
}

export async function saveFederatedRooms(tx: Transaction, rooms: readonly EventPlace[]): Promise<void> {
  await tx.query(sql`
    insert into federated_rooms (room_id, position)
    select * from unnest(
      ${textArray(rooms.map(({ roomId }) => roomId))}::text[],
      ${bigintArray(rooms.map(({ position }) => position))}::bigint[])
    on conflict (room_id) do update set position = greatest(federated_rooms.position, excluded.position)`);
}

export interface OwedEvent extends EventPlace {
  readonly serverName: ServerName;
}

export async function insertOwedEvents(tx: Transaction, events: readonly OwedEvent[]): Promise<void> {
  await tx.query(sql`
    insert into owed_events (server_name, room_id, position)
    select * from unnest(
      ${textArray(events.map(({ serverName }) => serverName))}::text[],
      ${textArray(events.map(({ roomId }) => roomId))}::text[],
      ${bigintArray(events.map(({ position }) => position))}::bigint[])
    on conflict do nothing`);
}

/** Forgets what was owed to each server before its position. */
export async function deleteOwedEvents(
  tx: Transaction,
  sent: readonly { readonly serverName: ServerName; readonly before: number }[],
): Promise<void> {
  await tx.query(sql`
    delete from owed_events o
    using unnest(
      ${textArray(sent.map(({ serverName }) => serverName))}::text[],
      ${bigintArray(sent.map(({ before }) => before))}::bigint[]
    ) as s (server_name, before)
    where o.server_name = s.server_name and o.position < s.before`);
}

export interface SendableEvent extends EventPlace {
  readonly pdu: Pdu;
  /** Whether its server is not in the room. */
  readonly isOwed: boolean;
}

export interface CatchUpRange {
  readonly serverName: ServerName;
  /** Both inclusive. */
  readonly from: number;
  readonly upTo: number;
  readonly limit: number;
}

/**
 * What a server that was away gets: the newest event of each room that it is in, what else is owed to it, and how our
 * users left rooms that are deleted, in the order of the stream. Only events since a user of it came into the room, so
 * that nobody gets what was said before.
 */
export async function listCatchUpEvents(
  tx: Transaction,
  { serverName, from, upTo, limit }: CatchUpRange,
): Promise<readonly SendableEvent[]> {
  const rows = await tx.query(sql<SendableRow>`
    with places as (
      select f.room_id, f.position, false as is_owed
      from (
        select m.room_id, min(m.position) as since from memberships m
        where substr(m.user_id, strpos(m.user_id, ':') + 1) = ${serverName} and m.membership = 'join'
        group by m.room_id
      ) present
      join federated_rooms f on f.room_id = present.room_id and f.position > present.since
      where f.position between ${from} and ${upTo}
      union
      select room_id, position, true from owed_events
      where server_name = ${serverName} and position between ${from} and ${upTo}
      order by position limit ${limit}
    )
    select e.room_id, r.room_version, e.event_id, e.position, e.pdu, e.redacted_by is not null as redacted, p.is_owed
    from places p
    join events e on e.room_id = p.room_id and e.position = p.position
    join rooms r on r.room_id = e.room_id
    union all
    select e.room_id, e.room_version, e.event_id, e.position, e.pdu, false, true
    from parting_servers s join parting_events e on e.room_id = s.room_id
    where s.server_name = ${serverName} and e.position between ${from} and ${upTo}
    order by position limit ${limit}`);
  return rows.flatMap(toSendable);
}

interface SendableRow {
  readonly room_id: RoomId;
  readonly room_version: string;
  readonly event_id: EventId;
  readonly position: number;
  readonly pdu: string;
  readonly redacted: boolean;
  readonly is_owed: boolean;
}

function toSendable(row: SendableRow): readonly SendableEvent[] {
  const version = getRoomVersion(row.room_version);
  if (version === undefined) return [];
  const { pdu } = readEvent(row.pdu, { eventId: row.event_id, version, isRedacted: row.redacted });
  return [{ roomId: row.room_id, position: row.position, pdu, isOwed: row.is_owed }];
}
