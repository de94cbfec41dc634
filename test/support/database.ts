/**
 * Real PostgreSQL for tests: one server for a whole run (tools/run-tests.ts starts it and says where by
 * HAMMERHEAD_TEST_POSTGRES), or one started on demand when a file runs alone. The migrated schema is made once as a
 * template; each call clones it, so that tests share nothing.
 */
import { hash, randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../src/lib/logger.ts';
import { withClient } from '../../src/storage/connection.ts';
import { startEmbeddedPostgres } from '../../src/storage/embedded.ts';
import { migrate, readMigrations } from '../../src/storage/migrate.ts';
import { createPool, type Pool } from '../../src/storage/pool.ts';
import { getProcessStat } from './processes.ts';

export interface TestDatabase extends AsyncDisposable {
  /** A pool on the test's own database. */
  readonly database: Pool;
  /** The URL that `createPipeline({ connection })` takes. */
  readonly connection: string;
  /** Closes the pool and drops the database. */
  drop(): Promise<void>;
}

export interface TestPostgres extends AsyncDisposable {
  readonly url: string;
}

const ADDRESS_VARIABLE = 'HAMMERHEAD_TEST_POSTGRES';
/** Two test processes with some pools each. */
const MAX_CONNECTIONS = 300;
const TEMPLATE_LOCK = 0x74657374;

/** A migrated database of the test's own; without `migrated` an empty one. */
export async function createTestDatabase(options: { migrated?: boolean } = {}): Promise<TestDatabase> {
  const server = await sharedServer();
  const template = options.migrated === false ? 'template0' : await ensureTemplate(server);
  const name = `test_${randomBytes(8).toString('hex')}`;
  await withClient(server, (client) => client.query(`create database ${name} template ${template} strategy file_copy`));
  const connection = withDatabase(server, name);
  const database = createPool({ connection });
  let dropped: Promise<void> | undefined;
  const drop = async (): Promise<void> => {
    await database[Symbol.asyncDispose]();
    await withClient(server, (client) => client.query(`drop database if exists ${name} with (force)`));
  };
  const dropOnce = (): Promise<void> => {
    dropped ??= drop();
    return dropped;
  };
  return { database, connection, drop: dropOnce, [Symbol.asyncDispose]: dropOnce };
}

/** A scratch PostgreSQL that forgets everything when it is disposed of; it trades durability for speed. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'hammerhead-test-'));
  // Root's PostgreSQL runs as another user, which must pass.
  await chmod(folder, 0o711);
  const server = await startEmbeddedPostgres({
    dataDir: folder,
    logger: silentLogger,
    durable: false,
    maxConnections: MAX_CONNECTIONS,
  });
  // However this process ends, nothing of it stays: `exit` handlers can't wait, so PostgreSQL is stopped the hard way.
  const cleanUp = (): void => {
    if (server.pid !== undefined) killAndWait(server.pid);
    removeFolder(folder);
  };
  process.once('exit', cleanUp);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  return {
    url: server.url,
    async [Symbol.asyncDispose]() {
      process.off('exit', cleanUp);
      await server[Symbol.asyncDispose]();
      removeFolder(folder);
    },
  };
}

const KILL_POLL_MS = 5;
const KILL_TIMEOUT_MS = 5_000;

/** Blocks until the process has ended: what still ran would write into the folder while it is removed. */
function killAndWait(pid: number): void {
  process.kill(pid, 'SIGQUIT');
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let waited = 0; waited < KILL_TIMEOUT_MS; waited += KILL_POLL_MS) {
    const stat = getProcessStat(pid);
    if (stat === undefined || stat.isZombie) return;
    Atomics.wait(cell, 0, 0, KILL_POLL_MS);
  }
}

function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}

let started: Promise<TestPostgres> | undefined;

async function sharedServer(): Promise<string> {
  const given = process.env[ADDRESS_VARIABLE];
  if (given !== undefined) return given;
  started ??= startTestPostgres();
  return (await started).url;
}

/** Made under a lock: the first of the run's processes migrates, the others find it done. */
async function ensureTemplate(server: string): Promise<string> {
  const migrations = await readMigrations();
  const name = `template_${hash('sha256', migrations.map(({ checksum }) => checksum).join()).slice(0, 16)}`;
  await withClient(server, async (client) => {
    await client.query('select pg_advisory_lock($1)', [TEMPLATE_LOCK]);
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name]);
    if (rowCount !== 0) return;
    const unfinished = `${name}_unfinished`;
    await client.query(`drop database if exists ${unfinished} with (force)`);
    await client.query(`create database ${unfinished}`);
    await migrate(withDatabase(server, unfinished));
    await client.query(`alter database ${unfinished} rename to ${name}`);
  });
  return name;
}

function withDatabase(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}
