/**
 * Finding accounts by a part of the localpart or of the display name, and by their flags: the newest first. Walks the
 * accounts backwards and stops when the page is full; a search that finds little reads them all.
 */
import type { AccountSummary } from './admin-accounts.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

/** What is undefined is not asked for. */
export interface UserSearch {
  readonly before: number;
  readonly limit: number;
  /** A part of the localpart or of the display name, A to Z in any case; empty for all. */
  readonly search: string;
  readonly serverName: string;
  readonly isAdmin: boolean | undefined;
  readonly isLocked: boolean | undefined;
  readonly isSuspended: boolean | undefined;
  readonly isDeactivated: boolean | undefined;
  readonly isErased: boolean | undefined;
  readonly isGuest: boolean | undefined;
}

export interface FoundAccount extends AccountSummary {
  readonly displayName: string | undefined;
  readonly devices: number;
  readonly lastSeenAt: number | undefined;
}

interface FoundRow {
  readonly account_id: number;
  readonly localpart: string;
  readonly admin: boolean;
  readonly locked: boolean;
  readonly suspended: boolean;
  readonly deactivated: boolean;
  readonly erased: boolean;
  readonly is_guest: boolean;
  readonly created_at: number;
  readonly display_name: string | null;
  readonly devices: number;
  readonly last_seen_at: number | null;
}

export async function searchAccounts(tx: Transaction, wanted: UserSearch): Promise<readonly FoundAccount[]> {
  const { before, limit, search, serverName } = wanted;
  const rows = await tx.query(sql<FoundRow>`
    select found.*, seen.devices, seen.last_seen_at
    from (
      select a.account_id, a.localpart, a.admin, a.locked, a.suspended, a.deactivated, a.erased, a.is_guest,
        a.created_at, named.display_name
      from accounts a
      -- PostgreSQL cannot read every JSON text that holds such escapes; they stand for control characters only.
      left join lateral (
        select case when p.value like '"%' and strpos(p.value, '\\u') = 0 then p.value::json #>> '{}' end as display_name
        from profiles p
        where p.user_id = '@' || a.localpart || ':' || ${serverName} and p.field = 'displayname') named on true
      where a.account_id < ${before}
        and (${wanted.isAdmin ?? null}::boolean is null or a.admin = ${wanted.isAdmin ?? null})
        and (${wanted.isLocked ?? null}::boolean is null or a.locked = ${wanted.isLocked ?? null})
        and (${wanted.isSuspended ?? null}::boolean is null or a.suspended = ${wanted.isSuspended ?? null})
        and (${wanted.isDeactivated ?? null}::boolean is null or a.deactivated = ${wanted.isDeactivated ?? null})
        and (${wanted.isErased ?? null}::boolean is null or a.erased = ${wanted.isErased ?? null})
        and (${wanted.isGuest ?? null}::boolean is null or a.is_guest = ${wanted.isGuest ?? null})
        and (${search} = '' or strpos(a.localpart, lower(${search})) > 0
          or strpos(lower(coalesce(named.display_name, '')), lower(${search})) > 0)
      order by a.account_id desc limit ${limit}
    ) found
    cross join lateral (
      select count(*) as devices, max(d.last_seen_at) as last_seen_at
      from devices d where d.account_id = found.account_id) seen
    order by found.account_id desc`);
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
    displayName: row.display_name ?? undefined,
    devices: row.devices,
    lastSeenAt: row.last_seen_at ?? undefined,
  }));
}
