/**
 * Where the bytes are: files named by the SHA-256 of their content. A file is staged first, under a name of its own, and
 * becomes visible whole or not at all.
 */
import type { Readable } from 'node:stream';

/** Bytes from `start` up to and including `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Content that has arrived but is not in its place yet; disposing of it throws it away unless it was kept. */
export interface StagedFile extends AsyncDisposable {
  readonly sha256: string;
  readonly size: number;
  /** Puts it into its place, durably; there may be an equal file already. */
  keep(): Promise<void>;
}

export interface MediaStore extends AsyncDisposable {
  /** Takes in a stream; throws a TooLargeError as soon as it has more than `maxBytes`. */
  stage(chunks: AsyncIterable<Buffer>, maxBytes: number): Promise<StagedFile>;
  /** Undefined where there is no such file. */
  open(sha256: string, range?: ByteRange): Promise<Readable | undefined>;
  /** A range of few bytes at once, which costs less than a stream; undefined where there is no such file. */
  read(sha256: string, range: ByteRange): Promise<Buffer | undefined>;
  /** Hands the path of a file with that content to `work`, for as long as it runs; undefined where there is none. */
  withLocalFile<T>(sha256: string, work: (path: string) => Promise<T>): Promise<T | undefined>;
  has(sha256: string): Promise<boolean>;
  /** No file is as good as a deleted one. */
  delete(sha256: string): Promise<void>;
  /** The names of all files, in their order. */
  list(): AsyncIterable<string>;
  /** Removes what was staged on this machine by a process that ended in the middle; returns the number of files. */
  clearStaging(): Promise<number>;
  /** Removes what anybody staged elsewhere so long ago that he must have ended; returns the number of files. */
  clearAbandoned(): Promise<number>;
}

export class TooLargeError extends Error {}

const SHA256 = /^[0-9a-f]{64}$/;

export const isFileName = (name: string): boolean => SHA256.test(name);

/** The name of a file as part of a path: nothing else ever becomes one. */
export function checkFileName(sha256: string): string {
  if (!isFileName(sha256)) throw new Error('a file is named by its SHA-256');
  return sha256;
}

/** Content that is in memory already. */
export async function* toChunks(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
