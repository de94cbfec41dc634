/**
 * From a configuration to an open database, in the only safe order: PostgreSQL itself (ours, or the one that a URL names),
 * its version, the instance lock, the migrations, then the pool. Closing runs backwards: PostgreSQL stops last.
 */

import type { Logger } from '../lib/logger.ts';
import { OperatorError } from '../lib/operator-error.ts';
import { withClient } from './connection.ts';
import { startEmbeddedPostgres } from './embedded.ts';
import type { InstanceRunningError } from './instance-lock.ts';
import { type Migration, migrate } from './migrate.ts';
import { createPipeline, type Pipeline } from './pipeline.ts';
import { createPool, type Pool, type PoolOptions } from './pool.ts';

export interface OpenDatabaseOptions {
  /** Empty: the server's own PostgreSQL, in `dataDir`. */
  readonly url: string | undefined;
  readonly dataDir: string;
  readonly pool: Omit<PoolOptions, 'connection' | 'onError'>;
  readonly logger: Logger;
  /** Another server has taken the database over; this one must stop. */
  readonly onReplaced: (cause: InstanceRunningError) => void;
}

export interface OpenDatabase extends AsyncDisposable {
  readonly database: Pool;
  readonly pipeline: Pipeline;
  readonly url: string;
}

/** server_version_num of the oldest PostgreSQL that is tested: 15.0. */
export const OLDEST_VERSION = 150_000;
/** The embedded server's connections besides the pool: committer, migrations, `psql`, backups, PostgreSQL's reserve. */
const SPARE_CONNECTIONS = 20;

export class UnsuitableDatabaseError extends OperatorError {}

export async function openDatabase(options: OpenDatabaseOptions): Promise<OpenDatabase> {
  const { logger } = options;
  await using stack = new AsyncDisposableStack();
  const url = options.url ?? stack.use(await startEmbedded(options)).url;
  await checkServer(url);
  const pipeline = stack.use(
    await createPipeline({
      connection: url,
      onLost: (cause) => logger.error({ cause }, 'lost the connection that commits; opening another'),
      onReplaced: options.onReplaced,
    }),
  );
  reportMigrations(await migrate(url), logger);
  const onError = (cause: Error): void => logger.warn({ cause }, 'lost a database connection');
  const database = stack.use(createPool({ ...options.pool, connection: url, onError }));
  const resources = stack.move();
  return { database, pipeline, url, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** Making an empty database is no news; changing one with data in it is. */
function reportMigrations(ran: readonly Migration[], logger: Logger): void {
  const level = ran[0]?.version === 1 ? 'debug' : 'info';
  for (const { version, name } of ran) logger[level]({ version, name }, 'ran a migration');
}

function startEmbedded({ dataDir, logger, pool }: OpenDatabaseOptions): ReturnType<typeof startEmbeddedPostgres> {
  const maxConnections = Math.max(100, (pool.maxOpenConnections ?? 0) + SPARE_CONNECTIONS);
  return startEmbeddedPostgres({ dataDir, logger, maxConnections });
}

/** Refuses what would go wrong only later: an old PostgreSQL, or a database that can't hold every character. */
export async function checkServer(url: string): Promise<void> {
  await withClient(url, async (client) => {
    const { rows } = await client.query<{ version: number; encoding: string }>(
      `select current_setting('server_version_num')::integer as version,
              current_setting('server_encoding') as encoding`,
    );
    const { version = 0, encoding = '' } = rows[0] ?? {};
    if (version < OLDEST_VERSION) {
      throw new UnsuitableDatabaseError(
        `database.url names PostgreSQL ${Math.floor(version / 10_000)}; Hammerhead needs PostgreSQL 15 or newer`,
      );
    }
    if (encoding !== 'UTF8') {
      throw new UnsuitableDatabaseError(
        `the database of database.url stores text as ${encoding}; make one with: create database hammerhead ` +
          "encoding 'UTF8' template template0",
      );
    }
  });
}
