/**
 * Presence as it was last set: for those who come back after a restart, and for questions about those who are away.
 */
import type { UserId } from '../protocol/ids.ts';
import type { PresenceState, PresenceStatus } from '../protocol/presence.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql, textArray } from './sql.ts';

export interface PresenceRow extends PresenceStatus {
  readonly userId: UserId;
}

interface Row {
  readonly user_id: UserId;
  readonly presence: PresenceState;
  readonly status_msg: string | null;
  readonly last_active_at: number;
}

function toPresence({ user_id, presence, status_msg, last_active_at }: Row): PresenceRow {
  return { userId: user_id, state: presence, statusMessage: status_msg ?? undefined, lastActiveAt: last_active_at };
}

/** One row per user. */
export async function upsertPresence(tx: Transaction, rows: readonly PresenceRow[]): Promise<void> {
  await tx.query(sql`
    insert into presence (user_id, presence, status_msg, last_active_at)
    select * from unnest(
      ${textArray(rows.map(({ userId }) => userId))}::text[],
      ${textArray(rows.map(({ state }) => state))}::text[],
      ${textArray(rows.map(({ statusMessage }) => statusMessage ?? null))}::text[],
      ${bigintArray(rows.map(({ lastActiveAt }) => lastActiveAt))}::bigint[])
    on conflict (user_id) do update set presence = excluded.presence, status_msg = excluded.status_msg,
      last_active_at = excluded.last_active_at`);
}

export async function loadPresence(tx: Transaction, userId: UserId): Promise<PresenceRow | undefined> {
  const [row] = await tx.query(sql<Row>`
    select user_id, presence, status_msg, last_active_at from presence where user_id = ${userId}`);
  return row === undefined ? undefined : toPresence(row);
}

/** Everybody who was there when the server ended. */
export async function listPresent(tx: Transaction): Promise<readonly PresenceRow[]> {
  const rows = await tx.query(sql<Row>`
    select user_id, presence, status_msg, last_active_at from presence where presence <> 'offline'`);
  return rows.map(toPresence);
}
