/**
 * Uploads of local users: at once, or to an id that was created ahead. Limits are checked before content is read, as far
 * as the request tells, and again in the transaction that stores it.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload
 */
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName, UserId } from '../protocol/ids.ts';
import type { Database, Transaction } from '../storage/database.ts';
import {
  countPendingMedia,
  fillPendingMedia,
  insertMedia,
  insertPendingMedia,
  loadMedia,
  loadMediaUsage,
  lockMediaOfUser,
  type MediaKey,
} from '../storage/media.ts';
import { cleanContentType } from './content-type.ts';
import { createMediaId } from './mxc.ts';
import { placeFile } from './place-file.ts';
import { type MediaStore, type StagedFile, TooLargeError } from './store.ts';
import type { UploadWaiters } from './upload-waiters.ts';

export interface UploadLimits {
  readonly maxUploadSize: number;
  /** Ids that one user may have without content. */
  readonly maxPending: number;
  /** How long an id waits for its content, in milliseconds. */
  readonly unusedLifetime: number;
  /** Bytes and files that one user may have; 0 for any number. */
  readonly maxUserBytes: number;
  readonly maxUserFiles: number;
}

export interface UploadContent {
  readonly contentType: string | undefined;
  readonly contentLength: number | undefined;
  readonly fileName: string | undefined;
  readonly chunks: AsyncIterable<Buffer>;
}

export interface CreatedMedia extends MediaKey {
  readonly unusedExpiresAt: number;
}

export interface Uploads {
  readonly maxUploadSize: number;
  create(userId: UserId): Promise<CreatedMedia>;
  upload(userId: UserId, content: UploadContent): Promise<MediaKey>;
  /** Gives content to an id that the same user created. */
  fill(userId: UserId, key: MediaKey, content: UploadContent): Promise<void>;
}

export interface UploadsOptions {
  readonly database: Database;
  readonly store: MediaStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: ServerName;
  readonly waiters: UploadWaiters;
  /** Asked each time, since they can change while the server runs. */
  readonly limits: () => UploadLimits;
}

/** As long as file systems allow, in signs instead of bytes. */
const MAX_FILE_NAME_LENGTH = 255;

export function createUploads(options: UploadsOptions): Uploads {
  const { database, clock, random, serverName, waiters, limits } = options;
  return {
    get maxUploadSize() {
      return limits().maxUploadSize;
    },
    create: (userId) => createPending(options, userId),
    async upload(userId, content) {
      const described = describe(content);
      await checkQuota(database, { userId, limits: limits(), bytes: content.contentLength ?? 0, files: 1 });
      await using staged = await stageUpload(options, content);
      const now = clock.now();
      const key = { origin: serverName, mediaId: createMediaId(random) };
      const { sha256, size } = staged;
      await placeFile(options, staged, async (tx) => {
        await lockAndCheckQuota(tx, { userId, limits: limits(), bytes: size, files: 1 });
        const times = { createdAt: now, storedAt: now, lastAccessAt: now };
        await insertMedia(tx, { ...key, kind: 'local', userId, sha256, size, ...described, ...times });
      });
      return key;
    },
    async fill(userId, key, content) {
      const described = describe(content);
      await checkFillable(options, userId, key);
      await checkQuota(database, { userId, limits: limits(), bytes: content.contentLength ?? 0, files: 0 });
      await using staged = await stageUpload(options, content);
      const { sha256, size } = staged;
      await placeFile(options, staged, async (tx) => {
        await lockAndCheckQuota(tx, { userId, limits: limits(), bytes: size, files: 0 });
        const filled = await fillPendingMedia(tx, key, { sha256, size, ...described, storedAt: clock.now() });
        if (!filled) throw (await loadMedia(tx, key)) === undefined ? unknownId() : alreadyUploaded();
      });
      waiters.arrived(key.mediaId);
    },
  };
}

async function createPending(options: UploadsOptions, userId: UserId): Promise<CreatedMedia> {
  const { database, clock, random, serverName } = options;
  const { maxPending, unusedLifetime } = options.limits();
  const now = clock.now();
  const key = { origin: serverName, mediaId: createMediaId(random), unusedExpiresAt: now + unusedLifetime };
  await database.transaction(async (tx) => {
    await lockMediaOfUser(tx, userId);
    if ((await countPendingMedia(tx, userId, now)) >= maxPending) throw tooManyPending();
    await insertPendingMedia(tx, { ...key, userId, createdAt: now });
  });
  return key;
}

async function checkFillable({ database, serverName, clock }: UploadsOptions, userId: UserId, key: MediaKey) {
  const media = key.origin === serverName ? await loadMedia(database, key) : undefined;
  if (media === undefined) throw unknownId();
  if (media.userId !== userId) throw new MatrixError('M_FORBIDDEN', 'Another user created this media id');
  if (media.sha256 !== null) throw alreadyUploaded();
  if ((media.unusedExpiresAt ?? 0) <= clock.now()) throw unknownId();
}

async function stageUpload({ store, limits }: UploadsOptions, content: UploadContent): Promise<StagedFile> {
  const { maxUploadSize } = limits();
  if ((content.contentLength ?? 0) > maxUploadSize) throw tooLarge(maxUploadSize);
  try {
    return await store.stage(content.chunks, maxUploadSize);
  } catch (cause) {
    throw cause instanceof TooLargeError ? tooLarge(maxUploadSize) : cause;
  }
}

interface QuotaCheck {
  readonly userId: UserId;
  readonly limits: UploadLimits;
  /** What is to be added. */
  readonly bytes: number;
  readonly files: number;
}

const hasQuota = ({ maxUserBytes, maxUserFiles }: UploadLimits): boolean => maxUserBytes > 0 || maxUserFiles > 0;

async function lockAndCheckQuota(tx: Transaction, check: QuotaCheck): Promise<void> {
  if (!hasQuota(check.limits)) return;
  await lockMediaOfUser(tx, check.userId);
  await checkQuota(tx, check);
}

async function checkQuota(tx: Transaction, { userId, limits, bytes, files }: QuotaCheck): Promise<void> {
  if (!hasQuota(limits)) return;
  const used = await loadMediaUsage(tx, userId);
  const { maxUserBytes, maxUserFiles } = limits;
  if (maxUserFiles > 0 && used.files + files > maxUserFiles) throw quotaReached();
  if (maxUserBytes > 0 && used.bytes + bytes > maxUserBytes) throw quotaReached();
}

function describe({ contentType, fileName }: UploadContent): { contentType: string; fileName: string | null } {
  if ((fileName?.length ?? 0) > MAX_FILE_NAME_LENGTH) {
    throw new MatrixError('M_INVALID_PARAM', `A file name may have ${MAX_FILE_NAME_LENGTH} characters at most`);
  }
  return {
    contentType: cleanContentType(contentType),
    fileName: fileName === undefined ? null : fileName.toWellFormed(),
  };
}

const tooLarge = (limit: number): MatrixError =>
  new MatrixError('M_TOO_LARGE', `An upload may have ${limit} bytes at most`);
const quotaReached = (): MatrixError => new MatrixError('M_FORBIDDEN', 'You have used up your space for uploads');
const unknownId = (): MatrixError => new MatrixError('M_NOT_FOUND', 'This media id was not created, or has expired');
const alreadyUploaded = (): MatrixError =>
  new MatrixError('M_CANNOT_OVERWRITE_MEDIA', 'This media id has its content already');
/** Pending uploads end by being uploaded or by expiring, which may take long: a guess. */
const PENDING_RETRY_MS = 60_000;
const tooManyPending = (): MatrixError =>
  new MatrixError('M_LIMIT_EXCEEDED', 'You have too many media ids without content', {
    fields: { retry_after_ms: PENDING_RETRY_MS },
    headers: { 'retry-after': String(PENDING_RETRY_MS / 1000) },
  });
