/**
 * Access and refresh tokens, by hash. A refresh token and what it was exchanged for live side by side until the new
 * tokens are used, since the answer that carries them may get lost.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
 */
import type { Transaction } from './database.ts';
import type { DeviceKey } from './devices.ts';
import { sql } from './sql.ts';

export interface NewToken extends DeviceKey {
  readonly tokenHash: string;
  readonly createdAt: number;
  /** The hash of the refresh token that this one takes the place of. */
  readonly replaces: string | undefined;
}

export interface StoredToken extends DeviceKey {
  readonly localpart: string;
  readonly isAdmin: boolean;
  readonly isLocked: boolean;
  readonly isSuspended: boolean;
  readonly isDeactivated: boolean;
  readonly isGuest: boolean;
  readonly expiresAt: number | undefined;
  readonly replaces: string | undefined;
}

interface TokenRow {
  readonly account_id: number;
  readonly device_id: string;
  readonly localpart: string;
  readonly admin: boolean;
  readonly locked: boolean;
  readonly suspended: boolean;
  readonly deactivated: boolean;
  readonly is_guest: boolean;
  readonly expires_at: number | null;
  readonly replaces: string | null;
}

export async function insertAccessToken(
  tx: Transaction,
  token: NewToken & { readonly expiresAt: number | undefined },
): Promise<void> {
  await tx.query(sql`
    insert into access_tokens (token_hash, account_id, device_id, created_at, expires_at, replaces)
    values (${token.tokenHash}, ${token.accountId}, ${token.deviceId}, ${token.createdAt}, ${token.expiresAt ?? null},
      ${token.replaces ?? null})`);
}

export async function insertRefreshToken(
  tx: Transaction,
  token: NewToken & { readonly familyHash: string },
): Promise<void> {
  await tx.query(sql`
    insert into refresh_tokens (token_hash, account_id, device_id, created_at, replaces, family_hash)
    values (${token.tokenHash}, ${token.accountId}, ${token.deviceId}, ${token.createdAt}, ${token.replaces ?? null},
      ${token.familyHash})`);
}

/** The device whose refresh tokens are of the family, and when the newest of them was made. */
export async function loadTokenFamily(
  tx: Transaction,
  familyHash: string,
): Promise<(DeviceKey & { readonly newestAt: number }) | undefined> {
  const [row] = await tx.query(sql<{ account_id: number; device_id: string; newest_at: number }>`
    select account_id, device_id, max(created_at) as newest_at from refresh_tokens
    where family_hash = ${familyHash} group by account_id, device_id`);
  return row && { accountId: row.account_id, deviceId: row.device_id, newestAt: row.newest_at };
}

export async function loadAccessToken(tx: Transaction, tokenHash: string): Promise<StoredToken | undefined> {
  const rows = await tx.query(sql<TokenRow>`
    select account_id, device_id, localpart, admin, locked, suspended, deactivated, is_guest, expires_at, replaces
    from access_tokens join accounts using (account_id) where token_hash = ${tokenHash}`);
  return rows.map(readToken)[0];
}

/** Held until the transaction ends, so that a refresh token is exchanged once at a time. */
export async function loadRefreshToken(tx: Transaction, tokenHash: string): Promise<StoredToken | undefined> {
  const rows = await tx.query(sql<TokenRow>`
    select account_id, device_id, localpart, admin, locked, suspended, deactivated, is_guest, null as expires_at, replaces
    from refresh_tokens r join accounts using (account_id) where token_hash = ${tokenHash} for update of r`);
  return rows.map(readToken)[0];
}

/** Deletes every token of a device: whoever logs in on it anew makes the old ones invalid. */
export async function deleteDeviceTokens(tx: Transaction, { accountId, deviceId }: DeviceKey): Promise<void> {
  await Promise.all([
    tx.query(sql`delete from access_tokens where account_id = ${accountId} and device_id = ${deviceId}`),
    tx.query(sql`delete from refresh_tokens where account_id = ${accountId} and device_id = ${deviceId}`),
  ]);
}

/** Deletes what a refresh token was exchanged for, where none of it was ever used. */
export async function deleteUnusedSuccessors(tx: Transaction, refreshHash: string): Promise<void> {
  await Promise.all([
    tx.query(sql`delete from access_tokens where replaces = ${refreshHash}`),
    tx.query(sql`delete from refresh_tokens where replaces = ${refreshHash}`),
  ]);
}

/** The tokens that replaced `refreshHash` are in use: it, and the device's older access tokens, are revoked. */
export async function revokeReplaced(tx: Transaction, device: DeviceKey, refreshHash: string): Promise<void> {
  const { accountId, deviceId } = device;
  await Promise.all([
    tx.query(sql`
      delete from access_tokens where account_id = ${accountId} and device_id = ${deviceId} and replaces is null`),
    tx.query(
      sql`update access_tokens set replaces = null where account_id = ${accountId} and replaces = ${refreshHash}`,
    ),
    tx.query(sql`delete from refresh_tokens where token_hash = ${refreshHash}`),
    tx.query(
      sql`update refresh_tokens set replaces = null where account_id = ${accountId} and replaces = ${refreshHash}`,
    ),
  ]);
}

function readToken(row: TokenRow): StoredToken {
  return {
    accountId: row.account_id,
    deviceId: row.device_id,
    localpart: row.localpart,
    isAdmin: row.admin,
    isLocked: row.locked,
    isSuspended: row.suspended,
    isDeactivated: row.deactivated,
    isGuest: row.is_guest,
    expiresAt: row.expires_at ?? undefined,
    replaces: row.replaces ?? undefined,
  };
}
