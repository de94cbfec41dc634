/**
 * Accounts: who has one here, and the flags that decide what it may do. Nothing here deletes an account, so that a
 * localpart is never given out twice.
 */
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface Account {
  readonly accountId: number;
  readonly localpart: string;
  readonly passwordHash: string | undefined;
  readonly isAdmin: boolean;
  readonly isLocked: boolean;
  readonly isSuspended: boolean;
  readonly isDeactivated: boolean;
  readonly isErased: boolean;
  readonly isGuest: boolean;
  readonly createdAt: number;
}

export interface NewAccount {
  readonly localpart: string;
  readonly passwordHash: string | undefined;
  readonly isAdmin: boolean;
  readonly isGuest: boolean;
  readonly createdAt: number;
}

interface AccountRow {
  readonly account_id: number;
  readonly localpart: string;
  readonly password_hash: string | null;
  readonly admin: boolean;
  readonly locked: boolean;
  readonly suspended: boolean;
  readonly deactivated: boolean;
  readonly erased: boolean;
  readonly is_guest: boolean;
  readonly created_at: number;
}

/** The new account's id; undefined when the localpart is taken. */
export async function insertAccount(tx: Transaction, account: NewAccount): Promise<number | undefined> {
  const rows = await tx.query(sql<{ account_id: number }>`
    insert into accounts (localpart, password_hash, admin, is_guest, created_at)
    values (${account.localpart}, ${account.passwordHash ?? null}, ${account.isAdmin}, ${account.isGuest},
      ${account.createdAt})
    on conflict (localpart) do nothing
    returning account_id`);
  return rows[0]?.account_id;
}

export async function loadAccount(tx: Transaction, accountId: number): Promise<Account | undefined> {
  const rows = await tx.query(sql<AccountRow>`
    select account_id, localpart, password_hash, admin, locked, suspended, deactivated, erased, is_guest, created_at
    from accounts where account_id = ${accountId}`);
  return rows.map(readAccount)[0];
}

export async function loadAccountByLocalpart(tx: Transaction, localpart: string): Promise<Account | undefined> {
  const rows = await tx.query(sql<AccountRow>`
    select account_id, localpart, password_hash, admin, locked, suspended, deactivated, erased, is_guest, created_at
    from accounts where localpart = ${localpart}`);
  return rows.map(readAccount)[0];
}

/** Whether anybody has an account; guests do not count. */
export async function hasAccounts(tx: Transaction): Promise<boolean> {
  const rows = await tx.query(sql<{ found: boolean }>`
    select exists (select from accounts where not is_guest) as found`);
  return rows[0]?.found === true;
}

/** Until the transaction ends, nobody else decides who is the first. */
export async function lockFirstAccount(tx: Transaction): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(hashtext('first account'))`);
}

export async function updatePasswordHash(tx: Transaction, accountId: number, passwordHash: string): Promise<void> {
  await tx.query(sql`update accounts set password_hash = ${passwordHash} where account_id = ${accountId}`);
}

/** An erased account also loses its password, so nothing of the user is left to compare with. */
export async function deactivateAccount(tx: Transaction, accountId: number, isErased: boolean): Promise<void> {
  await tx.query(sql`
    update accounts set deactivated = true, admin = false, erased = erased or ${isErased},
      password_hash = case when ${isErased} then null else password_hash end
    where account_id = ${accountId}`);
}

function readAccount(row: AccountRow): Account {
  return {
    accountId: row.account_id,
    localpart: row.localpart,
    passwordHash: row.password_hash ?? undefined,
    isAdmin: row.admin,
    isLocked: row.locked,
    isSuspended: row.suspended,
    isDeactivated: row.deactivated,
    isErased: row.erased,
    isGuest: row.is_guest,
    createdAt: row.created_at,
  };
}
