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
  /** Bounds the parts in memory. */
  readonly work: BoundedWork;
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

function createSimple({ client, work }: Bucket, place: Place, { path, size }: SpooledFile): Upload {
  return {
    complete: () =>
      work.run(async () => {
        await using handle = await open(path, 'r');
        const Body = await readPart(handle, { start: 0, length: size });
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
  { client, work }: Bucket,
  upload: Place & { readonly UploadId: string },
  { path, size }: SpooledFile,
): Promise<CompletedPart[]> {
  const partBytes = Math.max(PART_BYTES, Math.ceil(size / MAX_PARTS));
  const parts: CompletedPart[] = [];
  await using handle = await open(path, 'r');
  for (let start = 0; start < size; start += partBytes) {
    const length = Math.min(partBytes, size - start);
    const PartNumber = parts.length + 1;
    const { ETag } = await work.run(async () => {
      const Body = await readPart(handle, { start, length });
      return client.send(new UploadPartCommand({ ...upload, PartNumber, Body, ContentLength: length }));
    });
    if (ETag === undefined) throw new Error('the store did not say what it has got');
    parts.push({ PartNumber, ETag });
  }
  return parts;
}

async function readPart(handle: FileHandle, part: { readonly start: number; readonly length: number }) {
  const bytes = Buffer.allocUnsafeSlow(part.length);
  let filled = 0;
  while (filled < part.length) {
    const { bytesRead } = await handle.read(bytes, filled, part.length - filled, part.start + filled);
    if (bytesRead === 0) throw new Error('a spooled file is shorter than it was');
    filled += bytesRead;
  }
  return bytes;
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
