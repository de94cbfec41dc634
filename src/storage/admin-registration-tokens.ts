/**
 * Registration tokens as administrators keep them. The one that a start without accounts prints is not among them.
 */
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface RegistrationToken {
  readonly token: string;
  readonly uses_allowed: number | null;
  readonly completed: number;
  readonly expires_at: number | null;
  readonly created_at: number;
}

export interface RegistrationTokensWanted {
  /** Creation and token of the last entry of the page before. */
  readonly after: readonly [createdAt: number, token: string] | undefined;
  readonly limit: number;
}

/** The newest first. */
export function listRegistrationTokens(
  tx: Transaction,
  { after, limit }: RegistrationTokensWanted,
): Promise<readonly RegistrationToken[]> {
  const [createdAt = 0, token = ''] = after ?? [];
  return tx.query(sql<RegistrationToken>`
    select token, uses_allowed, completed, expires_at, created_at
    from registration_tokens
    where not is_bootstrap and (${after === undefined}::boolean or created_at < ${createdAt}
      or (created_at = ${createdAt} and token > ${token}))
    order by created_at desc, token limit ${limit}`);
}

export async function loadRegistrationToken(tx: Transaction, token: string): Promise<RegistrationToken | undefined> {
  const [row] = await tx.query(sql<RegistrationToken>`
    select token, uses_allowed, completed, expires_at, created_at
    from registration_tokens where token = ${token} and not is_bootstrap`);
  return row;
}

/** False where there is such a token. */
export async function insertNewToken(tx: Transaction, token: Omit<RegistrationToken, 'completed'>): Promise<boolean> {
  const rows = await tx.query(sql<{ token: string }>`
    insert into registration_tokens (token, uses_allowed, expires_at, created_at)
    values (${token.token}, ${token.uses_allowed}, ${token.expires_at}, ${token.created_at})
    on conflict do nothing returning token`);
  return rows.length > 0;
}

/** Both are set as given. */
export async function updateRegistrationToken(
  tx: Transaction,
  { token, uses_allowed, expires_at }: Pick<RegistrationToken, 'token' | 'uses_allowed' | 'expires_at'>,
): Promise<void> {
  await tx.query(sql`
    update registration_tokens set uses_allowed = ${uses_allowed}, expires_at = ${expires_at}
    where token = ${token} and not is_bootstrap`);
}

export async function deleteRegistrationToken(tx: Transaction, token: string): Promise<boolean> {
  const rows = await tx.query(sql<{ token: string }>`
    delete from registration_tokens where token = ${token} and not is_bootstrap returning token`);
  return rows.length > 0;
}
