/**
 * PostgreSQL as a child process: in a process group of its own, so that Ctrl-C reaches only the server, which stops it
 * last. When it dies by itself it is started again, with pauses; its log is a bounded file.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, open, stat, truncate } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../lib/logger.ts';
import { withClient } from './connection.ts';
import { EmbeddedPostgresError, type SystemUser } from './embedded-user.ts';

export interface ProcessOptions {
  readonly postgres: string;
  readonly arguments: readonly string[];
  readonly user: SystemUser | undefined;
  readonly logFile: string;
  readonly logger: Logger;
  readonly probeUrl: string;
}

export interface PostgresProcess extends AsyncDisposable {
  readonly pid: number | undefined;
}

const POLL_MS = 20;
/** A crash recovery may take minutes; the operator hears about it in the meantime. */
const PATIENCE_MS = 5_000;
/** A clean stop has this long, within the ten seconds that a service manager grants; then the next start recovers. */
const STOP_TIMEOUT_MS = 6_000;
const RESTART_PAUSE_MS = 500;
const MAX_LOG_BYTES = 10 * 1024 * 1024;
const LOG_CHECK_MS = 60_000;

/** Starts it, and waits until it answers. */
export async function startPostgres(options: ProcessOptions): Promise<PostgresProcess> {
  const supervisor = new Supervisor(options);
  await supervisor.start();
  return supervisor;
}

/** Runs a program to its end; its output becomes the error's text. */
export async function runToEnd(
  program: string,
  options: { readonly arguments: readonly string[]; readonly user: SystemUser | undefined },
): Promise<void> {
  const child = spawn(program, options.arguments, { ...spawnOptions(options.user), stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const collect = (chunk: Buffer): void => {
    output += chunk.toString();
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const [code] = await once(child, 'close');
  if (code !== 0) throw new EmbeddedPostgresError(`${program} failed (${code}): ${output.trim()}`);
}

class Supervisor implements PostgresProcess {
  readonly #options: ProcessOptions;
  #child: ChildProcess | undefined;
  #stopping = false;
  #logCheck: NodeJS.Timeout | undefined;

  constructor(options: ProcessOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    const child = await this.#spawn();
    try {
      await this.#waitUntilReady(child);
    } catch (cause) {
      await stopChild(child);
      throw cause;
    }
    child.once('exit', (code, signal) => void this.#restart({ code, signal }));
    this.#logCheck ??= setInterval(() => void boundLog(this.#options.logFile), LOG_CHECK_MS).unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#logCheck);
    if (this.#child !== undefined) await stopChild(this.#child);
  }

  async #spawn(): Promise<ChildProcess> {
    await boundLog(this.#options.logFile);
    await using log = await open(this.#options.logFile, 'a', 0o600);
    const child = spawn(this.#options.postgres, this.#options.arguments, {
      ...spawnOptions(this.#options.user),
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    child.unref();
    this.#child = child;
    await Promise.race([once(child, 'spawn'), once(child, 'error').then(([cause]) => Promise.reject(cause))]);
    return child;
  }

  async #waitUntilReady(child: ChildProcess): Promise<void> {
    const { probeUrl, logger, logFile } = this.#options;
    for (let waited = POLL_MS; ; waited += POLL_MS) {
      if (hasEnded(child)) throw new EmbeddedPostgresError(`PostgreSQL did not start; its log says why: ${logFile}`);
      const answers = await withClient(probeUrl, () => Promise.resolve()).then(
        () => true,
        () => false, // not listening yet, or still recovering
      );
      if (answers) return;
      if (waited % PATIENCE_MS === 0)
        logger.info({ logFile }, 'PostgreSQL is still starting: recovering after a crash?');
      await sleep(POLL_MS);
    }
  }

  async #restart(how: { code: number | null; signal: string | null }): Promise<void> {
    while (!this.#stopping) {
      this.#options.logger.error({ ...how, logFile: this.#options.logFile }, 'PostgreSQL ended; starting it again');
      await sleep(RESTART_PAUSE_MS);
      if (this.#stopping) return;
      try {
        return await this.start();
      } catch (cause) {
        this.#options.logger.error({ cause }, 'PostgreSQL did not start');
      }
    }
  }
}

function spawnOptions(user: SystemUser | undefined): {
  cwd: string;
  env: Record<string, string>;
  uid?: number;
  gid?: number;
} {
  // A clean environment: PGDATA, PGOPTIONS or a locale of the caller's must not change what runs.
  return {
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    ...(user && { uid: user.uid, gid: user.gid }),
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one. */
async function stopChild(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const ended = once(child, 'exit');
  child.ref();
  child.kill('SIGINT');
  const hardWay = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(hardWay);
}

/** PostgreSQL holds the file open for appending, so it is copied and emptied in place; one predecessor is kept. */
async function boundLog(file: string): Promise<void> {
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size <= MAX_LOG_BYTES) return;
  await copyFile(file, `${file}.1`);
  await truncate(file);
}
