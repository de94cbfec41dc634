/**
 * Which version this is: stamped into a package by tools/build.ts, asked of git in a checkout.
 */

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseJsonText } from './parse-json.ts';

export interface BuildInfo {
  /** As in package.json: "0.1.0". */
  readonly version: string;
  /** Unix milliseconds of the build; in a checkout, of the commit. */
  readonly buildDate: number;
  /** Abbreviated; empty where there is no git. */
  readonly commitHash: string;
  /** Whether files differed from the commit. */
  readonly dirty: boolean;
  readonly latestTag: string;
  /** The commit's own tag, or empty. */
  readonly taggedVersion: string;
  /** "v0.1.0", or "v0.1.0-dev+gc6a5ea0" between releases. */
  readonly short: string;
  /** Everything in one line, for reports. */
  readonly full: string;
  /** "linux/amd64". */
  readonly osArch: string;
  /** "node26.10.0": the admin API calls this field `go_version`. */
  readonly runtime: string;
}

/** What a build stamps: the rest follows from it and from the process. */
export type BuildStamp = Pick<
  BuildInfo,
  'version' | 'buildDate' | 'commitHash' | 'dirty' | 'latestTag' | 'taggedVersion'
>;

const ROOT = new URL('../../', import.meta.url);
const STAMP = new URL('../build-info.json', import.meta.url);

export async function loadBuildInfo(): Promise<BuildInfo> {
  const stamp = (await readStamp()) ?? (await readGit());
  const short = `v${stamp.version}${stamp.taggedVersion === '' ? '-dev' : ''}${describeCommit(stamp)}`;
  const date = new Date(stamp.buildDate).toISOString().slice(0, 19).replaceAll('-', '.').replaceAll(':', '.');
  const runtime = `node${process.versions.node}`;
  const osArch = `${process.platform}/${ARCHITECTURES[process.arch] ?? process.arch}`;
  const full = `${short}${stamp.dirty ? '+dirty' : ''}+d${date}Z+${runtime}@${osArch}`;
  return { ...stamp, short, full, runtime, osArch };
}

/** Go's names, which the admin API uses. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

function describeCommit({ commitHash, taggedVersion }: BuildStamp): string {
  return commitHash === '' || taggedVersion !== '' ? '' : `+g${commitHash}`;
}

async function readStamp(): Promise<BuildStamp | undefined> {
  try {
    const stamp = parseJsonText(await readFile(STAMP, 'utf8')) as BuildStamp;
    return stamp;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw cause;
  }
}

/** For a checkout, and for the build that stamps a package. */
export async function readGit(): Promise<BuildStamp> {
  const { version } = parseJsonText(await readFile(new URL('package.json', ROOT), 'utf8')) as { version: string };
  const [commitHash, date, status, latestTag, taggedVersion] = await Promise.all([
    git('rev-parse', '--short', 'HEAD'),
    git('log', '-1', '--format=%ct'),
    git('status', '--porcelain', '--untracked-files=no'),
    git('describe', '--tags', '--abbrev=0'),
    git('describe', '--tags', '--exact-match'),
  ]);
  const buildDate = Number(date) * 1000;
  return { version, commitHash, buildDate, dirty: status !== '', latestTag, taggedVersion };
}

/** Git's answer, or an empty text: no git, no repository, no tag. */
function git(...options: readonly string[]): Promise<string> {
  const folder = fileURLToPath(ROOT);
  return promisify(execFile)('git', ['--git-dir', `${folder}.git`, '--work-tree', folder, ...options]).then(
    ({ stdout }) => stdout.trim(),
    () => '',
  );
}
