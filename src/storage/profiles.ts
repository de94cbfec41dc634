/**
 * Profile fields of local users: `displayname`, `avatar_url` and whatever else a user sets, each as JSON text.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { UserId } from '../protocol/ids.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface ProfileField {
  readonly field: string;
  readonly value: JsonValue;
}

export async function loadProfile(tx: Transaction, userId: UserId): Promise<readonly ProfileField[]> {
  const rows = await tx.query(sql<{ field: string; value: string }>`
    select field, value from profiles where user_id = ${userId} order by field`);
  return rows.map(({ field, value }) => ({ field, value: parseJsonText(value) as JsonValue }));
}

export async function saveProfileField(tx: Transaction, userId: UserId, { field, value }: ProfileField): Promise<void> {
  await tx.query(sql`
    insert into profiles (user_id, field, value) values (${userId}, ${field}, ${JSON.stringify(value)})
    on conflict (user_id, field) do update set value = excluded.value`);
}

export async function deleteProfileField(tx: Transaction, userId: UserId, field: string): Promise<void> {
  await tx.query(sql`delete from profiles where user_id = ${userId} and field = ${field}`);
}

export async function deleteProfile(tx: Transaction, userId: UserId): Promise<void> {
  await tx.query(sql`delete from profiles where user_id = ${userId}`);
}

/** Held until the transaction ends: a profile's size is checked against what no other request is changing. */
export async function lockProfile(tx: Transaction, userId: UserId): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(hashtextextended(${userId}, 1))`);
}
