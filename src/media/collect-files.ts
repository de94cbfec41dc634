/**
 * Removes files that no row names any more, and their thumbnails. Only noted files are looked at (storage/media-files.ts);
 * the transaction that decides holds their notes, so nobody can put an equal file into its place meanwhile.
 */
import type { Clock } from '../lib/clock.ts';
import { forEachLimited } from '../lib/limited-concurrency.ts';
import type { Logger } from '../lib/logger.ts';
import type { Database } from '../storage/database.ts';
import {
  deleteFileChecks,
  insertFileChecks,
  listFileChecks,
  listNamedFiles,
  lockFileChecks,
} from '../storage/media-files.ts';
import { deleteThumbnailsOf } from '../storage/media-thumbnails.ts';
import type { MediaStore } from './store.ts';

export interface CollectOptions {
  readonly database: Database;
  readonly store: MediaStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Files decided about in one transaction: it stays short while the statements' cost is shared. */
const BATCH = 200;
/** Deletes at once; more only queue up behind the four threads that Node has for files. */
const PARALLEL_DELETES = 4;

/** Looks at these noted files; returns those that could not be removed. */
export async function collectFiles(options: CollectOptions, files: readonly string[]): Promise<ReadonlySet<string>> {
  const failed = new Set<string>();
  const queue = [...new Set(files)].sort();
  for (let start = 0; start < queue.length; start += BATCH) {
    const { thumbnails, stuck } = await collectBatch(options, queue.slice(start, start + BATCH));
    for (const sha256 of stuck) failed.add(sha256);
    for (const sha256 of await collectThumbnails(options, thumbnails)) failed.add(sha256);
  }
  return failed;
}

/** Looks at every noted file; returns the number of those that could not be removed. */
export async function collectNotedFiles(options: CollectOptions): Promise<number> {
  let failures = 0;
  let after = '';
  for (;;) {
    const files = await listFileChecks(options.database, { after, limit: BATCH });
    const last = files.at(-1);
    if (last === undefined) return failures;
    failures += (await collectFiles(options, files)).size;
    after = last;
  }
}

/** Thumbnails have none of their own, so this goes no deeper. */
async function collectThumbnails(options: CollectOptions, files: readonly string[]): Promise<readonly string[]> {
  const stuck: string[] = [];
  for (let start = 0; start < files.length; start += BATCH) {
    stuck.push(...(await collectBatch(options, files.slice(start, start + BATCH))).stuck);
  }
  return stuck;
}

function collectBatch({ database, store, clock, logger }: CollectOptions, files: readonly string[]) {
  return database.transaction(async (tx) => {
    const noted = await lockFileChecks(tx, files);
    // A small image is its own thumbnail.
    const thumbnails = (await deleteThumbnailsOf(tx, noted)).filter((sha256) => !noted.includes(sha256));
    const named = await listNamedFiles(tx, noted);
    const stuck: string[] = [];
    const unnamed = noted.filter((sha256) => !named.has(sha256));
    await forEachLimited(unnamed, PARALLEL_DELETES, async (sha256) => {
      try {
        await store.delete(sha256);
      } catch (cause) {
        logger.error({ err: cause, sha256 }, 'a media file could not be deleted');
        stuck.push(sha256);
      }
    });
    await deleteFileChecks(
      tx,
      noted.filter((sha256) => !stuck.includes(sha256)),
    );
    if (thumbnails.length > 0) await insertFileChecks(tx, thumbnails, clock.now());
    return { thumbnails, stuck };
  });
}
