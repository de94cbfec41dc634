/**
 * Media files between the media folder and a backup. They are named by the SHA-256 of their content and never change, so
 * they can be copied while the server runs; one that was deleted meanwhile is counted as missing.
 */
import { constants, createReadStream } from 'node:fs';
import { copyFile, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { OperatorError } from '../../lib/operator-error.ts';
import type { ProgressLine } from '../progress-line.ts';
import { hashFile } from './files.ts';

export interface MediaCounts {
  readonly files: number;
  readonly bytes: number;
  readonly missing: number;
}

export interface MediaCopy {
  /** The list of files, as it lies in the backup. */
  readonly list: string;
  readonly from: string;
  readonly to: string;
  /** How many the list has. */
  readonly total: number;
  readonly progress: ProgressLine;
}

interface ListedFile {
  readonly sha256: string;
  readonly size: number;
}

/** Copies every file of the list, as a clone where the file system can. */
export async function copyMedia({ list, from, to, total, progress }: MediaCopy): Promise<MediaCounts> {
  let [files, bytes, missing] = [0, 0, 0];
  for await (const { sha256, size } of readMediaList(list)) {
    if (await copyOne(pathOf(from, sha256), pathOf(to, sha256))) bytes += size;
    else missing += 1;
    files += 1;
    progress.show({ label: 'media files', done: files, total });
  }
  return { files, bytes, missing };
}

/** Reads every file and throws at the first whose content is not what its name says. */
export async function checkMedia({ list, from, total, progress }: Omit<MediaCopy, 'to'>): Promise<MediaCounts> {
  let [files, bytes, missing] = [0, 0, 0];
  for await (const { sha256 } of readMediaList(list)) {
    const path = pathOf(from, sha256);
    const found = await ignoreMissing(hashFile(path));
    if (found === undefined) missing += 1;
    else if (found.sha256 !== sha256) throw new OperatorError(`the backup is damaged: ${path} is not what was saved`);
    else bytes += found.bytes;
    files += 1;
    progress.show({ label: 'checking media files', done: files, total });
  }
  return { files, bytes, missing };
}

/** How many files the list has, and how many bytes. */
export async function countMedia(list: string): Promise<Omit<MediaCounts, 'missing'>> {
  let [files, bytes] = [0, 0];
  for await (const { size } of readMediaList(list)) {
    files += 1;
    bytes += size;
  }
  return { files, bytes };
}

async function* readMediaList(list: string): AsyncGenerator<ListedFile> {
  for await (const line of createInterface({ input: createReadStream(list) })) {
    const [sha256 = '', size] = line.split('\t');
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw new OperatorError(`${list}: a line names no file`);
    yield { sha256, size: Number(size) };
  }
}

/** As the media repository places them: two levels of 256 folders. */
function pathOf(root: string, sha256: string): string {
  return join(root, sha256.slice(0, 2), sha256.slice(2, 4), sha256);
}

/** Under another name until it is whole. False where there is no such file. */
async function copyOne(from: string, to: string): Promise<boolean> {
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  const unfinished = `${to}.unfinished`;
  const copied = await ignoreMissing(copyFile(from, unfinished, constants.COPYFILE_FICLONE).then(() => true));
  if (copied === undefined) {
    await rm(unfinished, { force: true });
    return false;
  }
  await flush(unfinished);
  await rename(unfinished, to);
  return true;
}

async function flush(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}

function ignoreMissing<T>(work: Promise<T>): Promise<T | undefined> {
  return work.catch((cause: unknown) => {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw cause;
  });
}
