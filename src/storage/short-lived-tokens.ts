/**
 * Tokens for one purpose and a short time, by hash: login tokens, which are taken once, and OpenID tokens, which tell a
 * service who somebody is. They go with the device that asked for them.
 */
import type { Transaction } from './database.ts';
import type { DeviceKey } from './devices.ts';
import { sql } from './sql.ts';

export interface ShortLivedToken extends DeviceKey {
  readonly tokenHash: string;
  readonly expiresAt: number;
}

export async function insertLoginToken(tx: Transaction, token: ShortLivedToken): Promise<void> {
  await tx.query(sql`
    insert into login_tokens (token_hash, account_id, device_id, expires_at)
    values (${token.tokenHash}, ${token.accountId}, ${token.deviceId}, ${token.expiresAt})`);
}

/** Deletes the token; whose it was, if it could still be used. */
export async function takeLoginToken(tx: Transaction, tokenHash: string, now: number): Promise<number | undefined> {
  const [row] = await tx.query(sql<{ account_id: number; expires_at: number }>`
    delete from login_tokens where token_hash = ${tokenHash} returning account_id, expires_at`);
  return row === undefined || row.expires_at <= now ? undefined : row.account_id;
}

export async function insertOpenIdToken(tx: Transaction, token: ShortLivedToken): Promise<void> {
  await tx.query(sql`
    insert into openid_tokens (token_hash, account_id, device_id, expires_at)
    values (${token.tokenHash}, ${token.accountId}, ${token.deviceId}, ${token.expiresAt})`);
}

/** The localpart of whoever the token stands for. */
export async function loadOpenIdUser(tx: Transaction, tokenHash: string, now: number): Promise<string | undefined> {
  const [row] = await tx.query(sql<{ localpart: string }>`
    select localpart from openid_tokens join accounts using (account_id)
    where token_hash = ${tokenHash} and expires_at > ${now} and not deactivated and not locked`);
  return row?.localpart;
}

export async function deleteExpiredTokens(tx: Transaction, now: number): Promise<void> {
  await Promise.all([
    tx.query(sql`delete from login_tokens where expires_at <= ${now}`),
    tx.query(sql`delete from openid_tokens where expires_at <= ${now}`),
  ]);
}
