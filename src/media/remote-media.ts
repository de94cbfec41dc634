/**
 * Media of other servers: fetched when somebody asks for it first, and kept. Several who ask at once share one fetch,
 * which goes on when one of them leaves.
 */
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { insertMedia, type MediaKey } from '../storage/media.ts';
import { cleanContentType } from './content-type.ts';
import { placeFile } from './place-file.ts';
import { type MediaStore, TooLargeError } from './store.ts';

export interface RemoteFile {
  readonly contentType: string | undefined;
  readonly fileName: string | undefined;
  /** Who uploaded it, where the other server says so. */
  readonly userId?: UserId | undefined;
  readonly chunks: AsyncIterable<Buffer>;
}

/** Asks the server that the media comes from; undefined where it has no such media. */
export type FetchRemoteFile = (
  key: MediaKey,
  options: { readonly timeoutMs: number; readonly maxBytes: number },
) => Promise<RemoteFile | undefined>;

export interface RemoteMediaOptions {
  readonly database: Database;
  readonly store: MediaStore;
  readonly clock: Clock;
  readonly maxBytes: () => number;
  /** Undefined where the server does not talk to others. */
  readonly fetchRemoteFile?: FetchRemoteFile | undefined;
}

export interface RemoteMedia {
  /** Fetches and stores it; false where it does not exist or cannot be had. */
  fetch(key: MediaKey, timeoutMs: number): Promise<boolean>;
}

const MAX_FILE_NAME_LENGTH = 255;

export function createRemoteMedia(options: RemoteMediaOptions): RemoteMedia {
  const underway = new Map<string, Promise<boolean>>();
  return {
    fetch(key, timeoutMs) {
      const name = `${key.origin}/${key.mediaId}`;
      const shared = underway.get(name);
      if (shared !== undefined) return shared;
      const fetched = fetchAndStore(options, key, timeoutMs).finally(() => underway.delete(name));
      underway.set(name, fetched);
      return fetched;
    },
  };
}

async function fetchAndStore(options: RemoteMediaOptions, key: MediaKey, timeoutMs: number): Promise<boolean> {
  const { store, clock, fetchRemoteFile } = options;
  const maxBytes = options.maxBytes();
  const file = await fetchRemoteFile?.(key, { timeoutMs, maxBytes });
  if (file === undefined) return false;
  await using staged = await store.stage(file.chunks, maxBytes).catch((cause: unknown) => {
    if (!(cause instanceof TooLargeError)) throw cause;
    throw new MatrixError('M_TOO_LARGE', 'The media is too large for this server', { status: 502 });
  });
  const now = clock.now();
  await placeFile(options, staged, (tx) =>
    insertMedia(tx, {
      ...key,
      kind: 'remote',
      userId: file.userId ?? null,
      sha256: staged.sha256,
      size: staged.size,
      contentType: cleanContentType(file.contentType),
      fileName: file.fileName?.toWellFormed().replaceAll('\0', '').slice(0, MAX_FILE_NAME_LENGTH) ?? null,
      createdAt: now,
      storedAt: now,
      lastAccessAt: now,
    }),
  );
  return true;
}
