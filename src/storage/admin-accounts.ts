/**
 * Accounts as administrators see them: pages of all, and changes of their flags.
 */
import type { Account } from './accounts.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export type AccountSummary = Omit<Account, 'passwordHash'>;

interface SummaryRow {
  readonly account_id: number;
  readonly localpart: string;
  readonly admin: boolean;
  readonly locked: boolean;
  readonly suspended: boolean;
  readonly deactivated: boolean;
  readonly erased: boolean;
  readonly is_guest: boolean;
  readonly created_at: number;
}

/** The newest first, those before the given account. */
export async function listAccounts(
  tx: Transaction,
  { before, limit }: { readonly before: number; readonly limit: number },
): Promise<readonly AccountSummary[]> {
  const rows = await tx.query(sql<SummaryRow>`
    select account_id, localpart, admin, locked, suspended, deactivated, erased, is_guest, created_at
    from accounts where account_id < ${before} order by account_id desc limit ${limit}`);
  return rows.map((row) => ({
    accountId: row.account_id,
    localpart: row.localpart,
    isAdmin: row.admin,
    isLocked: row.locked,
    isSuspended: row.suspended,
    isDeactivated: row.deactivated,
    isErased: row.erased,
    isGuest: row.is_guest,
    createdAt: row.created_at,
  }));
}

/** What is undefined stays as it is. */
export interface AccountChanges {
  readonly passwordHash?: string | undefined;
  readonly isAdmin?: boolean | undefined;
  readonly isLocked?: boolean | undefined;
  readonly isSuspended?: boolean | undefined;
}

export async function updateAccount(tx: Transaction, accountId: number, changes: AccountChanges): Promise<void> {
  await tx.query(sql`
    update accounts set password_hash = coalesce(${changes.passwordHash ?? null}, password_hash),
      admin = coalesce(${changes.isAdmin ?? null}, admin),
      locked = coalesce(${changes.isLocked ?? null}, locked),
      suspended = coalesce(${changes.isSuspended ?? null}, suspended)
    where account_id = ${accountId}`);
}

export interface DeviceDetails {
  readonly deviceId: string;
  readonly displayName: string | undefined;
  readonly createdAt: number;
  readonly lastSeenAt: number | undefined;
  readonly lastSeenIp: string | undefined;
  readonly lastSeenUserAgent: string | undefined;
}

/** The devices of an account, the one seen last first. */
export async function listDeviceDetails(tx: Transaction, accountId: number): Promise<readonly DeviceDetails[]> {
  const rows = await tx.query(sql<{
    device_id: string;
    display_name: string | null;
    created_at: number;
    last_seen_at: number | null;
    last_seen_ip: string | null;
    last_seen_user_agent: string | null;
  }>`
    select device_id, display_name, created_at, last_seen_at, last_seen_ip, last_seen_user_agent
    from devices where account_id = ${accountId} order by last_seen_at desc nulls last, device_id`);
  return rows.map((row) => ({
    deviceId: row.device_id,
    displayName: row.display_name ?? undefined,
    createdAt: row.created_at,
    lastSeenAt: row.last_seen_at ?? undefined,
    lastSeenIp: row.last_seen_ip ?? undefined,
    lastSeenUserAgent: row.last_seen_user_agent ?? undefined,
  }));
}
