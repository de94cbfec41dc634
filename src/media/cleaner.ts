/**
 * Keeps the repository tidy: at start and every few hours it removes ids that were never used, files in doubt, previews
 * that are too old, and, where the operator wants it, media that nobody has asked for in a long time.
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Database } from '../storage/database.ts';
import type { MediaKind } from '../storage/media.ts';
import {
  deleteOldestRemoteMedia,
  deleteUnaccessedMedia,
  deleteUnusedMedia,
  loadRemoteBytes,
} from '../storage/media-deletion.ts';
import { deleteExpiredPreviews } from '../storage/media-previews.ts';
import { deleteStrayThumbnails } from '../storage/media-thumbnails.ts';
import { collectFiles, collectNotedFiles } from './collect-files.ts';
import type { MediaStore } from './store.ts';

export interface Retention {
  /** Milliseconds since the last access; 0 to keep media for ever. */
  readonly localMedia: number;
  readonly remoteMedia: number;
  /** Bytes of remote media that are kept, those used last; 0 for any number. */
  readonly maxRemoteBytes: number;
}

export interface CleanerOptions {
  readonly database: Database;
  readonly store: MediaStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly retention: () => Retention;
}

export interface Cleaner extends AsyncDisposable {
  /** Cleans once; throws what stood in the way. */
  clean(): Promise<void>;
  /** Cleans now and every few hours from now on, in the background. */
  start(): void;
}

const INTERVAL_MS = 3 * 60 * 60 * 1000;
/** An upload that began before its id expired may still be under way. */
const UPLOAD_GRACE_MS = 60 * 60 * 1000;
/** Pictures of previews are fetched again when somebody looks at the page's preview again. */
const EXTERNAL_LIFETIME_MS = 7 * 24 * 60 * 60 * 1000;
const BATCH = 1_000;

export function createCleaner(options: CleanerOptions): Cleaner {
  const { clock, logger } = options;
  let timer: Disposable | undefined;
  let isStopped = false;
  let running: Promise<void> = Promise.resolve();

  const schedule = (): void => {
    if (!isStopped) timer = clock.after(INTERVAL_MS, cleanInBackground);
  };
  const cleanInBackground = (): void => {
    running = clean(options, () => isStopped).then(schedule, (cause: unknown) => {
      logger.error({ err: cause }, 'media could not be cleaned up');
      schedule();
    });
  };
  return {
    clean: () => clean(options, () => isStopped),
    start: cleanInBackground,
    async [Symbol.asyncDispose]() {
      isStopped = true;
      timer?.[Symbol.dispose]();
      await running;
    },
  };
}

async function clean(options: CleanerOptions, isStopped: () => boolean): Promise<void> {
  const { database, clock, logger } = options;
  const now = clock.now();
  const expiredBefore = now - UPLOAD_GRACE_MS;
  const unused = await repeat(isStopped, () => deleteUnusedMedia(database, { expiredBefore, limit: BATCH }));
  await deleteExpiredPreviews(database, now);
  const { localMedia, remoteMedia, maxRemoteBytes } = options.retention();
  const lifetimes: readonly [MediaKind, number][] = [
    ['external', EXTERNAL_LIFETIME_MS],
    ['remote', remoteMedia],
    ['local', localMedia],
  ];
  let unaccessed = 0;
  for (const [kind, lifetime] of lifetimes) {
    if (lifetime === 0) continue;
    unaccessed += await repeat(isStopped, () => deleteUnaccessed(options, { kind, before: now - lifetime, now }));
  }
  if (maxRemoteBytes > 0) unaccessed += await shrinkRemote(options, maxRemoteBytes, isStopped);
  await deleteStrayThumbnails(database, now);
  const failures = isStopped() ? 0 : await collectNotedFiles(options);
  const abandoned = await options.store.clearAbandoned();
  // Mostly there is nothing to do, and nothing to say.
  const level = unused + unaccessed + failures + abandoned > 0 ? 'info' : 'debug';
  logger[level]({ unused, unaccessed, failures, abandoned }, 'cleaned up media');
}

async function deleteUnaccessed(
  options: CleanerOptions,
  which: { readonly kind: MediaKind; readonly before: number; readonly now: number },
): Promise<number> {
  const deleted = await deleteUnaccessedMedia(options.database, { ...which, limit: BATCH });
  await collectFiles(
    options,
    deleted.flatMap(({ sha256 }) => (sha256 === null ? [] : [sha256])),
  );
  return deleted.length;
}

/** Removes what was used longest ago, until the rest fits. */
async function shrinkRemote(options: CleanerOptions, maxBytes: number, isStopped: () => boolean): Promise<number> {
  let excess = (await loadRemoteBytes(options.database)) - maxBytes;
  let count = 0;
  while (excess > 0 && !isStopped()) {
    const batch = { excess, now: options.clock.now(), limit: BATCH };
    const deleted = await deleteOldestRemoteMedia(options.database, batch);
    if (deleted.length === 0) break;
    await collectFiles(
      options,
      deleted.map(({ sha256 }) => sha256),
    );
    for (const { size } of deleted) excess -= size;
    count += deleted.length;
  }
  return count;
}

/** Until a batch is not full. */
async function repeat(isStopped: () => boolean, deleteBatch: () => Promise<number>): Promise<number> {
  let total = 0;
  while (!isStopped()) {
    const count = await deleteBatch();
    total += count;
    if (count < BATCH) break;
  }
  return total;
}
