/**
 * Filters that clients keep here, so that they need not send them with every sync. Immutable: another definition has
 * another id.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface StoredFilter {
  readonly userId: UserId;
  readonly filterId: string;
  readonly definition: JsonObject;
  readonly createdAt: number;
}

/** Stores the filter unless the user has it already. */
export async function insertFilter(tx: Transaction, filter: StoredFilter): Promise<void> {
  const { userId, filterId, definition, createdAt } = filter;
  await tx.query(sql`
    insert into filters (user_id, filter_id, definition, created_at)
    values (${userId}, ${filterId}, ${JSON.stringify(definition)}, ${createdAt})
    on conflict do nothing`);
}

export async function loadFilter(tx: Transaction, userId: UserId, filterId: string): Promise<JsonObject | undefined> {
  const [row] = await tx.query(sql<{ definition: string }>`
    select definition from filters where user_id = ${userId} and filter_id = ${filterId}`);
  // Only objects are ever stored.
  return row === undefined ? undefined : (parseJsonText(row.definition) as JsonObject);
}

export async function countFilters(tx: Transaction, userId: UserId): Promise<number> {
  const [row] = await tx.query(sql<{ count: number }>`
    select count(*)::integer as count from filters where user_id = ${userId}`);
  return row?.count ?? 0;
}
