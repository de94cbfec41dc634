/**
 * Media as objects of any S3-compatible store: `<prefix><sha256>`. What comes in is spooled to the local disk, since an
 * object's name is known only at its end; then its parts go up, a bounded number in memory at a time. The parts of a
 * multipart upload are invisible until it is completed, which is what `keep` does: so nothing is ever half there, and what
 * a crash leaves is a multipart upload that `clearAbandoned` aborts.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/API/
 */
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { createBoundedWork } from './bounded-work.ts';
import { abortUploadsBefore, type Bucket, createParts, PART_BYTES, startUpload, type Upload } from './s3-upload.ts';
import { createSpool, type SpooledFile } from './spool.ts';
import { type ByteRange, checkFileName, isFileName, type MediaStore } from './store.ts';

export interface S3Settings {
  /** Undefined for Amazon's own of that region. */
  readonly endpoint: string | undefined;
  readonly region: string;
  readonly bucket: string;
  readonly prefix: string;
  /** Undefined for what the machine's role, profile or environment gives. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  /** Whether the bucket stands in the path instead of the host name. */
  readonly pathStyle: boolean;
}

export interface S3StoreOptions {
  readonly settings: S3Settings;
  /** The folder of what is on its way in. */
  readonly spoolPath: string;
  readonly random: Random;
  readonly clock: Clock;
}

const CONNECT_TIMEOUT_MS = 5_000;
/** Without any byte in either direction: whoever pauses a film lets the download wait, and asks again by range later. */
const SOCKET_TIMEOUT_MS = 5 * 60_000;
/** A slow download holds one; beyond the SDK's 50, so that slow clients do not stop the uploads. */
const MAX_SOCKETS = 512;
/** Parts in memory at once, of all uploads together: 32 MB. */
const MAX_PARTS = 4;
/** Each waits with its content on disk. */
const MAX_WAITING_PARTS = 1_000;
/** No upload of a file that lies on the local disk takes this long; after a crash the parts cost money until then. */
const ABANDONED_AFTER_MS = 60 * 60 * 1000;

/** Makes the spool's folder where it is missing; asks the store for nothing yet. */
export async function createS3Store(options: S3StoreOptions): Promise<MediaStore> {
  const { settings, clock } = options;
  const client = createClient(settings);
  const work = createBoundedWork({ maxRunning: MAX_PARTS, maxWaiting: MAX_WAITING_PARTS, what: 'uploads' });
  const bucket: Bucket = { client, name: settings.bucket, prefix: settings.prefix, parts: createParts(work) };
  const spool = await createSpool(options.spoolPath, options.random);
  return {
    async stage(chunks, maxBytes) {
      const file = await spool.write(chunks, maxBytes);
      try {
        return await stageUpload(bucket, file);
      } catch (cause) {
        await rm(file.path, { force: true });
        throw cause;
      }
    },
    open: (sha256, range) => openObject(bucket, sha256, range),
    async read(sha256, range) {
      const content = await openObject(bucket, sha256, range);
      return content && buffer(content);
    },
    async withLocalFile(sha256, use) {
      const content = await openObject(bucket, sha256);
      if (content === undefined) return undefined;
      const path = spool.createPath();
      try {
        await pipeline(content, createWriteStream(path, { mode: 0o600 }));
        return await use(path);
      } finally {
        await rm(path, { force: true });
      }
    },
    has: (sha256) => hasObject(bucket, sha256),
    async delete(sha256) {
      await client.send(new DeleteObjectCommand(locate(bucket, sha256)));
    },
    list: () => listObjects(bucket),
    clearStaging: () => spool.clear(),
    clearAbandoned: () => abortUploadsBefore(bucket, clock.now() - ABANDONED_AFTER_MS),
    async [Symbol.asyncDispose]() {
      client.destroy();
    },
  };
}

function createClient({ endpoint, region, credentials, pathStyle }: S3Settings): S3Client {
  return new S3Client({
    region,
    forcePathStyle: pathStyle,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    // The checksums that Amazon added in 2024 are unknown to many other stores.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: SOCKET_TIMEOUT_MS,
      httpAgent: { keepAlive: true, maxSockets: MAX_SOCKETS },
      httpsAgent: { keepAlive: true, maxSockets: MAX_SOCKETS },
    },
  });
}

function locate({ name, prefix }: Bucket, sha256: string): { readonly Bucket: string; readonly Key: string } {
  return { Bucket: name, Key: prefix + checkFileName(sha256) };
}

/** Sends large files ahead of `keep`, which has a transaction open; an object that is there is not sent again. */
async function stageUpload(bucket: Bucket, file: SpooledFile) {
  const { sha256, size, path } = file;
  const place = locate(bucket, sha256);
  const isAhead = size > PART_BYTES && !(await hasObject(bucket, sha256));
  let upload: Upload | undefined = isAhead ? await startUpload(bucket, place, file) : undefined;
  return {
    sha256,
    size,
    async keep() {
      if (upload === undefined && (await hasObject(bucket, sha256))) return;
      upload ??= await startUpload(bucket, place, file);
      await upload.complete();
      upload = undefined;
    },
    async [Symbol.asyncDispose]() {
      await rm(path, { force: true });
      // What cannot be aborted now is found by `clearAbandoned`.
      await Promise.allSettled([upload?.abort()]);
    },
  };
}

async function openObject(bucket: Bucket, sha256: string, range?: ByteRange): Promise<Readable | undefined> {
  const part = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end}` };
  const found = await unlessMissing(bucket.client.send(new GetObjectCommand({ ...locate(bucket, sha256), ...part })));
  if (found === undefined) return undefined;
  if (found.Body instanceof Readable) return found.Body;
  throw new Error('the store answered without a body');
}

async function hasObject(bucket: Bucket, sha256: string): Promise<boolean> {
  return (await unlessMissing(bucket.client.send(new HeadObjectCommand(locate(bucket, sha256))))) !== undefined;
}

async function* listObjects({ client, name, prefix }: Bucket): AsyncGenerator<string> {
  let token: string | undefined;
  do {
    const request = { Bucket: name, Prefix: prefix, ...(token === undefined ? {} : { ContinuationToken: token }) };
    const page = await client.send(new ListObjectsV2Command(request));
    for (const { Key = '' } of page.Contents ?? []) {
      const file = Key.slice(prefix.length);
      if (isFileName(file)) yield file;
    }
    token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
  } while (token !== undefined);
}

async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (cause) {
    // Of the bucket itself this is a fault, and no reason to say that media does not exist.
    const isMissing = cause instanceof S3ServiceException && cause.$metadata.httpStatusCode === 404;
    if (isMissing && cause.name !== 'NoSuchBucket') return undefined;
    throw cause;
  }
}
