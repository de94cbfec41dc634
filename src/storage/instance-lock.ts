/**
 * One server per database. The lock is a session-level advisory lock on the connection that the committer writes over,
 * so that it lasts exactly as long as the ability to commit: no lease to renew, and no stale lock after a crash.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { OperatorError } from '../lib/operator-error.ts';

/** The advisory locks' first key, "Hamm": keeps clear of other users of the same database. */
const LOCK_CLASS = 0x48616d6d;
const INSTANCE_LOCK = 1;
const MIGRATION_LOCK = 2;

/** A killed server's connection ends within milliseconds; one that is still there after this belongs to a live server. */
const GRACE_MS = 3_000;
const RETRY_MS = 50;

export class InstanceRunningError extends OperatorError {}

export interface LockOptions {
  /** Our own earlier connection: when it lingers with the lock, it is ended. */
  readonly previousBackend?: number | undefined;
  /** Milliseconds to wait for a killed server's connection to end. */
  readonly grace?: number | undefined;
}

/** Takes the lock for this connection and returns its backend's process id. */
export async function holdInstanceLock(client: pg.Client, options: LockOptions = {}): Promise<number> {
  const { previousBackend, grace = GRACE_MS } = options;
  // A vanished server's host must not hold the lock for the two hours that TCP takes by default.
  await client.query('set tcp_keepalives_idle = 10');
  await client.query('set tcp_keepalives_interval = 5');
  await client.query('set tcp_keepalives_count = 3');
  for (let waited = 0; ; waited += RETRY_MS) {
    const { rows } = await client.query<{ held: boolean; pid: number }>(
      'select pg_try_advisory_lock($1, $2) as held, pg_backend_pid() as pid',
      [LOCK_CLASS, INSTANCE_LOCK],
    );
    if (rows[0]?.held === true) return rows[0].pid;
    const holder = await loadHolder(client);
    if (holder !== undefined && holder.pid === previousBackend) {
      await client.query('select pg_terminate_backend($1)', [holder.pid]);
    } else if (holder !== undefined && waited >= grace) {
      throw new InstanceRunningError(describe(holder));
    }
    await sleep(RETRY_MS);
  }
}

/** Runs `work` while no other process migrates the same database; waits for its turn. */
export async function withMigrationLock<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query('select pg_advisory_lock($1, $2)', [LOCK_CLASS, MIGRATION_LOCK]);
  try {
    return await work();
  } finally {
    await client.query('select pg_advisory_unlock($1, $2)', [LOCK_CLASS, MIGRATION_LOCK]);
  }
}

interface Holder {
  readonly pid: number;
  readonly name: string | null;
  readonly address: string | null;
}

async function loadHolder(client: pg.Client): Promise<Holder | undefined> {
  const { rows } = await client.query<Holder>(
    `select l.pid, a.application_name as name, host(a.client_addr) as address
     from pg_locks l left join pg_stat_activity a on a.pid = l.pid
     where l.locktype = 'advisory' and l.granted and l.classid = $1 and l.objid = $2
       and l.database = (select oid from pg_database where datname = current_database())`,
    [LOCK_CLASS, INSTANCE_LOCK],
  );
  return rows[0];
}

function describe({ pid, name, address }: Holder): string {
  const who = `${name ?? 'unknown'}${address === null ? '' : ` at ${address}`}`;
  return (
    `another server already runs on this database (${who}, PostgreSQL backend ${pid}). Stop it first; ` +
    `if it is certainly dead, end its connection with: select pg_terminate_backend(${pid})`
  );
}
