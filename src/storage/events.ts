/**
 * Events as they lie in the database: one row each, the PDU's text as it was hashed. Readers get them with what they
 * replaced and what redacted them in the same statement; a redacted event never leaves here with its content.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import { createEventWithId } from '../protocol/event.ts';
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { Event, JsonObject, Pdu } from '../protocol/pdu.ts';
import { redactPdu } from '../protocol/redaction.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { contentTextIn, createLazyEvent, type StoredPdu } from './lazy-event.ts';
import { bigintArray, type Statement, sql, textArray } from './sql.ts';

/** The client request that made an event: it alone sees the transaction id again. */
export interface ClientTransaction {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly path: string;
  readonly txnId: string;
}

export interface StoredEvent {
  readonly nid: number;
  /** Without its content where `redactedBecause` is set. */
  readonly event: Event;
  readonly version: RoomVersion;
  /** State snapshots before and after the event; null for outliers. */
  readonly stateBefore: number | null;
  readonly stateAfter: number | null;
  /** The state event that this one replaced. */
  readonly replaces: ReplacedState | undefined;
  readonly redactedBecause: Event | undefined;
  /** Set for a state event whose place in the stream did not make it current (see state-change-stream.ts). */
  readonly sidelined?: boolean;
  /** Set where events that it follows are missing: what lies before it in the timeline is not what came before it. */
  readonly afterGap?: boolean;
  readonly transaction: Pick<ClientTransaction, 'userId' | 'deviceId' | 'txnId'> | undefined;
  /** Where what was rendered of the event is kept for its next reader; copies of the event share it. */
  readonly rendered?: RenderedSlot;
}

/** Filled by who renders. A slot in the event, since a weak map of all events is what garbage collection would wait for. */
export interface RenderedSlot {
  text?: RenderedText;
  /** The JSON of the content of this very event, where it could be had without parsing: copies have it changed perhaps. */
  readonly source?: { readonly event: Event; readonly contentText: string };
}

/** The JSON of an event that is the same for all its readers, and what it was made from. */
export interface RenderedText extends Pick<StoredEvent, 'event' | 'replaces' | 'redactedBecause'> {
  /** The event without its closing brace, without `room_id` and `unsigned`. */
  readonly head: string;
  readonly room: string;
  /** The members of `unsigned` that every reader gets. */
  readonly unsigned: string;
}

export interface ReplacedState {
  readonly eventId: EventId;
  readonly sender: UserId;
  readonly content: JsonObject;
}

/** An event with its place in the stream. */
export interface TimelineEvent extends StoredEvent {
  readonly position: number;
  /**
   * Set where this place is not where the event was accepted: from here on it is current, since state resolution made it
   * so. Nobody sees it as an event of the timeline, but whoever follows the state does.
   */
  readonly isStateChange?: boolean;
}

interface EventRow extends StoredPdu {
  readonly event_nid: number;
  readonly position: number | null;
  readonly state_before: number | null;
  readonly state_after: number | null;
  readonly replaced_id: EventId | null;
  readonly replaced_pdu: string | null;
  readonly replaced_redacted: boolean | null;
  readonly redaction_id: EventId | null;
  readonly redaction_pdu: string | null;
  readonly txn_user: UserId | null;
  readonly txn_device: string | null;
  readonly txn_id: string | null;
  readonly sidelined: boolean;
  readonly after_gap: boolean;
  readonly is_change?: boolean;
}

export interface TimelineRange {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  /** Both exclusive. */
  readonly after: number;
  readonly before: number;
  readonly limit: number;
  readonly direction: 'forward' | 'backward';
}

/** Accepted events of a room in stream order, oldest first when going forward, newest first when going backward. */
export async function listTimeline(tx: Transaction, range: TimelineRange): Promise<readonly TimelineEvent[]> {
  const rows = await tx.query(range.direction === 'forward' ? timelineForward(range) : timelineBackward(range));
  return rows.map((row) => {
    const event = { ...toStoredEvent(row, range.version), position: row.position ?? 0 };
    return row.is_change === true ? toStateChange(event) : event;
  });
}

/** The event as it stands where state resolution made it current. */
export function toStateChange(event: TimelineEvent): TimelineEvent {
  return {
    ...event,
    stateBefore: null,
    stateAfter: null,
    transaction: undefined,
    sidelined: false,
    afterGap: false,
    isStateChange: true,
  };
}

function timelineForward({ roomId, after, before, limit }: TimelineRange): Statement<EventRow> {
  return sql`
    with found as (
      (select event_nid, position, replaces_nid, false as is_change from events
      where room_id = ${roomId} and position > ${after} and position < ${before}
        and rejection is null and not soft_failed
      order by position limit ${limit})
      union all
      (select event_nid, position, replaces_nid, true from state_changes
      where room_id = ${roomId} and position > ${after} and position < ${before} and event_nid is not null
      order by position limit ${limit})
      order by position limit ${limit}
    )
    select e.event_nid, e.event_id, f.position, f.is_change, e.sidelined, e.after_gap, e.state_before, e.state_after, e.pdu,
      e.room_id, e.type, e.state_key, e.sender, e.depth, e.origin_server_ts,
      p.event_id as replaced_id, p.pdu as replaced_pdu, p.redacted_by is not null as replaced_redacted,
      r.event_id as redaction_id, r.pdu as redaction_pdu,
      t.user_id as txn_user, t.device_id as txn_device, t.txn_id
    from found f join events e using (event_nid)
    left join events p on p.event_nid = f.replaces_nid
    left join events r on r.event_nid = e.redacted_by
    left join transaction_ids t on t.event_nid = e.event_nid
    order by f.position`;
}

function timelineBackward({ roomId, after, before, limit }: TimelineRange): Statement<EventRow> {
  return sql`
    with found as (
      (select event_nid, position, replaces_nid, false as is_change from events
      where room_id = ${roomId} and position > ${after} and position < ${before}
        and rejection is null and not soft_failed
      order by position desc limit ${limit})
      union all
      (select event_nid, position, replaces_nid, true from state_changes
      where room_id = ${roomId} and position > ${after} and position < ${before} and event_nid is not null
      order by position desc limit ${limit})
      order by position desc limit ${limit}
    )
    select e.event_nid, e.event_id, f.position, f.is_change, e.sidelined, e.after_gap, e.state_before, e.state_after, e.pdu,
      e.room_id, e.type, e.state_key, e.sender, e.depth, e.origin_server_ts,
      p.event_id as replaced_id, p.pdu as replaced_pdu, p.redacted_by is not null as replaced_redacted,
      r.event_id as redaction_id, r.pdu as redaction_pdu,
      t.user_id as txn_user, t.device_id as txn_device, t.txn_id
    from found f join events e using (event_nid)
    left join events p on p.event_nid = f.replaces_nid
    left join events r on r.event_nid = e.redacted_by
    left join transaction_ids t on t.event_nid = e.event_nid
    order by f.position desc`;
}

export interface EventsOfRoom {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
}

/** Those of the events that are in this room; accepted, soft-failed and outliers alike, but not rejected ones. */
export async function loadEventsById(
  tx: Transaction,
  room: EventsOfRoom,
  eventIds: readonly string[],
): Promise<readonly TimelineEvent[]> {
  const rows = await tx.query(sql<EventRow>`
    select e.event_nid, e.event_id, e.position, e.sidelined, e.after_gap, e.state_before, e.state_after, e.pdu,
      e.room_id, e.type, e.state_key, e.sender, e.depth, e.origin_server_ts,
      p.event_id as replaced_id, p.pdu as replaced_pdu, p.redacted_by is not null as replaced_redacted,
      r.event_id as redaction_id, r.pdu as redaction_pdu,
      t.user_id as txn_user, t.device_id as txn_device, t.txn_id
    from events e
    left join events p on p.event_nid = e.replaces_nid
    left join events r on r.event_nid = e.redacted_by
    left join transaction_ids t on t.event_nid = e.event_nid
    where e.event_id = any(${textArray(eventIds)}::text[]) and e.room_id = ${room.roomId} and e.rejection is null`);
  return rows.map((row) => ({ ...toStoredEvent(row, room.version), position: row.position ?? 0 }));
}

/** Events by their numeric ids, in no order. */
export async function loadEventsByNid(
  tx: Transaction,
  version: RoomVersion,
  nids: readonly number[],
): Promise<readonly StoredEvent[]> {
  const rows = await tx.query(sql<EventRow>`
    select e.event_nid, e.event_id, e.position, e.sidelined, e.after_gap, e.state_before, e.state_after, e.pdu,
      e.room_id, e.type, e.state_key, e.sender, e.depth, e.origin_server_ts,
      p.event_id as replaced_id, p.pdu as replaced_pdu, p.redacted_by is not null as replaced_redacted,
      r.event_id as redaction_id, r.pdu as redaction_pdu,
      t.user_id as txn_user, t.device_id as txn_device, t.txn_id
    from events e
    left join events p on p.event_nid = e.replaces_nid
    left join events r on r.event_nid = e.redacted_by
    left join transaction_ids t on t.event_nid = e.event_nid
    where e.event_nid = any(${bigintArray(nids)}::bigint[])`);
  return rows.map((row) => toStoredEvent(row, version));
}

function toStoredEvent(row: EventRow, version: RoomVersion): StoredEvent {
  const { redaction_id, redaction_pdu } = row;
  const whole = createLazyEvent(row, version);
  const event = redaction_pdu === null ? whole : redactEvent(whole, version);
  const contentText = redaction_pdu === null ? contentTextIn(row.pdu) : undefined;
  return {
    nid: row.event_nid,
    event,
    version,
    stateBefore: row.state_before,
    stateAfter: row.state_after,
    replaces: readReplaced(row, version),
    redactedBecause:
      redaction_pdu === null || redaction_id === null
        ? undefined
        : readEvent(redaction_pdu, { eventId: redaction_id, version, isRedacted: false }),
    ...(row.sidelined ? { sidelined: true } : {}),
    ...(row.after_gap ? { afterGap: true } : {}),
    transaction:
      row.txn_user === null || row.txn_device === null || row.txn_id === null
        ? undefined
        : { userId: row.txn_user, deviceId: row.txn_device, txnId: row.txn_id },
    rendered: contentText === undefined ? {} : { source: { event, contentText } },
  };
}

function readReplaced(row: EventRow, version: RoomVersion): ReplacedState | undefined {
  const { replaced_id: eventId, replaced_pdu: pdu } = row;
  if (eventId === null || pdu === null) return undefined;
  const { sender, content } = readEvent(pdu, { eventId, version, isRedacted: row.replaced_redacted === true });
  return { eventId, sender, content };
}

interface Reading {
  readonly eventId: EventId;
  readonly version: RoomVersion;
  readonly isRedacted: boolean;
}

/** The event whose PDU we stored: our own text, so it needs no checks. */
export function readEvent(pduText: string, { eventId, version, isRedacted }: Reading): Event {
  const event = createEventWithId(parseJsonText(pduText) as Pdu, version, eventId);
  return isRedacted ? redactEvent(event, version) : event;
}

/** The event without what redaction removes; its ids stay those of the whole. */
export function redactEvent(event: Event, version: RoomVersion): Event {
  const pdu = redactPdu(event.pdu, version);
  return { ...event, content: pdu.content, redacts: undefined, pdu };
}
