/** Room on the disks of data and media. */
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Config } from '../../config/load.ts';
import { showBytes } from '../admin/output.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const CHECK = 'disk';
const REMEDY = 'make room, or move the folder to a larger disk (data_dir, media_repo.root_path)';
/** PostgreSQL stops when it can't write its log of 16 MB pieces. */
const FAIL_BELOW = 200_000_000;
/** A day of a busy server, or a backup's worth of a small one. */
const WARN_BELOW = 2_000_000_000;
/** A disk without free names is full as well. */
const WARN_BELOW_INODES = 0.05;

export interface Space {
  readonly free: number;
  /** Names that can still be made, of all; undefined where the file system does not count them. */
  readonly freeInodes: number | undefined;
}

export async function checkDisks({ dataDir, mediaRepo }: Config): Promise<readonly Finding[]> {
  const folders = [...new Set([dataDir, mediaRepo.rootPath])];
  const findings = await Promise.all(
    folders.map(async (folder) => judgeSpace(folder, await measure(await findExisting(folder)))),
  );
  return findings;
}

export function judgeSpace(folder: string, { free, freeInodes }: Space): Finding {
  const message = `${showBytes(free)} free for ${folder}`;
  if (free < FAIL_BELOW) return fail(CHECK, message, REMEDY);
  if (free < WARN_BELOW) return warn(CHECK, message, REMEDY);
  if (freeInodes !== undefined && freeInodes < WARN_BELOW_INODES) {
    return warn(CHECK, `${Math.round(freeInodes * 100)} % of the disk's inodes are free for ${folder}`, REMEDY);
  }
  return ok(CHECK, message);
}

async function measure(folder: string): Promise<Space> {
  const { bavail, bsize, files, ffree } = await statfs(folder);
  return { free: bavail * bsize, freeInodes: files > 0 ? ffree / files : undefined };
}

/** The folder itself, or the nearest above it: it is made at the first start. */
async function findExisting(folder: string): Promise<string> {
  const isThere = await stat(folder).then(
    () => true,
    () => false,
  );
  return isThere || folder === dirname(folder) ? folder : findExisting(dirname(folder));
}
