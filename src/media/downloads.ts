/**
 * Finding media for whoever asks: local media that is there or about to be uploaded, and that of other servers. What is
 * quarantined, expired or kept from unauthenticated clients looks like what never was.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#content-repo-client-behaviour
 */
import type { Readable } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName, UserId } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { loadMedia, type MediaKey, type MediaRow, updateMediaAccess } from '../storage/media.ts';
import { UNKNOWN_TYPE } from './content-type.ts';
import type { RemoteMedia } from './remote-media.ts';
import type { ByteRange, MediaStore } from './store.ts';
import type { UploadWaiters } from './upload-waiters.ts';

/** What clients without a token get: everything, what was stored before the freeze, or nothing. */
export type UnauthenticatedAccess = 'allowed' | 'frozen' | 'denied';

export interface FindOptions {
  readonly isAuthenticated: boolean;
  readonly allowRemote: boolean;
  /** The user, or the address of a client without a token. */
  readonly payer: string;
  /** How long to wait for an upload that was announced. */
  readonly timeoutMs: number;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
}

export interface FoundMedia extends MediaKey {
  readonly sha256: string;
  readonly size: number;
  readonly contentType: string;
  readonly fileName: string | null;
  /** Who uploaded it, which this server tells others of its kind; null for external media, and where it is not known. */
  readonly userId: UserId | null;
  readonly isRemote: boolean;
}

export interface Downloads {
  /** Throws M_NOT_FOUND or M_NOT_YET_UPLOADED where there is nothing to be had. */
  find(key: MediaKey, options: FindOptions): Promise<FoundMedia>;
  open(media: Pick<FoundMedia, 'sha256' | 'size'>, range?: ByteRange): Promise<Readable | Buffer>;
}

export interface DownloadsOptions {
  readonly database: Database;
  readonly store: MediaStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly serverName: ServerName;
  readonly waiters: UploadWaiters;
  readonly remote: RemoteMedia;
  readonly unauthenticatedAccess: () => UnauthenticatedAccess;
  /** Media stored at or after this moment is new to unauthenticated clients. */
  readonly frozenAt: number;
}

/** What is read at once instead of streamed: little enough to wait in memory for a slow client. */
const MAX_READ_BYTES = 64 * 1024;
/** The last access is written at most this often: it decides about months. */
const ACCESS_RESOLUTION_MS = 60 * 60 * 1000;

export function createDownloads(options: DownloadsOptions): Downloads {
  const { database, store, clock, logger } = options;
  return {
    async find(key, request) {
      const media = await locate(options, key, request);
      if (media === undefined || media.sha256 === null) throw notFound();
      const now = clock.now();
      if (now - media.lastAccessAt > ACCESS_RESOLUTION_MS) {
        updateMediaAccess(database, key, now).catch((cause: unknown) =>
          logger.warn({ err: cause, ...key }, 'could not note an access to media'),
        );
      }
      const { sha256, size, fileName, userId } = media;
      const contentType = media.contentType ?? UNKNOWN_TYPE;
      return { ...key, sha256, size, contentType, fileName, userId, isRemote: media.kind === 'remote' };
    },
    async open({ sha256, size }, range = { start: 0, end: size - 1 }) {
      const isSmall = size > 0 && range.end - range.start < MAX_READ_BYTES;
      const content = await (isSmall ? store.read(sha256, range) : store.open(sha256, size > 0 ? range : undefined));
      if (content !== undefined) return content;
      logger.error({ sha256 }, 'a media file is missing');
      throw notFound();
    },
  };
}

async function locate(options: DownloadsOptions, key: MediaKey, request: FindOptions): Promise<MediaRow | undefined> {
  const { database, serverName } = options;
  const media = await loadMedia(database, key);
  if (media !== undefined && !isVisible(options, media, request)) return undefined;
  if (media?.sha256 === null) return waitForUpload(options, media, request);
  if (media !== undefined || key.origin === serverName || !request.allowRemote) return media;
  // What would be fetched now is new, and so not for everybody: others must not fill our disk either.
  if (!request.isAuthenticated && options.unauthenticatedAccess() !== 'allowed') return undefined;
  const isThere = await options.remote.fetch(key, request);
  return isThere ? loadMedia(database, key) : undefined;
}

function isVisible(options: DownloadsOptions, media: MediaRow, { isAuthenticated }: FindOptions): boolean {
  if (media.quarantinedBy !== null) return false;
  if (media.sha256 === null && (media.unusedExpiresAt ?? 0) <= options.clock.now()) return false;
  if (isAuthenticated) return true;
  const access = options.unauthenticatedAccess();
  return access === 'allowed' || (access === 'frozen' && (media.storedAt ?? options.frozenAt) < options.frozenAt);
}

async function waitForUpload(
  { database, waiters }: DownloadsOptions,
  key: MediaKey,
  { timeoutMs, signal }: FindOptions,
): Promise<MediaRow> {
  const arrived = waiters.wait(key.mediaId, { timeoutMs, signal });
  // It may have come between our look and our waiting.
  const media = await loadMedia(database, key);
  if (media === undefined) throw notFound();
  if (media.sha256 !== null) {
    waiters.arrived(key.mediaId);
    return media;
  }
  await arrived;
  const waited = await loadMedia(database, key);
  if (waited === undefined || waited.quarantinedBy !== null) throw notFound();
  if (waited.sha256 !== null) return waited;
  throw new MatrixError('M_NOT_YET_UPLOADED', 'The content of this media id has not been uploaded yet');
}

const notFound = (): MatrixError => new MatrixError('M_NOT_FOUND', 'There is no such media');
