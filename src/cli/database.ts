/**
 * The commands about the database, for the server's own PostgreSQL as for yours.
 */
import { join } from 'node:path';
import type { Config } from '../config/load.ts';
import { createLogger, type Logger } from '../lib/logger.ts';
import { OperatorError } from '../lib/operator-error.ts';
import { withClient } from '../storage/connection.ts';
import { connectionUrl, findEmbeddedUrl, startEmbeddedPostgres } from '../storage/embedded.ts';
import { holdInstanceLock } from '../storage/instance-lock.ts';
import { loadMigrationStatus } from '../storage/migrate.ts';
import { checkServer, openDatabase } from '../storage/open-database.ts';
import { loadExisting } from './config.ts';

export async function printDatabaseUrl(configPath: string): Promise<void> {
  const config = loadExisting(configPath);
  const url = config.database.url?.reveal() ?? (await findEmbeddedUrl(config.dataDir));
  if (url === undefined) {
    throw new OperatorError(
      `the server's own PostgreSQL in ${config.dataDir} is not running; it runs while the server does. ` +
        `It will be at ${connectionUrl(join(config.dataDir, 'postgresql', 'run'))}`,
    );
  }
  console.log(url);
}

/** Refused while a server runs on the database: it would lose its tables under its feet. */
export async function migrateDatabase(configPath: string): Promise<void> {
  const config = loadExisting(configPath);
  await using _database = await openDatabase({
    url: config.database.url?.reveal(),
    dataDir: config.dataDir,
    pool: {},
    logger: commandLogger('info'),
    onReplaced: (cause) => console.error(cause.message),
  });
  console.log('the schema is up to date');
}

export async function printStatus(configPath: string): Promise<void> {
  const config = loadExisting(configPath);
  await withDatabaseUrl(config, async (url) => {
    await checkServer(url);
    const { applied, pending } = await loadMigrationStatus(url);
    for (const { version, name, appliedAt } of applied) {
      console.log(`${describe(version, name)} run ${appliedAt.toISOString()}`);
    }
    for (const { version, name } of pending) console.log(`${describe(version, name)} missing`);
  });
}

/** Uses the running PostgreSQL, or starts the server's own for the time of `work`. */
export async function withDatabaseUrl<T>(config: Config, work: (url: string) => Promise<T>): Promise<T> {
  const running = config.database.url?.reveal() ?? (await findEmbeddedUrl(config.dataDir));
  if (running !== undefined) return work(running);
  await using embedded = await startEmbeddedPostgres({ dataDir: config.dataDir, logger: commandLogger('warn') });
  // A server that starts now would take its PostgreSQL from under our feet: this lock makes it wait, and then refuse.
  return await withClient(embedded.url, async (client) => {
    await holdInstanceLock(client);
    return work(embedded.url);
  });
}

/** What the database says goes to stderr: stdout is for the command's answer. */
export function commandLogger(minLevel: 'info' | 'warn'): Logger {
  return createLogger([{ type: 'stderr', format: 'pretty', minLevel }]);
}

const describe = (version: number, name: string): string => `${String(version).padStart(4, '0')} ${name.padEnd(30)}`;
