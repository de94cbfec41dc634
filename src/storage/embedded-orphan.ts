/**
 * A PostgreSQL that outlived its server: the server was killed, its child was not. It is stopped before ours starts, so
 * that binaries, settings and log belong to the running server. One that serves a living server is left alone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../lib/logger.ts';
import { withClient } from './connection.ts';
import { findRunning, type RunningPostgres } from './embedded-cluster.ts';
import { EmbeddedPostgresError } from './embedded-user.ts';
import { holdInstanceLock } from './instance-lock.ts';

export interface OrphanOptions {
  readonly connectionUrl: (socketFolder: string) => string;
  readonly logger: Logger;
}

const POLL_MS = 50;
/** A clean stop writes what is in memory; beyond this it is stopped the hard way, which loses nothing either. */
const STOP_TIMEOUT_MS = 15_000;
/** How long a PostgreSQL that is just starting or stopping is waited for. */
const ANSWER_TIMEOUT_MS = 30_000;

/** Rejects with an InstanceRunningError when another server uses it. */
export async function stopOrphan(cluster: string, options: OrphanOptions): Promise<void> {
  let lastFailure: unknown;
  for (let waited = 0; waited < ANSWER_TIMEOUT_MS; waited += POLL_MS) {
    const running = await findRunning(cluster);
    if (running === undefined) return;
    const outcome = await tryStop(cluster, running, options);
    if (outcome.stopped) return;
    lastFailure = outcome.cause;
    await sleep(POLL_MS);
  }
  throw new EmbeddedPostgresError(`a PostgreSQL already runs in ${cluster} and does not answer`, {
    cause: lastFailure,
  });
}

type Outcome = { readonly stopped: true } | { readonly stopped: false; readonly cause: unknown };

/** Holds the instance lock while it stops the orphan, so that of two servers that start at once only one does. */
async function tryStop(cluster: string, running: RunningPostgres, options: OrphanOptions): Promise<Outcome> {
  let locked = false;
  try {
    await withClient(options.connectionUrl(running.socketFolder), async (client) => {
      await holdInstanceLock(client);
      locked = true;
      options.logger.warn({ pid: running.pid }, 'stopping the PostgreSQL that a killed server left behind');
      await stopProcess(cluster, running.pid);
    });
    return { stopped: true };
  } catch (cause) {
    // Before the lock: not answering yet, or just stopping. After it: the connection ended with the process, as asked.
    const isUnavailable = cause instanceof Error && 'code' in cause && UNAVAILABLE.has(String(cause.code));
    if (!locked && !isUnavailable) throw cause;
    return locked && (await findRunning(cluster)) === undefined ? { stopped: true } : { stopped: false, cause };
  }
}

/** No socket, nobody listening, connection reset; starting up or shutting down; shut down while connected. */
const UNAVAILABLE: ReadonlySet<string> = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', '57P03', '57P01']);

async function stopProcess(cluster: string, pid: number): Promise<void> {
  process.kill(pid, 'SIGINT');
  for (let waited = 0; (await findRunning(cluster)) !== undefined; waited += POLL_MS) {
    if (waited === STOP_TIMEOUT_MS) process.kill(pid, 'SIGQUIT');
    await sleep(POLL_MS);
  }
}
