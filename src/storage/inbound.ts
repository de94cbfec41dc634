/**
 * Transactions of other servers: their PDUs wait here until they were worked on, in the order in which they came; their
 * answers stay for servers that ask again.
 */
import type { RoomId, ServerName } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql, textArray } from './sql.ts';

export interface TransactionKey {
  readonly origin: ServerName;
  readonly txnId: string;
}

export async function loadInboundAnswer(
  tx: Transaction,
  { origin, txnId }: TransactionKey,
): Promise<string | undefined> {
  const [row] = await tx.query(sql<{ answer: string }>`
    select answer from inbound_transactions where origin = ${origin} and txn_id = ${txnId}`);
  return row?.answer;
}

export interface InboundTransaction extends TransactionKey {
  readonly answer: string;
  readonly receivedAt: number;
  readonly pdus: readonly { readonly roomId: string; readonly pdu: string }[];
}

/** Stages the PDUs and keeps the answer: together, or not at all. */
export async function insertInbound(tx: Transaction, inbound: InboundTransaction): Promise<void> {
  const { origin, txnId, answer, receivedAt, pdus } = inbound;
  await Promise.all([
    tx.query(sql`
      insert into inbound_transactions (origin, txn_id, answer, received_at)
      values (${origin}, ${txnId}, ${answer}, ${receivedAt}) on conflict do nothing`),
    tx.query(sql`
      insert into inbound_pdus (room_id, origin, pdu, received_at)
      select room_id, ${origin}, pdu, ${receivedAt} from unnest(
        ${textArray(pdus.map(({ roomId }) => roomId))}::text[],
        ${textArray(pdus.map(({ pdu }) => pdu))}::text[]
      ) with ordinality as staged (room_id, pdu, place)
      order by place`),
  ]);
}

export interface StagedPdu {
  readonly inboundId: number;
  readonly origin: ServerName;
  readonly pdu: string;
}

export interface StagedWanted {
  readonly roomId: RoomId;
  /** Numbers of PDUs that were worked on. */
  readonly except: readonly number[];
  readonly limit: number;
}

interface StagedRow {
  readonly room_id: RoomId;
  readonly inbound_id: number;
  readonly origin: ServerName;
  readonly pdu: string;
}

/** The oldest PDUs that wait for each of the rooms. */
export async function listStaged(
  tx: Transaction,
  wanted: readonly StagedWanted[],
): Promise<ReadonlyMap<RoomId, readonly StagedPdu[]>> {
  const rows = await tx.query(sql<StagedRow>`
    select room.room_id, staged.inbound_id, staged.origin, staged.pdu
    from unnest(
      ${textArray(wanted.map(({ roomId }) => roomId))}::text[],
      ${bigintArray(wanted.map(({ limit }) => limit))}::bigint[]
    ) as room (room_id, most)
    cross join lateral (
      select inbound_id, origin, pdu from inbound_pdus
      where room_id = room.room_id
        and not (inbound_id = any(${bigintArray(wanted.flatMap(({ except }) => except))}::bigint[]))
      order by inbound_id limit room.most
    ) as staged
    order by staged.inbound_id`);
  const byRoom = Map.groupBy(rows, (row) => row.room_id);
  return new Map([...byRoom].map(([roomId, found]) => [roomId, found.map(toStaged)]));
}

function toStaged(row: StagedRow): StagedPdu {
  return { inboundId: row.inbound_id, origin: row.origin, pdu: row.pdu };
}

/** Those that were worked on, of any rooms. */
export async function deleteStaged(tx: Transaction, inboundIds: readonly number[]): Promise<void> {
  await tx.query(sql`delete from inbound_pdus where inbound_id = any(${bigintArray(inboundIds)}::bigint[])`);
}

/** The rooms for which PDUs wait. */
export async function listStagedRooms(tx: Transaction): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`select distinct room_id from inbound_pdus`);
  return rows.map((row) => row.room_id);
}

export async function deleteOldAnswers(tx: Transaction, before: number): Promise<void> {
  await tx.query(sql`delete from inbound_transactions where received_at < ${before}`);
}
