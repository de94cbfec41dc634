/**
 * Media as files below one folder: `ab/cd/<sha256>`, two levels of 256 folders. A file is written below `tmp`, flushed,
 * renamed, and then its folder is flushed: after a crash a name in its place has its whole content.
 */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Random } from '../lib/random.ts';
import { createSpool, FOLDER_MODE } from './spool.ts';
import { type ByteRange, checkFileName, isFileName, type MediaStore } from './store.ts';

/** Fewer, larger reads: half the system calls of the default. */
const READ_BYTES = 128 * 1024;
const SHARD = /^[0-9a-f]{2}$/;

/** Makes the folders below `rootPath` where they are missing. */
export async function createFileStore(options: {
  readonly rootPath: string;
  readonly random: Random;
}): Promise<MediaStore> {
  const { rootPath, random } = options;
  const spool = await createSpool(join(rootPath, 'tmp'), random);
  return {
    async stage(chunks, maxBytes) {
      const { path, sha256, size } = await spool.write(chunks, maxBytes);
      return {
        sha256,
        size,
        keep: () => moveDurably(path, pathOf(rootPath, sha256)),
        [Symbol.asyncDispose]: () => rm(path, { force: true }),
      };
    },
    open: (sha256, range) => openFile(pathOf(rootPath, sha256), range),
    read: (sha256, range) => readFile(pathOf(rootPath, sha256), range),
    async withLocalFile(sha256, work) {
      const path = pathOf(rootPath, sha256);
      return (await sizeOf(path)) === undefined ? undefined : work(path);
    },
    has: async (sha256) => (await sizeOf(pathOf(rootPath, sha256))) !== undefined,
    delete: (sha256) => unlessMissing(unlink(pathOf(rootPath, sha256))),
    list: () => listFiles(rootPath),
    clearStaging: () => spool.clear(),
    // Whatever is staged belongs to this process.
    clearAbandoned: () => Promise.resolve(0),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function pathOf(rootPath: string, sha256: string): string {
  const name = checkFileName(sha256);
  return join(rootPath, name.slice(0, 2), name.slice(2, 4), name);
}

async function moveDurably(from: string, to: string): Promise<void> {
  const folder = dirname(to);
  const firstMade = await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
  await rename(from, to);
  await syncFolder(folder);
  if (firstMade === undefined) return;
  // New folders are names in their parents, which have to last as well.
  await syncFolder(dirname(folder));
  await syncFolder(dirname(dirname(folder)));
}

async function syncFolder(path: string): Promise<void> {
  await using handle = await open(path, 'r');
  await handle.sync();
}

async function openFile(path: string, range: ByteRange | undefined): Promise<Readable | undefined> {
  const content = createReadStream(path, { highWaterMark: READ_BYTES, ...range });
  return unlessMissing(once(content, 'open').then(() => content));
}

async function readFile(path: string, { start, end }: ByteRange): Promise<Buffer | undefined> {
  const handle = await openExisting(path);
  if (handle === undefined) return undefined;
  try {
    const length = end - start + 1;
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(length), 0, length, start);
    if (bytesRead === length) return buffer;
    throw new Error('a media file is shorter than it was');
  } finally {
    await handle.close();
  }
}

const openExisting = (path: string): Promise<FileHandle | undefined> => unlessMissing(open(path, 'r'));

async function sizeOf(path: string): Promise<number | undefined> {
  return (await unlessMissing(stat(path)))?.size;
}

async function* listFiles(rootPath: string): AsyncGenerator<string> {
  for (const first of await listNames(rootPath, SHARD)) {
    for (const second of await listNames(join(rootPath, first), SHARD)) {
      for (const name of (await readdir(join(rootPath, first, second))).sort()) if (isFileName(name)) yield name;
    }
  }
}

async function listNames(folder: string, pattern: RegExp): Promise<readonly string[]> {
  return (await readdir(folder)).filter((name) => pattern.test(name)).sort();
}

async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw cause;
  }
}
