/**
 * Runs a homeserver as it runs in earnest: a process of its own, its own PostgreSQL, a scratch data folder and a free
 * port. Made for what only a real process shows: restarts, SIGKILL, benchmarks.
 *
 * HOMESERVER_COMMAND starts another homeserver in its place (it gets `serve --config FILE`), so that a test can be
 * checked against one that is known to be right.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { getProcessStat, getWorkingDirectory, listProcesses, listTree } from './processes.ts';

export interface ServerProcess extends AsyncDisposable {
  readonly url: string;
  readonly directory: string;
  readonly serverName: string;
  /** The server's process; undefined while it is stopped. */
  readonly pid: number | undefined;
  /** Starts the server on the data that it left, and waits until it answers. */
  start(): Promise<void>;
  /** SIGTERM, then the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL to the server and to its PostgreSQL, all at once. */
  kill(): Promise<void>;
}

interface ServerOptions {
  /** Merged over the scratch configuration, key by key at the top level. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Data goes below this folder, and stays; without it a temporary folder is made, and removed at the end. */
  readonly directory?: string;
  readonly port?: number;
}

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
/** Not forever: in some containers nobody waits for orphans. */
const REAP_TIMEOUT_MS = 5_000;

export async function startServer(options: ServerOptions = {}): Promise<ServerProcess> {
  const server = new Server(options, options.port ?? (await findFreePort()));
  try {
    await server.start();
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

/** A TCP port of 127.0.0.1 that nobody listens on. */
export async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  if (typeof address === 'object' && address !== null) return address.port;
  throw new Error('no free port');
}

/** Polls `url` until it answers 200; fails when `child` ends first. */
export async function waitUntilReady(url: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('the server ended while it started');
    const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.status === 200) return;
    await sleep(50);
  }
  throw new Error(`${url} did not answer within ${READY_TIMEOUT_MS} ms`);
}

class Server implements ServerProcess {
  readonly url: string;
  readonly directory: string;
  readonly serverName = 'localhost';
  readonly #isTemporary: boolean;
  #child: ChildProcess | undefined;

  constructor(options: ServerOptions, port: number) {
    this.#isTemporary = options.directory === undefined;
    this.directory = options.directory ?? mkdtempSync(join(tmpdir(), 'hammerhead-'));
    // Started as root, PostgreSQL runs as another user, who has to get through this folder.
    chmodSync(this.directory, 0o755);
    this.url = `http://127.0.0.1:${port}`;
    // JSON is YAML.
    writeFileSync(this.#configPath, JSON.stringify({ ...this.#defaultConfig(port), ...options.config }, null, 2));
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    const [command = process.execPath, ...rest] = process.env['HOMESERVER_COMMAND']?.split(' ') ?? [
      process.execPath,
      join(import.meta.dirname, '../../bin/hammerhead.js'),
    ];
    const log = createWriteStream(this.#logPath, { flags: 'a' });
    await once(log, 'open');
    const child = spawn(command, [...rest, 'serve', '--config', this.#configPath], {
      cwd: this.directory,
      detached: true,
      stdio: ['ignore', log, log],
    });
    log.close();
    this.#child = child;
    process.once('exit', this.#killGroup);
    // The test runner's way to cancel a test; without a listener no exit handler would run.
    if (process.listenerCount('SIGTERM') === 0) process.once('SIGTERM', () => process.exit(1));
    try {
      await waitUntilReady(`${this.url}/_matrix/client/versions`, child);
    } catch (error) {
      throw new Error(`the server did not start; its log ends with:\n${this.#logTail()}`, { cause: error });
    }
  }

  async stop(): Promise<number | null> {
    const child = this.#takeChild();
    if (child === undefined) return null;
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit', { signal: AbortSignal.timeout(STOP_TIMEOUT_MS) });
      child.kill('SIGTERM');
      await exited;
    }
    return child.exitCode;
  }

  async kill(): Promise<void> {
    const child = this.#takeChild();
    if (child?.pid === undefined) return;
    const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
    // Stopped first: what is killed one by one would otherwise see the others die, and tidy up.
    const victims = listTree([child.pid, ...this.#listPostgres()]).map(({ pid }) => pid);
    for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of victims) sendSignal(pid, signal);
    await exited;
    // Orphans stay zombies until init waits for them, and PostgreSQL takes a zombie for a postmaster that still runs.
    const deadline = Date.now() + REAP_TIMEOUT_MS;
    while (victims.some((pid) => getProcessStat(pid) !== undefined) && Date.now() < deadline) await sleep(5);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
    for (const pid of this.#listPostgres()) sendSignal(pid, 'SIGKILL');
    if (this.#isTemporary) rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }

  /** The last resort when the test itself is ended: a detached server would otherwise outlive it. */
  readonly #killGroup = (): void => {
    if (this.#child?.pid !== undefined) sendSignal(-this.#child.pid, 'SIGKILL');
  };

  get #configPath(): string {
    return join(this.directory, 'config.yaml');
  }

  get #logPath(): string {
    return join(this.directory, 'server.log');
  }

  #defaultConfig(port: number) {
    return {
      server_name: this.serverName,
      data_dir: join(this.directory, 'data'),
      listeners: [{ address: '127.0.0.1', port }],
      registration: { enabled: true, requires_token: false },
      rate_limits: { enabled: false },
    };
  }

  #logTail(): string {
    return readFileSync(this.#logPath, 'utf8').slice(-4_000);
  }

  #takeChild(): ChildProcess | undefined {
    const child = this.#child;
    this.#child = undefined;
    process.off('exit', this.#killGroup);
    return child;
  }

  /** PostgreSQL's processes on data in our folder, also those that made themselves independent of the server. */
  #listPostgres(): number[] {
    return listProcesses()
      .filter(({ pid, name }) => name === 'postgres' && getWorkingDirectory(pid)?.startsWith(this.directory))
      .map(({ pid }) => pid);
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // ESRCH: it ended by itself in the meantime.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
