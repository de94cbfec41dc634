/**
 * Media of other servers: fetched when somebody asks for it first, and kept. Several who ask at once share one fetch,
 * which goes on when one of them leaves.
 */
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import { isUserId, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { insertMedia, type MediaKey } from '../storage/media.ts';
import { createBoundedWork } from './bounded-work.ts';
import { cleanContentType } from './content-type.ts';
import { placeFile } from './place-file.ts';
import type { RemoteBudget } from './remote-budget.ts';
import { type MediaStore, TooLargeError } from './store.ts';

export interface RemoteFile {
  readonly contentType: string | undefined;
  readonly fileName: string | undefined;
  /** Who uploaded it, where the other server says so, as it came. */
  readonly userId?: string | undefined;
  readonly chunks: AsyncIterable<Buffer>;
}

/**
 * Asks the server that the media comes from; undefined where it has no such media. Throws a MatrixError for what clients
 * should be told, such as M_NOT_YET_UPLOADED; where `chunks` fail, clients are told that the media could not be had.
 */
export type FetchRemoteFile = (
  key: MediaKey,
  options: { readonly timeoutMs: number; readonly maxBytes: number },
) => Promise<RemoteFile | undefined>;

export interface RemoteMediaOptions {
  readonly database: Database;
  readonly store: MediaStore;
  readonly clock: Clock;
  readonly maxBytes: () => number;
  readonly budget: RemoteBudget;
  /** Undefined where the server does not talk to others. */
  readonly fetchRemoteFile?: FetchRemoteFile | undefined;
}

export interface RemoteMedia {
  /** Fetches and stores it; false where it does not exist. */
  fetch(key: MediaKey, request: RemoteRequest): Promise<boolean>;
}

export interface RemoteRequest {
  readonly timeoutMs: number;
  /** Whose budget it is fetched from. */
  readonly payer: string;
}

const MAX_FILE_NAME_LENGTH = 255;
/** Each may take as long as its server likes within the time-outs of the client that asks it. */
const MAX_RUNNING = 64;
const MAX_WAITING = 500;

export function createRemoteMedia(options: RemoteMediaOptions): RemoteMedia {
  const underway = new Map<string, Promise<boolean>>();
  const work = createBoundedWork({ maxRunning: MAX_RUNNING, maxWaiting: MAX_WAITING, what: 'downloads from others' });
  return {
    async fetch(key, request) {
      const name = `${key.origin}/${key.mediaId}`;
      const shared = underway.get(name);
      if (shared !== undefined) return shared;
      options.budget.check(request.payer);
      const fetched = work.run(() => fetchAndStore(options, key, request)).finally(() => underway.delete(name));
      underway.set(name, fetched);
      return fetched;
    },
  };
}

async function fetchAndStore(options: RemoteMediaOptions, key: MediaKey, request: RemoteRequest): Promise<boolean> {
  const { store, clock, budget, fetchRemoteFile } = options;
  const { timeoutMs, payer } = request;
  const maxBytes = options.maxBytes();
  const file = await fetchRemoteFile?.(key, { timeoutMs, maxBytes });
  if (file === undefined) return false;
  await using staged = await store.stage(withBlame(file.chunks), maxBytes).catch((cause: unknown) => {
    if (!(cause instanceof TooLargeError)) throw cause;
    throw new MatrixError('M_TOO_LARGE', 'The media is too large for this server', { status: 502 });
  });
  budget.spend(payer, staged.size);
  const now = clock.now();
  await placeFile(options, staged, (tx) =>
    insertMedia(tx, {
      ...key,
      kind: 'remote',
      userId: readUploader(file, key),
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

/** A server speaks for its own users only: nobody else's media may be purged, or counted, with what it says. */
function readUploader({ userId }: RemoteFile, { origin }: MediaKey): UserId | null {
  return userId !== undefined && isUserId(userId) && serverNameOf(userId) === origin ? userId : null;
}

/** What breaks on the way is the other server's fault, unlike our disk. */
async function* withBlame(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* chunks;
  } catch (cause) {
    throw new MatrixError('M_UNKNOWN', 'The media could not be fetched from its server', { status: 502, cause });
  }
}
