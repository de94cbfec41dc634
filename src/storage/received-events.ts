/**
 * Events of other servers beyond those of a room's timeline: outliers, which are known as auth events only, and events
 * that were rejected or soft-failed. None has a position; all are found again, so that nothing is fetched twice.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import { createEventWithId } from '../protocol/event.ts';
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Event, Pdu } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { arrayLiteral, storedDepth } from './pdu-stream.ts';
import { bigintArray, booleanArray, sql, textArray } from './sql.ts';

export interface KnownEvent {
  readonly nid: number;
  /** As it was sent, redacted or not: what the authorization rules judge. */
  readonly event: Event;
  readonly stateBefore: number | null;
  readonly stateAfter: number | null;
  /** The rule by which it was rejected. */
  readonly rejection: string | undefined;
  readonly softFailed: boolean;
  readonly outlier: boolean;
  readonly position: number | null;
  /** Whether a redaction took effect on it: then nobody may be given it as it was sent. */
  readonly isRedacted: boolean;
}

interface KnownRow {
  readonly event_nid: number;
  readonly event_id: EventId;
  readonly room_id: RoomId;
  readonly pdu: string;
  readonly position: number | null;
  readonly state_before: number | null;
  readonly state_after: number | null;
  readonly rejection: string | null;
  readonly soft_failed: boolean;
  readonly outlier: boolean;
  readonly redacted: boolean;
}

function toKnown(row: KnownRow, version: RoomVersion): KnownEvent {
  // Our own text. The room comes from the column: what another room's event says must not be taken for this one's.
  const event = { ...createEventWithId(parseJsonText(row.pdu) as Pdu, version, row.event_id), roomId: row.room_id };
  return {
    nid: row.event_nid,
    event,
    stateBefore: row.state_before,
    stateAfter: row.state_after,
    rejection: row.rejection ?? undefined,
    softFailed: row.soft_failed,
    outlier: row.outlier,
    position: row.position,
    isRedacted: row.redacted,
  };
}

/** Those of the events that are stored, whatever became of them and whichever room they belong to. */
export async function loadKnownEvents(
  tx: Transaction,
  version: RoomVersion,
  eventIds: readonly string[],
): Promise<readonly KnownEvent[]> {
  const rows = await listKnownRows(tx, eventIds);
  return rows.map((row) => toKnown(row, version));
}

async function listKnownRows(tx: Transaction, eventIds: readonly string[]): Promise<readonly KnownRow[]> {
  if (eventIds.length === 0) return [];
  return tx.query(sql<KnownRow>`
    select event_nid, event_id, room_id, pdu, position, state_before, state_after, rejection, soft_failed, outlier,
      redacted_by is not null as redacted
    from events where event_id = any(${textArray(eventIds)}::text[])`);
}

/** Events of a room that are asked about. */
export interface EventsOfRoom {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  readonly eventIds: readonly EventId[];
}

/** The same of several rooms at once, for each in their order. */
export async function loadKnownOfRooms(
  tx: Transaction,
  rooms: readonly EventsOfRoom[],
): Promise<readonly (readonly KnownEvent[])[]> {
  const rows = await listKnownRows(tx, [...new Set(rooms.flatMap(({ eventIds }) => eventIds))]);
  const byId = new Map(rows.map((row) => [row.event_id, row]));
  return rooms.map(({ version, eventIds }) =>
    eventIds.flatMap((eventId) => {
      const row = byId.get(eventId);
      return row === undefined ? [] : [toKnown(row, version)];
    }),
  );
}

/** The events with all that their auth events lead to, as far as it is stored. */
export async function loadAuthChain(
  tx: Transaction,
  version: RoomVersion,
  nids: readonly number[],
): Promise<readonly KnownEvent[]> {
  const rows = await tx.query(sql<KnownRow>`
    with recursive chain (nid) as (
      select unnest(${bigintArray(nids)}::bigint[])
      union
      select unnest(e.auth_nids) from chain c join events e on e.event_nid = c.nid
    )
    select event_nid, event_id, room_id, pdu, position, state_before, state_after, rejection, soft_failed, outlier,
      redacted_by is not null as redacted
    from events where event_nid in (select nid from chain)`);
  return rows.map((row) => toKnown(row, version));
}

/** Those of the candidates that the auth chains of `from` lead to, they themselves included. */
export async function listReachable(
  tx: Transaction,
  from: readonly number[],
  candidates: readonly number[],
): Promise<readonly number[]> {
  const rows = await tx.query(sql<{ nid: number }>`
    with recursive chain (nid) as (
      select unnest(${bigintArray(from)}::bigint[])
      union
      select unnest(e.auth_nids) from chain c join events e on e.event_nid = c.nid
    )
    select nid from chain where nid = any(${bigintArray(candidates)}::bigint[])`);
  return rows.map(({ nid }) => nid);
}

/** Those of the events that hold one of the state keys. */
export async function listEventsOfKeys(
  tx: Transaction,
  version: RoomVersion,
  wanted: {
    readonly nids: readonly number[];
    readonly keys: readonly { readonly type: string; readonly stateKey: string }[];
  },
): Promise<readonly KnownEvent[]> {
  const rows = await tx.query(sql<KnownRow>`
    select e.event_nid, e.event_id, e.room_id, e.pdu, e.position, e.state_before, e.state_after, e.rejection,
      e.soft_failed, e.outlier, e.redacted_by is not null as redacted
    from unnest(${bigintArray(wanted.nids)}::bigint[]) as held (nid)
    join events e on e.event_nid = held.nid
    where (e.type, e.state_key) in (select * from unnest(
      ${textArray(wanted.keys.map(({ type }) => type))}::text[],
      ${textArray(wanted.keys.map(({ stateKey }) => stateKey))}::text[]))`);
  return rows.map((row) => toKnown(row, version));
}

export interface UnplacedEvent {
  readonly nid: number;
  readonly event: Event;
  readonly pduText: string;
  readonly stateBefore: number | null;
  readonly stateAfter: number | null;
  readonly authNids: readonly number[];
  readonly outlier: boolean;
  readonly softFailed: boolean;
  readonly rejection: string | undefined;
}

/** Stores events without a place in the stream; of those that are known already nothing changes. Gives how many were not. */
export async function insertUnplaced(tx: Transaction, events: readonly UnplacedEvent[]): Promise<number> {
  if (events.length === 0) return 0;
  const rows = await tx.query(sql<{ event_nid: number }>`
    insert into events (event_nid, event_id, room_id, type, state_key, sender, depth, origin_server_ts,
      state_before, state_after, outlier, soft_failed, rejection, auth_nids, pdu)
    select event_nid, event_id, room_id, type, state_key, sender, depth, origin_server_ts, state_before, state_after,
      outlier, soft_failed, rejection, auth_nids::bigint[], pdu
    from unnest(
      ${bigintArray(events.map(({ nid }) => nid))}::bigint[],
      ${textArray(events.map(({ event }) => event.eventId))}::text[],
      ${textArray(events.map(({ event }) => event.roomId))}::text[],
      ${textArray(events.map(({ event }) => event.type))}::text[],
      ${textArray(events.map(({ event }) => event.stateKey ?? null))}::text[],
      ${textArray(events.map(({ event }) => event.sender))}::text[],
      ${bigintArray(events.map(({ event }) => storedDepth(event)))}::bigint[],
      ${bigintArray(events.map(({ event }) => event.originServerTs))}::bigint[],
      ${bigintArray(events.map(({ stateBefore }) => stateBefore))}::bigint[],
      ${bigintArray(events.map(({ stateAfter }) => stateAfter))}::bigint[],
      ${booleanArray(events.map(({ outlier }) => outlier))}::boolean[],
      ${booleanArray(events.map(({ softFailed }) => softFailed))}::boolean[],
      ${textArray(events.map(({ rejection }) => rejection ?? null))}::text[],
      ${textArray(events.map(({ authNids }) => arrayLiteral(authNids)))}::text[],
      ${textArray(events.map(({ pduText }) => pduText))}::text[]
    ) as event (event_nid, event_id, room_id, type, state_key, sender, depth, origin_server_ts, state_before,
      state_after, outlier, soft_failed, rejection, auth_nids, pdu)
    on conflict (event_id) do nothing
    returning event_nid`);
  return rows.length;
}

/** An outlier at which the room's state became known: what follows it can be judged. */
export async function updateOutlierState(
  tx: Transaction,
  nid: number,
  { stateBefore, stateAfter }: { readonly stateBefore: number; readonly stateAfter: number },
): Promise<void> {
  await tx.query(sql`
    update events set state_before = ${stateBefore}, state_after = ${stateAfter}
    where event_nid = ${nid} and outlier`);
}

/** Makes way for the row of an outlier that becomes an event of the timeline, or that is judged at its place. */
export async function deleteOutliers(tx: Transaction, nids: readonly number[]): Promise<void> {
  if (nids.length === 0) return;
  await tx.query(sql`
    delete from events where event_nid = any(${bigintArray(nids)}::bigint[]) and outlier and position is null`);
}

/** Those of the events that events of their rooms refer to, and that these lacked; by room. */
export async function listBackwardExtremities(
  tx: Transaction,
  rooms: readonly EventsOfRoom[],
): Promise<ReadonlyMap<RoomId, readonly EventId[]>> {
  const pairs = toPairs(rooms);
  const rows = await tx.query(sql<{ room_id: RoomId; event_id: EventId }>`
    select distinct room_id, event_id from backward_extremities
    where (room_id, event_id) in (
      select * from unnest(${textArray(pairs.roomIds)}::text[], ${textArray(pairs.eventIds)}::text[]))`);
  const byRoom = Map.groupBy(rows, (row) => row.room_id);
  return new Map([...byRoom].map(([roomId, found]) => [roomId, found.map((row) => row.event_id)]));
}

function toPairs(rooms: readonly EventsOfRoom[]) {
  return {
    roomIds: rooms.flatMap(({ roomId, eventIds }) => eventIds.map(() => roomId)),
    eventIds: rooms.flatMap(({ eventIds }) => eventIds),
  };
}

export interface MissingPrev {
  readonly eventId: EventId;
  readonly referencedBy: number;
}

export async function insertBackwardExtremities(
  tx: Transaction,
  roomId: RoomId,
  missing: readonly MissingPrev[],
): Promise<void> {
  if (missing.length === 0) return;
  await tx.query(sql`
    insert into backward_extremities (room_id, event_id, referenced_by)
    select ${roomId}, * from unnest(
      ${textArray(missing.map(({ eventId }) => eventId))}::text[],
      ${bigintArray(missing.map(({ referencedBy }) => referencedBy))}::bigint[])
    on conflict do nothing`);
}

export async function deleteBackwardExtremities(
  tx: Transaction,
  roomId: RoomId,
  eventIds: readonly string[],
): Promise<void> {
  if (eventIds.length === 0) return;
  await tx.query(sql`
    delete from backward_extremities where room_id = ${roomId} and event_id = any(${textArray(eventIds)}::text[])`);
}

/** The redactions of events that came before these, oldest first; for each of the rooms in their order. */
export async function listPendingRedactions(
  tx: Transaction,
  rooms: readonly EventsOfRoom[],
): Promise<readonly (readonly (KnownEvent & { readonly redacts: EventId })[])[]> {
  const pairs = toPairs(rooms);
  const rows = await tx.query(sql<KnownRow & { redacts: EventId; redacted_in: RoomId }>`
    select p.redacts, p.room_id as redacted_in, e.event_nid, e.event_id, e.room_id, e.pdu, e.position, e.state_before, e.state_after, e.rejection,
      e.soft_failed, e.outlier, e.redacted_by is not null as redacted
    from pending_redactions p join events e on e.event_nid = p.redaction_nid
    where (p.room_id, p.redacts) in (
      select * from unnest(${textArray(pairs.roomIds)}::text[], ${textArray(pairs.eventIds)}::text[]))
    order by p.redaction_nid`);
  return rooms.map(({ roomId, version }) =>
    rows.filter((row) => row.redacted_in === roomId).map((row) => ({ ...toKnown(row, version), redacts: row.redacts })),
  );
}

export interface PendingRedaction {
  readonly roomId: RoomId;
  readonly redacts: EventId;
  readonly redactionNid: number;
}

export async function insertPendingRedaction(tx: Transaction, pending: PendingRedaction): Promise<void> {
  await tx.query(sql`
    insert into pending_redactions (room_id, redacts, redaction_nid)
    values (${pending.roomId}, ${pending.redacts}, ${pending.redactionNid}) on conflict do nothing`);
}

export async function deletePendingRedactions(tx: Transaction, roomId: RoomId, redacts: EventId): Promise<void> {
  await tx.query(sql`delete from pending_redactions where room_id = ${roomId} and redacts = ${redacts}`);
}

/** The newest events of a room up to a position, as they are given to other servers; those without a place left out. */
export async function listNewestUpTo(
  tx: Transaction,
  { roomId, version }: { readonly roomId: RoomId; readonly version: RoomVersion },
  { upTo, limit }: { readonly upTo: number; readonly limit: number },
): Promise<readonly KnownEvent[]> {
  const rows = await tx.query(sql<KnownRow>`
    select event_nid, event_id, room_id, pdu, position, state_before, state_after, rejection, soft_failed, outlier,
      redacted_by is not null as redacted
    from events
    where room_id = ${roomId} and position <= ${upTo} and rejection is null and not soft_failed
    order by position desc limit ${limit}`);
  return rows.map((row) => toKnown(row, version));
}
