/**
 * The stream of PDUs: what the engine decided about each event, written to every table that an event touches. One
 * statement per table for all events of a transaction, whatever their rooms.
 */
import type { EventId, RoomId } from '../protocol/ids.ts';
import { MAX_DEPTH } from '../protocol/pdu-format.ts';
import type { Transaction } from './database.ts';
import { insertRelations } from './event-relations.ts';
import type { ClientTransaction, StoredEvent } from './events.ts';
import { bigintArray, booleanArray, sql, textArray } from './sql.ts';
import type { Positioned, StreamTable } from './stream-table.ts';

export interface PduRow {
  readonly stored: StoredEvent;
  /** The canonical JSON that was hashed and signed. */
  readonly pduText: string;
  readonly replacesNid: number | null;
  /** Set for accepted state events, which become current state. */
  readonly state: StateChange | undefined;
  readonly head: RoomHead;
  readonly transaction: ClientTransaction | undefined;
  /** The event of this room to which this redaction applies. */
  readonly redacts: { readonly nid: number; readonly eventId: EventId } | undefined;
  /** The redaction that came before this event. */
  readonly redactedByNid?: number | undefined;
  /** The auth events, of a state event. */
  readonly authNids?: readonly number[] | undefined;
  /** Whether this server sends the event to the others; where nothing is said, if its sender is of this server. */
  readonly isOutgoing?: boolean | undefined;
}

export interface StateChange {
  readonly snapshot: SnapshotRow;
  /** For `m.room.member`. */
  readonly membership: string | undefined;
}

export interface SnapshotRow {
  readonly snapshotNid: number;
  readonly parentNid: number | null;
  readonly height: number;
  readonly added: readonly number[];
  readonly removed: readonly number[];
}

export interface RoomHead {
  readonly roomId: RoomId;
  readonly forwardExtremities: readonly number[];
  readonly stateSnapshot: number;
  readonly depth: number;
}

type Row = Positioned<PduRow>;

export const pduStream: StreamTable<PduRow> = {
  name: 'pdus',
  insert(tx, rows) {
    const stateRows = rows.filter(({ row }) => row.state !== undefined);
    return Promise.all([
      insertEvents(tx, rows),
      upsertHeads(tx, lastPerRoom(rows)),
      insertTransactions(tx, rows),
      applyRedactions(tx, rows),
      insertRelations(tx, rows),
      insertSnapshotsOf(tx, stateRows),
      upsertCurrentState(tx, lastPerStateKey(stateRows)),
      upsertMemberships(tx, lastPerStateKey(stateRows.filter(({ row }) => row.state?.membership !== undefined))),
    ]);
  },
};

async function insertEvents(tx: Transaction, rows: readonly Row[]): Promise<void> {
  const events = rows.map(({ row }) => row.stored.event);
  await tx.query(sql`
    insert into events (event_nid, event_id, room_id, type, state_key, sender, depth, origin_server_ts,
      writer_id, position, state_before, state_after, replaces_nid, redacted_by, sidelined, after_gap, outgoing,
      auth_nids, pdu)
    select event_nid, event_id, room_id, type, state_key, sender, depth, origin_server_ts, writer_id, position,
      state_before, state_after, replaces_nid, redacted_by, sidelined, after_gap, outgoing, auth_nids::bigint[], pdu
    from unnest(
      ${bigintArray(rows.map(({ row }) => row.stored.nid))}::bigint[],
      ${textArray(events.map(({ eventId }) => eventId))}::text[],
      ${textArray(events.map(({ roomId }) => roomId))}::text[],
      ${textArray(events.map(({ type }) => type))}::text[],
      ${textArray(events.map(({ stateKey }) => stateKey ?? null))}::text[],
      ${textArray(events.map(({ sender }) => sender))}::text[],
      ${bigintArray(events.map(storedDepth))}::bigint[],
      ${bigintArray(events.map(({ originServerTs }) => originServerTs))}::bigint[],
      ${bigintArray(rows.map(({ writerId }) => writerId))}::bigint[],
      ${bigintArray(rows.map(({ position }) => position))}::bigint[],
      ${bigintArray(rows.map(({ row }) => row.stored.stateBefore))}::bigint[],
      ${bigintArray(rows.map(({ row }) => row.stored.stateAfter))}::bigint[],
      ${bigintArray(rows.map(({ row }) => row.replacesNid))}::bigint[],
      ${bigintArray(rows.map(({ row }) => row.redactedByNid ?? null))}::bigint[],
      ${booleanArray(rows.map(({ row }) => row.stored.sidelined === true))}::boolean[],
      ${booleanArray(rows.map(({ row }) => row.stored.afterGap === true))}::boolean[],
      ${booleanArray(rows.map(({ row }) => row.isOutgoing ?? null))}::boolean[],
      ${textArray(rows.map(({ row }) => (row.authNids === undefined ? null : arrayLiteral(row.authNids))))}::text[],
      ${textArray(rows.map(({ row }) => row.pduText))}::text[]
    ) as event (event_nid, event_id, room_id, type, state_key, sender, depth, origin_server_ts, writer_id, position,
      state_before, state_after, replaces_nid, redacted_by, sidelined, after_gap, outgoing, auth_nids, pdu)`);
}

/** Arrays of arrays do not fit `unnest`, so they travel as text and are cast. */
export const arrayLiteral = (nids: readonly number[]): string => `{${nids.join(',')}}`;

/** Events of old room versions may claim a depth that neither our columns nor canonical JSON can hold. */
export const storedDepth = ({ depth }: { readonly depth: number }): number => Math.min(depth, MAX_DEPTH);

async function upsertHeads(tx: Transaction, rows: readonly Row[]): Promise<void> {
  const heads = rows.map(({ row }) => row.head);
  await tx.query(sql`
    insert into room_heads (room_id, forward_extremities, state_snapshot, depth, last_position)
    select room_id, extremities::bigint[], state_snapshot, depth, position from unnest(
      ${textArray(heads.map(({ roomId }) => roomId))}::text[],
      ${textArray(heads.map(({ forwardExtremities }) => arrayLiteral(forwardExtremities)))}::text[],
      ${bigintArray(heads.map(({ stateSnapshot }) => stateSnapshot))}::bigint[],
      ${bigintArray(heads.map(({ depth }) => depth))}::bigint[],
      ${bigintArray(rows.map(({ position }) => position))}::bigint[]
    ) as head (room_id, extremities, state_snapshot, depth, position)
    on conflict (room_id) do update set forward_extremities = excluded.forward_extremities,
      state_snapshot = excluded.state_snapshot, depth = excluded.depth, last_position = excluded.last_position`);
}

async function insertTransactions(tx: Transaction, all: readonly Row[]): Promise<void> {
  const rows = all.flatMap(({ row }) =>
    row.transaction === undefined ? [] : [{ ...row.transaction, event: row.stored.event, nid: row.stored.nid }],
  );
  if (rows.length === 0) return;
  await tx.query(sql`
    insert into transaction_ids (room_id, user_id, device_id, path, txn_id, event_nid, created_at)
    select * from unnest(
      ${textArray(rows.map(({ event }) => event.roomId))}::text[],
      ${textArray(rows.map(({ userId }) => userId))}::text[],
      ${textArray(rows.map(({ deviceId }) => deviceId))}::text[],
      ${textArray(rows.map(({ path }) => path))}::text[],
      ${textArray(rows.map(({ txnId }) => txnId))}::text[],
      ${bigintArray(rows.map(({ nid }) => nid))}::bigint[],
      ${bigintArray(rows.map(({ event }) => event.originServerTs))}::bigint[])`);
}

async function applyRedactions(tx: Transaction, rows: readonly Row[]): Promise<void> {
  const redactions = rows.flatMap(({ row }) =>
    row.redacts === undefined ? [] : [{ ...row.redacts, by: row.stored.nid }],
  );
  if (redactions.length === 0) return;
  await tx.query(sql`
    update events set redacted_by = redaction.by
    from unnest(
      ${bigintArray(redactions.map(({ nid }) => nid))}::bigint[],
      ${bigintArray(redactions.map(({ by }) => by))}::bigint[]
    ) as redaction (nid, by)
    where events.event_nid = redaction.nid and events.redacted_by is null`);
}

async function insertSnapshotsOf(tx: Transaction, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  await insertSnapshots(
    tx,
    rows.flatMap(({ row }) => (row.state === undefined ? [] : [{ ...row.state.snapshot, roomId: row.head.roomId }])),
  );
}

/** Snapshots by themselves: those that state resolution makes are there before an event refers to them. */
export async function insertSnapshots(
  tx: Transaction,
  snapshots: readonly (SnapshotRow & { readonly roomId: RoomId })[],
): Promise<void> {
  await tx.query(sql`
    insert into state_snapshots (snapshot_nid, room_id, parent_nid, height, added, removed)
    select nid, room_id, parent_nid, height, added::bigint[], removed::bigint[] from unnest(
      ${bigintArray(snapshots.map(({ snapshotNid }) => snapshotNid))}::bigint[],
      ${textArray(snapshots.map(({ roomId }) => roomId))}::text[],
      ${bigintArray(snapshots.map(({ parentNid }) => parentNid))}::bigint[],
      ${bigintArray(snapshots.map(({ height }) => height))}::bigint[],
      ${textArray(snapshots.map(({ added }) => arrayLiteral(added)))}::text[],
      ${textArray(snapshots.map(({ removed }) => arrayLiteral(removed)))}::text[]
    ) as snapshot (nid, room_id, parent_nid, height, added, removed)`);
}

async function upsertCurrentState(tx: Transaction, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  const events = rows.map(({ row }) => row.stored.event);
  await tx.query(sql`
    insert into current_state (room_id, type, state_key, event_nid)
    select * from unnest(
      ${textArray(events.map(({ roomId }) => roomId))}::text[],
      ${textArray(events.map(({ type }) => type))}::text[],
      ${textArray(events.map(({ stateKey }) => stateKey ?? ''))}::text[],
      ${bigintArray(rows.map(({ row }) => row.stored.nid))}::bigint[])
    on conflict (room_id, type, state_key) do update set event_nid = excluded.event_nid`);
}

async function upsertMemberships(tx: Transaction, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  const events = rows.map(({ row }) => row.stored.event);
  // What was known of the user while this server was not in the room is over.
  await tx.query(sql`
    with member as (
      select * from unnest(
        ${textArray(events.map(({ roomId }) => roomId))}::text[],
        ${textArray(events.map(({ stateKey }) => stateKey ?? ''))}::text[],
        ${textArray(rows.map(({ row }) => row.state?.membership ?? 'leave'))}::text[],
        ${textArray(events.map(({ sender }) => sender))}::text[],
        ${bigintArray(rows.map(({ row }) => row.stored.nid))}::bigint[],
        ${bigintArray(rows.map(({ position }) => position))}::bigint[]
      ) as member (room_id, user_id, membership, sender, event_nid, position)
    ), outside as (
      delete from outside_memberships o using member m where o.user_id = m.user_id and o.room_id = m.room_id
    )
    insert into memberships (room_id, user_id, membership, sender, event_nid, position)
    select * from member
    on conflict (room_id, user_id) do update set membership = excluded.membership, sender = excluded.sender,
      event_nid = excluded.event_nid, position = excluded.position, forgotten = false`);
}

function lastPerRoom(rows: readonly Row[]): readonly Row[] {
  return [...new Map(rows.map((row) => [row.row.head.roomId, row])).values()];
}

/** One upsert cannot touch a row twice, and only the last of a transaction is current after it. */
function lastPerStateKey(rows: readonly Row[]): readonly Row[] {
  const keyed = rows.map((row): [string, Row] => {
    const { roomId, type, stateKey } = row.row.stored.event;
    return [`${roomId}\u0000${type}\u0000${stateKey}`, row];
  });
  return [...new Map(keyed).values()];
}
