/**
 * Receipts: how far each user has read in a room, per receipt type and thread. A stream: each change has a position. A
 * receipt never moves back to an earlier event.
 */
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql, textArray } from './sql.ts';
import type { Positioned, StreamTable } from './stream-table.ts';

export type ReceiptType = 'm.read' | 'm.read.private';

export interface ReceiptRow {
  readonly roomId: RoomId;
  readonly type: ReceiptType;
  readonly userId: UserId;
  /** `main`, a thread root, or undefined for an unthreaded receipt. */
  readonly threadId: string | undefined;
  readonly eventId: EventId;
  readonly eventPosition: number;
  /** Unix milliseconds. */
  readonly ts: number;
}

export const receiptStream: StreamTable<ReceiptRow> = {
  name: 'receipts',
  async insert(tx, all) {
    const rows = furthestPerKey(all);
    await tx.query(sql`
      insert into receipts (room_id, receipt_type, user_id, thread_id, event_id, event_position, ts, writer_id, position)
      select * from unnest(
        ${textArray(rows.map(({ row }) => row.roomId))}::text[],
        ${textArray(rows.map(({ row }) => row.type))}::text[],
        ${textArray(rows.map(({ row }) => row.userId))}::text[],
        ${textArray(rows.map(({ row }) => row.threadId ?? ''))}::text[],
        ${textArray(rows.map(({ row }) => row.eventId))}::text[],
        ${bigintArray(rows.map(({ row }) => row.eventPosition))}::bigint[],
        ${bigintArray(rows.map(({ row }) => row.ts))}::bigint[],
        ${bigintArray(rows.map(({ writerId }) => writerId))}::bigint[],
        ${bigintArray(rows.map(({ position }) => position))}::bigint[])
      on conflict (room_id, receipt_type, user_id, thread_id) do update set event_id = excluded.event_id,
        event_position = excluded.event_position, ts = excluded.ts,
        writer_id = excluded.writer_id, position = excluded.position
      where excluded.event_position > receipts.event_position`);
  },
};

/** One upsert cannot touch a row twice. */
function furthestPerKey(rows: readonly Positioned<ReceiptRow>[]): readonly Positioned<ReceiptRow>[] {
  const furthest = new Map<string, Positioned<ReceiptRow>>();
  for (const row of rows) {
    const key = JSON.stringify([row.row.roomId, row.row.type, row.row.userId, row.row.threadId ?? '']);
    const known = furthest.get(key);
    if (known === undefined || row.row.eventPosition > known.row.eventPosition) furthest.set(key, row);
  }
  return [...furthest.values()];
}

interface Row {
  readonly room_id: RoomId;
  readonly receipt_type: ReceiptType;
  readonly user_id: UserId;
  readonly thread_id: string;
  readonly event_id: EventId;
  readonly event_position: number;
  readonly ts: number;
}

function toReceipt(row: Row): ReceiptRow {
  return {
    roomId: row.room_id,
    type: row.receipt_type,
    userId: row.user_id,
    threadId: row.thread_id || undefined,
    eventId: row.event_id,
    eventPosition: row.event_position,
    ts: row.ts,
  };
}

/** The stream position of the event that a user's receipt points to. */
export async function loadReceiptPosition(
  tx: Transaction,
  { roomId, type, userId, threadId }: Pick<ReceiptRow, 'roomId' | 'type' | 'userId' | 'threadId'>,
): Promise<number | undefined> {
  const [row] = await tx.query(sql<{ event_position: number }>`
    select event_position from receipts
    where room_id = ${roomId} and receipt_type = ${type} and user_id = ${userId} and thread_id = ${threadId ?? ''}`);
  return row?.event_position;
}

export interface ReceiptRange {
  /** Who reads: the only one to see their own private receipts. */
  readonly userId: UserId;
  readonly after: number;
  readonly upTo: number;
}

/** Receipts that changed in the rooms that the user has joined. */
export async function listReceiptsOfJoined(
  tx: Transaction,
  { userId, after, upTo }: ReceiptRange,
): Promise<readonly ReceiptRow[]> {
  const rows = await tx.query(sql<Row>`
    select r.room_id, r.receipt_type, r.user_id, r.thread_id, r.event_id, r.event_position, r.ts
    from memberships m join receipts r on r.room_id = m.room_id
    where m.user_id = ${userId} and m.membership = 'join' and r.position > ${after} and r.position <= ${upTo}
      and (r.receipt_type <> 'm.read.private' or r.user_id = ${userId})
    order by r.position`);
  return rows.map(toReceipt);
}

/** The newest receipts of each room, the reader's own always among them. */
export async function listNewestReceipts(
  tx: Transaction,
  { userId, upTo, roomIds, limit }: Omit<ReceiptRange, 'after'> & { roomIds: readonly RoomId[]; limit: number },
): Promise<readonly ReceiptRow[]> {
  const rows = await tx.query(sql<Row>`
    select r.room_id, r.receipt_type, r.user_id, r.thread_id, r.event_id, r.event_position, r.ts
    from unnest(${textArray(roomIds)}::text[]) as wanted (room_id)
    cross join lateral (
      select * from receipts
      where receipts.room_id = wanted.room_id and position <= ${upTo}
        and (receipt_type <> 'm.read.private' or user_id = ${userId})
      order by (user_id = ${userId}) desc, position desc limit ${limit}
    ) r`);
  return rows.map(toReceipt);
}
