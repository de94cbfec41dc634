/**
 * Copies all media from one store into another, which can be the work of days: so the server may run meanwhile, on either
 * store, and whatever stops the copying, calling it again goes on where it stood. What is in the target already is left
 * alone; each copy is hashed as it is read and again from the target. Nothing is deleted from the source. Files that lost
 * their rows in the meantime are removed from the target at the end.
 *
 * To move without a gap: copy while the server runs, stop it, copy what came since, and start it on the new store.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { forEachLimited } from '../lib/limited-concurrency.ts';
import type { Database } from '../storage/database.ts';
import {
  claimFileChecks,
  deleteFileChecks,
  listNamedFiles,
  listReferencedFiles,
  lockFileChecks,
} from '../storage/media-files.ts';
import type { MediaStore } from './store.ts';

export interface MigrateMediaOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly from: MediaStore;
  readonly to: MediaStore;
  /** Called after each batch. */
  readonly onProgress: (progress: MigrationProgress) => void;
}

export interface MigrationProgress {
  readonly copied: number;
  /** Were in the target already. */
  readonly present: number;
  readonly bytes: number;
  /** Files that could not be copied. */
  readonly failures: readonly MigrationFailure[];
}

export interface MigrationFailure {
  readonly sha256: string;
  readonly reason: 'missing' | 'corrupt';
}

export interface MigrationResult extends MigrationProgress {
  /** Removed from the target, since no row names them. */
  readonly strays: number;
}

/** Progress shows after so many. */
const BATCH = 200;
/** One stream reads while another writes; more only queue up behind the same disk. */
const PARALLEL_COPIES = 4;

export async function migrateMedia(options: MigrateMediaOptions): Promise<MigrationResult> {
  const progress = { copied: 0, present: 0, bytes: 0, failures: [] as MigrationFailure[] };
  for (let after = ''; ; ) {
    const files = await listReferencedFiles(options.database, { after, limit: BATCH });
    const last = files.at(-1);
    if (last === undefined) break;
    await forEachLimited(files, PARALLEL_COPIES, async (sha256) => {
      const outcome = await copyFile(options, sha256);
      if (outcome === 'present') progress.present += 1;
      else if (typeof outcome === 'string') progress.failures.push({ sha256, reason: outcome });
      else {
        progress.copied += 1;
        progress.bytes += outcome.size;
      }
    });
    options.onProgress({ ...progress });
    after = last;
  }
  // Files deleted while they were copied are no failure.
  const named = await listNamedFiles(
    options.database,
    progress.failures.map(({ sha256 }) => sha256),
  );
  const failures = progress.failures.filter(({ sha256 }) => named.has(sha256));
  return { ...progress, failures, strays: await deleteStrays(options) };
}

async function copyFile({ from, to }: MigrateMediaOptions, sha256: string) {
  if (await to.has(sha256)) return 'present';
  const content = await from.open(sha256);
  if (content === undefined) return 'missing';
  await using staged = await to.stage(content, Number.POSITIVE_INFINITY);
  if (staged.sha256 !== sha256) return 'corrupt';
  await staged.keep();
  const arrived = await to.open(sha256);
  if (arrived === undefined || (await hashOf(arrived)) !== sha256) {
    await to.delete(sha256);
    throw new Error(`${sha256} did not arrive in the target as it was sent`);
  }
  return { size: staged.size };
}

async function hashOf(chunks: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of chunks) hash.update(chunk);
  return hash.digest('hex');
}

async function deleteStrays(options: MigrateMediaOptions): Promise<number> {
  let count = 0;
  let batch: string[] = [];
  for await (const sha256 of options.to.list()) {
    batch.push(sha256);
    if (batch.length < BATCH) continue;
    count += await deleteUnnamed(options, batch);
    batch = [];
  }
  return count + (await deleteUnnamed(options, batch));
}

/** The server may be storing into the target right now, so this holds the files' notes as whoever stores them does. */
async function deleteUnnamed({ database, clock, to }: MigrateMediaOptions, files: readonly string[]): Promise<number> {
  const known = await listNamedFiles(database, files);
  const doubtful = files.filter((sha256) => !known.has(sha256));
  if (doubtful.length === 0) return 0;
  return database.transaction(async (tx) => {
    const claimed = await claimFileChecks(tx, doubtful, clock.now());
    const locked = await lockFileChecks(tx, doubtful);
    const named = await listNamedFiles(tx, locked);
    const strays = locked.filter((sha256) => !named.has(sha256));
    await forEachLimited(strays, PARALLEL_COPIES, (sha256) => to.delete(sha256));
    // Notes of others are about the source as well, and stay.
    await deleteFileChecks(tx, claimed);
    return strays.length;
  });
}
