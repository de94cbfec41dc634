/**
 * Sending a file of the local disk to an S3-compatible store: small ones at once, large ones in parts of which only those
 * on their way are in memory. Nothing is visible before `complete`.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
 */
import { type FileHandle, open } from 'node:fs/promises';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { BoundedWork } from './bounded-work.ts';
import type { SpooledFile } from './spool.ts';

export interface Bucket {
  readonly client: S3Client;
  readonly name: string;
  readonly prefix: string;
  readonly parts: Parts;
}

/** The parts in memory, of all uploads together. */
export interface Parts {
  /** Lends a buffer to `send` when one is free. */
  use<T>(length: number, send: (bytes: Buffer) => Promise<T>): Promise<T>;
}

/** Buffers are used again: what waited for the garbage collector would be many times what is on its way. */
export function createParts(work: BoundedWork): Parts {
  const idle: Buffer[] = [];
  return {
    use: (length, send) =>
      work.run(async () => {
        const isUsual = length <= PART_BYTES;
        const bytes = (isUsual ? idle.pop() : undefined) ?? Buffer.allocUnsafeSlow(Math.max(length, PART_BYTES));
        const result = await send(bytes.subarray(0, length));
        // Not after a failure: something may still be reading it.
        if (isUsual) idle.push(bytes);
        return result;
      }),
  };
}

export interface Upload {
  complete(): Promise<void>;
  abort(): Promise<void>;
}

interface Place {
  readonly Bucket: string;
  readonly Key: string;
}

/** Stores demand at least 5 MB of every part but the last. */
export const PART_BYTES = 8 * 1024 * 1024;
/** What stores allow. */
const MAX_PARTS = 10_000;

/** Sends what can be sent before it becomes visible. */
export async function startUpload(bucket: Bucket, place: Place, file: SpooledFile): Promise<Upload> {
  return file.size > PART_BYTES ? startMultipart(bucket, place, file) : createSimple(bucket, place, file);
}

function createSimple({ client, parts }: Bucket, place: Place, { path, size }: SpooledFile): Upload {
  return {
    complete: () =>
      parts.use(size, async (Body) => {
        await using handle = await open(path, 'r');
        await fill(Body, handle, 0);
        await client.send(new PutObjectCommand({ ...place, Body, ContentLength: size }));
      }),
    abort: () => Promise.resolve(),
  };
}

async function startMultipart(bucket: Bucket, place: Place, file: SpooledFile): Promise<Upload> {
  const { client } = bucket;
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(place));
  if (UploadId === undefined) throw new Error('the store began no upload');
  const abort = async (): Promise<void> => {
    await client.send(new AbortMultipartUploadCommand({ ...place, UploadId }));
  };
  try {
    const Parts = await sendParts(bucket, { ...place, UploadId }, file);
    return {
      async complete() {
        await client.send(new CompleteMultipartUploadCommand({ ...place, UploadId, MultipartUpload: { Parts } }));
      },
      abort,
    };
  } catch (cause) {
    // What cannot be aborted now is found by `abortUploadsBefore`.
    await Promise.allSettled([abort()]);
    throw cause;
  }
}

async function sendParts(
  { client, parts }: Bucket,
  upload: Place & { readonly UploadId: string },
  { path, size }: SpooledFile,
): Promise<CompletedPart[]> {
  const partBytes = Math.max(PART_BYTES, Math.ceil(size / MAX_PARTS));
  const sent: CompletedPart[] = [];
  await using handle = await open(path, 'r');
  for (let start = 0; start < size; start += partBytes) {
    const length = Math.min(partBytes, size - start);
    const PartNumber = sent.length + 1;
    const { ETag } = await parts.use(length, async (Body) => {
      await fill(Body, handle, start);
      return client.send(new UploadPartCommand({ ...upload, PartNumber, Body, ContentLength: length }));
    });
    if (ETag === undefined) throw new Error('the store did not say what it has got');
    sent.push({ PartNumber, ETag });
  }
  return sent;
}

async function fill(bytes: Buffer, handle: FileHandle, start: number): Promise<void> {
  for (let filled = 0; filled < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
    if (bytesRead === 0) throw new Error('a spooled file is shorter than it was');
    filled += bytesRead;
  }
}

/** Aborts the multipart uploads below our prefix that began before that moment; returns their number. */
export async function abortUploadsBefore({ client, name, prefix }: Bucket, before: number): Promise<number> {
  let count = 0;
  let marker: Marker | undefined = {};
  while (marker !== undefined) {
    const page: ListMultipartUploadsCommandOutput = await client.send(
      new ListMultipartUploadsCommand({ Bucket: name, Prefix: prefix, ...marker }),
    );
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined || (Initiated?.getTime() ?? before) >= before) continue;
      await client.send(new AbortMultipartUploadCommand({ Bucket: name, Key, UploadId }));
      count += 1;
    }
    marker = page.IsTruncated === true ? nextMarker(page) : undefined;
  }
  return count;
}

interface Marker {
  readonly KeyMarker?: string;
  readonly UploadIdMarker?: string;
}

function nextMarker({ NextKeyMarker, NextUploadIdMarker }: ListMultipartUploadsCommandOutput): Marker | undefined {
  if (NextKeyMarker === undefined) return undefined;
  return NextUploadIdMarker === undefined
    ? { KeyMarker: NextKeyMarker }
    : { KeyMarker: NextKeyMarker, UploadIdMarker: NextUploadIdMarker };
}
