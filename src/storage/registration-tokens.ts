/**
 * Registration tokens. Sessions that have shown a token but not finished registering count as uses too, so that a token
 * for one account can't start two.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
 */
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface NewRegistrationToken {
  readonly token: string;
  readonly usesAllowed: number | undefined;
  readonly expiresAt: number | undefined;
  readonly createdAt: number;
  readonly isBootstrap: boolean;
}

export async function insertRegistrationToken(tx: Transaction, token: NewRegistrationToken): Promise<void> {
  await tx.query(sql`
    insert into registration_tokens (token, uses_allowed, expires_at, created_at, is_bootstrap)
    values (${token.token}, ${token.usesAllowed ?? null}, ${token.expiresAt ?? null}, ${token.createdAt},
      ${token.isBootstrap})`);
}

/** Whether a registration may start with the token; the row is held until the transaction ends. */
export async function lockUsableToken(
  tx: Transaction,
  token: string,
  asked: { readonly now: number; readonly exceptSession: string | undefined },
): Promise<boolean> {
  const locked = await tx.query(sql<{ token: string }>`
    select token from registration_tokens where token = ${token} for update`);
  if (locked.length === 0) return false;
  const rows = await tx.query(sql<{ usable: boolean }>`
    select (t.expires_at is null or t.expires_at > ${asked.now}) and (t.uses_allowed is null or t.uses_allowed >
      t.completed + (select count(*) from uia_sessions s where s.registration_token = t.token
        and s.expires_at > ${asked.now} and s.session_hash is distinct from ${asked.exceptSession ?? null})) as usable
    from registration_tokens t where t.token = ${token}`);
  return rows[0]?.usable === true;
}

/** Counts a finished registration; false when the token has no use left. */
export async function spendRegistrationToken(tx: Transaction, token: string): Promise<boolean> {
  const rows = await tx.query(sql<{ token: string }>`
    update registration_tokens set completed = completed + 1
    where token = ${token} and (uses_allowed is null or completed < uses_allowed)
    returning token`);
  return rows.length > 0;
}

export async function hasBootstrapToken(tx: Transaction): Promise<boolean> {
  const rows = await tx.query(sql<{ found: boolean }>`
    select exists (select from registration_tokens where is_bootstrap) as found`);
  return rows[0]?.found === true;
}

export async function deleteBootstrapTokens(tx: Transaction): Promise<void> {
  await tx.query(sql`delete from registration_tokens where is_bootstrap`);
}
