/**
 * The whole database as administrators see it: how much there is of what, and who takes the room. Numbers of rows are the
 * planner's estimates where counting would read a table from end to end.
 */
import type { UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface Statistics {
  readonly accounts: number;
  readonly deactivated_accounts: number;
  readonly devices: number;
  readonly rooms: number;
  readonly events: number;
  readonly open_reports: number;
  readonly database_bytes: number;
}

/** The number of events is the planner's estimate: counting them would read them all. */
export async function loadStatistics(tx: Transaction): Promise<Statistics> {
  const [row] = await tx.query(sql<Statistics>`
    select (select count(*) from accounts) as accounts,
      (select count(*) from accounts where deactivated) as deactivated_accounts,
      (select count(*) from devices) as devices,
      (select count(*) from rooms) as rooms,
      (select greatest(reltuples, 0)::bigint from pg_class where oid = 'events'::regclass) as events,
      (select count(*) from reports where state = 'open') as open_reports,
      pg_database_size(current_database()) as database_bytes`);
  if (row === undefined) throw new Error('a select without from gave no row');
  return row;
}

export interface TableSize {
  readonly table: string;
  /** With its indexes and what is stored beside it. */
  readonly bytes: number;
  readonly rows: number;
}

/** The greatest first. */
export function listTableSizes(tx: Transaction): Promise<readonly TableSize[]> {
  return tx.query(sql<TableSize>`
    select relname::text as table, pg_total_relation_size(oid) as bytes, greatest(reltuples, 0)::bigint as rows
    from pg_class where relkind = 'r' and relnamespace = current_schema()::regnamespace
    order by bytes desc, relname`);
}

export interface UserMedia {
  readonly user_id: UserId;
  readonly files: number;
  readonly bytes: number;
}

export interface UserMediaWanted {
  /** Bytes and user id of the last entry of the page before. */
  readonly after: readonly [bytes: number, userId: string] | undefined;
  readonly limit: number;
}

/** Who uploaded how much, the greatest first: reads an index of all media from end to end, and no row. */
export function listMediaByUser(tx: Transaction, { after, limit }: UserMediaWanted): Promise<readonly UserMedia[]> {
  return tx.query(sql<UserMedia>`
    with used as (
      select user_id, count(*) as files, sum(size)::bigint as bytes from media where user_id is not null group by user_id)
    select user_id, files, bytes from used
    where ${after === undefined}::boolean or bytes < ${after?.[0] ?? 0}::bigint
      or (bytes = ${after?.[0] ?? 0}::bigint and user_id > ${after?.[1] ?? ''})
    order by bytes desc, user_id limit ${limit}`);
}
