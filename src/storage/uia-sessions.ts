/**
 * Sessions of user-interactive authentication: what a client has proved so far, for which request.
 */
import type { Transaction } from './database.ts';
import { sql, textArray } from './sql.ts';

export interface UiaSession {
  readonly sessionHash: string;
  /** Who asks; undefined while registering. */
  readonly accountId: number | undefined;
  readonly deviceId: string | undefined;
  readonly operation: string;
  readonly bodyMac: string | undefined;
  readonly completed: readonly string[];
  readonly registrationToken: string | undefined;
  readonly expiresAt: number;
}

interface SessionRow {
  readonly session_hash: string;
  readonly account_id: number | null;
  readonly device_id: string | null;
  readonly operation: string;
  readonly body_mac: string | null;
  readonly completed: readonly string[];
  readonly registration_token: string | null;
  readonly expires_at: number;
}

/** Inserts the session, or replaces it by what is known now. */
export async function saveUiaSession(tx: Transaction, session: UiaSession): Promise<void> {
  await tx.query(sql`
    insert into uia_sessions
      (session_hash, account_id, device_id, operation, body_mac, completed, registration_token, expires_at)
    values (${session.sessionHash}, ${session.accountId ?? null}, ${session.deviceId ?? null}, ${session.operation},
      ${session.bodyMac ?? null}, ${textArray(session.completed)}::text[], ${session.registrationToken ?? null},
      ${session.expiresAt})
    on conflict (session_hash) do update set body_mac = excluded.body_mac, completed = excluded.completed,
      registration_token = excluded.registration_token`);
}

/** The session if it has not expired, held until the transaction ends: two requests can't both finish it. */
export async function loadUiaSession(
  tx: Transaction,
  sessionHash: string,
  now: number,
): Promise<UiaSession | undefined> {
  const rows = await tx.query(sql<SessionRow>`
    select session_hash, account_id, device_id, operation, body_mac, completed, registration_token, expires_at
    from uia_sessions where session_hash = ${sessionHash} and expires_at > ${now} for update`);
  return rows.map(readSession)[0];
}

export async function deleteUiaSession(tx: Transaction, sessionHash: string): Promise<void> {
  await tx.query(sql`delete from uia_sessions where session_hash = ${sessionHash}`);
}

export async function deleteExpiredUiaSessions(tx: Transaction, now: number): Promise<void> {
  await tx.query(sql`delete from uia_sessions where expires_at <= ${now}`);
}

function readSession(row: SessionRow): UiaSession {
  return {
    sessionHash: row.session_hash,
    accountId: row.account_id ?? undefined,
    deviceId: row.device_id ?? undefined,
    operation: row.operation,
    bodyMac: row.body_mac ?? undefined,
    completed: row.completed,
    registrationToken: row.registration_token ?? undefined,
    expiresAt: row.expires_at,
  };
}
