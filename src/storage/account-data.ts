/**
 * Account data: what clients keep about their user, globally or per room. A stream: each change has a position, and only
 * the newest content of a type is kept.
 *
 * An empty content means that the type was deleted: its row stays, since sessions that were away have to learn of it.
 */
import { parseJsonText } from '../lib/parse-json.ts';
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

/** The content of one type; undefined where there is none. */
export async function loadAccountData(
  tx: Transaction,
  { userId, roomId, type }: Omit<AccountDataRow, 'content'>,
): Promise<JsonObject | undefined> {
  const [row] = await tx.query(sql<{ content: string }>`
    select content from account_data where user_id = ${userId} and room_id = ${roomId ?? ''} and type = ${type}
      and content <> '{}'`);
  // Only objects are ever stored.
  return row === undefined ? undefined : (parseJsonText(row.content) as JsonObject);
}

/** What of a user's account data changed in (after, upTo], oldest first; from 0 all that there is. */
export async function listAccountData(
  tx: Transaction,
  userId: UserId,
  { after, upTo }: { readonly after: number; readonly upTo: number },
): Promise<readonly AccountDataRow[]> {
  const rows = await tx.query(sql<{ room_id: RoomId | ''; type: string; content: string }>`
    select room_id, type, content from account_data
    where user_id = ${userId} and position > ${after} and position <= ${upTo}
      and (content <> '{}' or ${after} > 0)
    order by position`);
  return rows.map(({ room_id, type, content }) => ({ userId, roomId: room_id || undefined, type, content }));
}

/** Users who have global account data of one of these types. */
export async function listUsersWithAccountData(tx: Transaction, types: readonly string[]): Promise<readonly UserId[]> {
  const rows = await tx.query(sql<{ user_id: UserId }>`
    select distinct user_id from account_data where room_id = '' and type = any(${textArray(types)}::text[])`);
  return rows.map(({ user_id }) => user_id);
}

/** The global account data of these types of many users. */
export async function listAccountDataOf(
  tx: Transaction,
  userIds: readonly UserId[],
  types: readonly string[],
): Promise<readonly AccountDataRow[]> {
  const rows = await tx.query(sql<{ user_id: UserId; type: string; content: string }>`
    select user_id, type, content from account_data
    where user_id = any(${textArray(userIds)}::text[]) and room_id = '' and type = any(${textArray(types)}::text[])`);
  return rows.map(({ user_id, type, content }) => ({ userId: user_id, roomId: undefined, type, content }));
}

/** All that a user keeps about one room, the latest change first. */
export async function listRoomAccountData(
  tx: Transaction,
  userId: UserId,
  roomId: RoomId,
): Promise<readonly { readonly type: string; readonly content: JsonObject }[]> {
  const rows = await tx.query(sql<{ type: string; content: string }>`
    select type, content from account_data where user_id = ${userId} and room_id = ${roomId} order by position desc`);
  return rows.map(({ type, content }) => ({ type, content: parseJsonText(content) as JsonObject }));
}
