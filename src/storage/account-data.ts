/**
 * Account data: what clients keep about their user, globally or per room. A stream: each change has a position, and only
 * the newest content of a type is kept.
 */
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql, textArray } from './sql.ts';
import type { Positioned, StreamTable } from './stream-table.ts';

export interface AccountDataRow {
  readonly userId: UserId;
  /** Undefined for global account data. */
  readonly roomId: RoomId | undefined;
  readonly type: string;
  /** The content as JSON. */
  readonly content: string;
}

export const accountDataStream: StreamTable<AccountDataRow> = {
  name: 'account_data',
  async insert(tx, all) {
    const rows = lastPerKey(all);
    await tx.query(sql`
      insert into account_data (user_id, room_id, type, content, writer_id, position)
      select * from unnest(
        ${textArray(rows.map(({ row }) => row.userId))}::text[],
        ${textArray(rows.map(({ row }) => row.roomId ?? ''))}::text[],
        ${textArray(rows.map(({ row }) => row.type))}::text[],
        ${textArray(rows.map(({ row }) => row.content))}::text[],
        ${bigintArray(rows.map(({ writerId }) => writerId))}::bigint[],
        ${bigintArray(rows.map(({ position }) => position))}::bigint[])
      on conflict (user_id, room_id, type) do update set content = excluded.content,
        writer_id = excluded.writer_id, position = excluded.position`);
  },
};

/** One upsert cannot touch a row twice. */
function lastPerKey(rows: readonly Positioned<AccountDataRow>[]): readonly Positioned<AccountDataRow>[] {
  const keyed = rows.map((row): [string, Positioned<AccountDataRow>] => [
    JSON.stringify([row.row.userId, row.row.roomId ?? '', row.row.type]),
    row,
  ]);
  return [...new Map(keyed).values()];
}

/** The content, as JSON, of one type; undefined where there is none. */
export async function loadAccountData(
  tx: Transaction,
  { userId, roomId, type }: Omit<AccountDataRow, 'content'>,
): Promise<JsonObject | undefined> {
  const [row] = await tx.query(sql<{ content: string }>`
    select content from account_data where user_id = ${userId} and room_id = ${roomId ?? ''} and type = ${type}`);
  // Only objects are ever stored.
  return row === undefined ? undefined : (JSON.parse(row.content) as JsonObject);
}

/** What of a user's account data changed in (after, upTo], oldest first; all of it from 0. */
export async function listAccountData(
  tx: Transaction,
  userId: UserId,
  { after, upTo }: { readonly after: number; readonly upTo: number },
): Promise<readonly AccountDataRow[]> {
  const rows = await tx.query(sql<{ room_id: RoomId | ''; type: string; content: string }>`
    select room_id, type, content from account_data
    where user_id = ${userId} and position > ${after} and position <= ${upTo} order by position`);
  return rows.map(({ room_id, type, content }) => ({ userId, roomId: room_id || undefined, type, content }));
}

/** All that a user keeps about one room, the latest change first. */
export async function listRoomAccountData(
  tx: Transaction,
  userId: UserId,
  roomId: RoomId,
): Promise<readonly { readonly type: string; readonly content: JsonObject }[]> {
  const rows = await tx.query(sql<{ type: string; content: string }>`
    select type, content from account_data where user_id = ${userId} and room_id = ${roomId} order by position desc`);
  return rows.map(({ type, content }) => ({ type, content: JSON.parse(content) as JsonObject }));
}
