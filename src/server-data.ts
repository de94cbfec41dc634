/**
 * The part of the composition root that everything else stands on: the database, whose it is, and the committer that writes
 * the streams. Made first, and closed last.
 */
import { join } from 'node:path';
import type { Config } from './config/load.ts';
import { loadOrCreateSigningKey, loadSigningKey } from './config/signing-key.ts';
import { systemClock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import type { Metrics } from './lib/metrics.ts';
import { secureRandom } from './lib/random.ts';
import type { SigningKey } from './protocol/signing.ts';
import { type OpenDatabase, openDatabase } from './storage/open-database.ts';
import { loadWriterPosition, saveWriterPosition } from './storage/rooms.ts';
import { claimServerIdentity, loadServerIdentity } from './storage/server-identity.ts';
import { Committer } from './streams/committer.ts';
import type { Hub } from './streams/hub.ts';

/** This process's streams; other nodes of a cluster will have other ids. */
export const WRITER_ID = 1;

export function openConfigured(config: Config, logger: Logger): Promise<OpenDatabase> {
  const { maxOpenConnections, maxIdleConnections, maxOpenLifetime, maxIdleLifetime } = config.database;
  return openDatabase({
    url: config.database.url?.reveal(),
    dataDir: config.dataDir,
    pool: { maxOpenConnections, maxIdleConnections, maxOpenLifetime, maxIdleLifetime },
    logger: logger.child({ module: 'database' }),
    // Whoever lost the database to another server must not go on: this ends the process in good order.
    onReplaced: (cause) => {
      throw cause;
    },
  });
}

export async function claimIdentity(config: Config, { database }: OpenDatabase): Promise<SigningKey> {
  const path = join(config.dataDir, 'signing.key');
  const isNew = (await loadServerIdentity(database)) === undefined;
  const key = isNew ? await loadOrCreateSigningKey(path, secureRandom) : await loadSigningKey(path);
  const identity = { serverName: config.serverName, signingKeyId: key.keyId, signingPublicKey: key.publicKey };
  await claimServerIdentity(database, identity, systemClock.now());
  return key;
}

export interface CommitterParts {
  readonly opened: OpenDatabase;
  readonly hub: Hub;
  readonly metrics: Metrics;
}

export async function createCommitter({ opened, hub, metrics }: CommitterParts): Promise<Committer> {
  const { database, pipeline } = opened;
  const units = metrics.histogram({
    name: 'commit_batch_units',
    help: 'Units of work that one COMMIT took together',
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
  });
  const failures = metrics.counter({ name: 'commit_failures_total', help: 'Transactions that were rolled back' });
  return new Committer({
    pipeline,
    writerId: WRITER_ID,
    position: await loadWriterPosition(database, WRITER_ID),
    loadPosition: () => loadWriterPosition(database, WRITER_ID),
    savePosition: saveWriterPosition,
    publish: (batch) => hub.publish(batch),
    clock: systemClock,
    onBatch(batch) {
      units.observe({}, batch.units);
      if (batch.failed) failures.increment({});
    },
  });
}

export function measureDatabase(metrics: Metrics, { database, pipeline }: OpenDatabase): void {
  const { stats } = pipeline;
  const gauge = (name: string, help: string, read: () => number): void => metrics.gauge({ name, help, read });
  gauge('database_connections_open', 'Connections of the pool', () => database.stats.open);
  gauge('database_connections_idle', 'Connections of the pool that nobody uses', () => database.stats.idle);
  gauge('database_waiting', 'Requests that wait for a connection of the pool', () => database.stats.waiting);
  gauge('database_statements', 'Statements since the start, outside the committer', () => database.stats.statements);
  gauge('database_commit_statements', "The committer's statements since the start", () => stats.statements);
}
