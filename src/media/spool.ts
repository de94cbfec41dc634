/**
 * Content on its way in: written to a file of the local disk under a random name, hashed and counted as it comes, and
 * flushed. However large it is, one chunk of it is in memory.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '../lib/random.ts';
import { TooLargeError } from './store.ts';

export interface SpooledFile {
  readonly path: string;
  readonly sha256: string;
  readonly size: number;
}

export interface Spool {
  /** Throws a TooLargeError, and keeps nothing, as soon as there are more than `maxBytes`. */
  write(chunks: AsyncIterable<Buffer>, maxBytes: number): Promise<SpooledFile>;
  /** A path that nothing lies at. */
  createPath(): string;
  /** Removes what an earlier process left; returns the number of files. */
  clear(): Promise<number>;
}

const FILE_MODE = 0o600;
/** For folders of media: nobody else's business. */
export const FOLDER_MODE = 0o700;

/** Makes the folder where it is missing. */
export async function createSpool(folder: string, random: Random): Promise<Spool> {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
  const createPath = (): string => join(folder, random.alphanumeric(24));
  return {
    createPath,
    write: (chunks, maxBytes) => write(createPath(), chunks, maxBytes),
    async clear() {
      const names = await readdir(folder);
      for (const name of names) await rm(join(folder, name), { force: true });
      return names.length;
    },
  };
}

async function write(path: string, chunks: AsyncIterable<Buffer>, maxBytes: number): Promise<SpooledFile> {
  const hash = createHash('sha256');
  let size = 0;
  const handle = await open(path, 'wx', FILE_MODE);
  try {
    await using _closed = handle;
    for await (const chunk of chunks) {
      size += chunk.length;
      if (size > maxBytes) throw new TooLargeError(`more than ${maxBytes} bytes`);
      hash.update(chunk);
      await handle.appendFile(chunk);
    }
    await handle.sync();
  } catch (cause) {
    await rm(path, { force: true });
    throw cause;
  }
  return { path, sha256: hash.digest('hex'), size };
}
