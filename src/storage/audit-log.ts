/**
 * The audit log of the admin API: who asked for what, when, from where, and what came of it. Entries are added and read;
 * the database refuses to change or delete any.
 */
import type { Transaction } from './database.ts';
import { sql, textArray } from './sql.ts';

export interface NewAuditEntry {
  readonly at: number;
  /** Undefined where nobody was authenticated. */
  readonly actor: string | undefined;
  readonly method: string;
  /** As declared. */
  readonly path: string;
  readonly params: readonly string[];
  /** JSON without secrets. */
  readonly body: string | undefined;
  readonly ip: string;
  readonly userAgent: string;
  readonly status: number;
  readonly errcode: string | undefined;
}

export interface AuditEntry extends NewAuditEntry {
  readonly entryId: number;
}

export async function insertAuditEntry(tx: Transaction, entry: NewAuditEntry): Promise<void> {
  await tx.query(sql`
    insert into audit_log (at, actor, method, path, params, body, ip, user_agent, status, errcode)
    values (${entry.at}, ${entry.actor ?? null}, ${entry.method}, ${entry.path}, ${textArray(entry.params)}::text[],
      ${entry.body ?? null}, ${entry.ip}, ${entry.userAgent}, ${entry.status}, ${entry.errcode ?? null})`);
}

interface AuditRow {
  readonly entry_id: number;
  readonly at: number;
  readonly actor: string | null;
  readonly method: string;
  readonly path: string;
  readonly params: readonly string[];
  readonly body: string | null;
  readonly ip: string;
  readonly user_agent: string;
  readonly status: number;
  readonly errcode: string | null;
}

/** The newest first. */
export async function listAuditEntries(
  tx: Transaction,
  { before, limit, actor }: { readonly before: number; readonly limit: number; readonly actor: string | undefined },
): Promise<readonly AuditEntry[]> {
  const rows = await tx.query(sql<AuditRow>`
    select entry_id, at, actor, method, path, params, body, ip, user_agent, status, errcode
    from audit_log
    where entry_id < ${before} and (${actor ?? null}::text is null or actor = ${actor ?? null})
    order by entry_id desc limit ${limit}`);
  return rows.map((row) => ({
    entryId: row.entry_id,
    at: row.at,
    actor: row.actor ?? undefined,
    method: row.method,
    path: row.path,
    params: row.params,
    body: row.body ?? undefined,
    ip: row.ip,
    userAgent: row.user_agent,
    status: row.status,
    errcode: row.errcode ?? undefined,
  }));
}
