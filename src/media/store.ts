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

export interface MediaStore {
  /** Takes in a stream; throws a TooLargeError as soon as it has more than `maxBytes`. */
  stage(chunks: AsyncIterable<Buffer>, maxBytes: number): Promise<StagedFile>;
  /** Undefined where there is no such file. */
  open(sha256: string, range?: ByteRange): Promise<Readable | undefined>;
  /** Hands a file's path to `work`; undefined where there is no such file. */
  withLocalFile<T>(sha256: string, work: (path: string) => Promise<T>): Promise<T | undefined>;
  /** No file is as good as a deleted one. */
  delete(sha256: string): Promise<void>;
  /** Removes what was staged by a process that ended in the middle; returns the number of files. */
  clearStaging(): Promise<number>;
}

export class TooLargeError extends Error {}

/** Content that is in memory already. */
export async function* toChunks(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
