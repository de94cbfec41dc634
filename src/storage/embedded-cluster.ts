/**
 * What a data folder of PostgreSQL says about itself: its version, and the process that runs on it. PostgreSQL guards the
 * folder by postmaster.pid, which outlives a SIGKILL; when a process id has been given to somebody else since, PostgreSQL
 * would refuse to start for ever, so that case is told apart here.
 */
import { readdir, readFile, readlink, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EmbeddedPostgresError } from './embedded-user.ts';

export interface RunningPostgres {
  readonly pid: number;
  readonly socketFolder: string;
  readonly port: number;
}

const POLL_MS = 20;

/** The content of PG_VERSION ("18"), or undefined where there is no database yet. */
export function readClusterVersion(dataFolder: string): Promise<string | undefined> {
  return readOptional(join(dataFolder, 'PG_VERSION')).then((text) => text?.trim());
}

/** The postmaster that postmaster.pid names, if it lives and works on this very folder. */
export async function findRunning(dataFolder: string): Promise<RunningPostgres | undefined> {
  const file = await readPidFile(dataFolder);
  return file !== undefined && (await worksOn(file.pid, dataFolder)) ? file : undefined;
}

/**
 * Removes what a killed PostgreSQL left behind and another process's id would keep alive. Never touches the pid file
 * while any process still works on the folder: PostgreSQL then has to see it.
 */
export async function clearStaleFiles(dataFolder: string): Promise<void> {
  const stale = await readPidFile(dataFolder);
  if (stale === undefined || !isAlive(stale.pid) || (await listWorkers(dataFolder)).length > 0) return;
  await rm(join(dataFolder, 'postmaster.pid'), { force: true });
  const socket = join(stale.socketFolder, `.s.PGSQL.${stale.port}`);
  if (dirname(socket) === stale.socketFolder) {
    await rm(socket, { force: true });
    await rm(`${socket}.lock`, { force: true });
  }
}

/** Waits until no process works on the folder, as the children of a killed postmaster still do for a moment. */
export async function waitUntilUnused(dataFolder: string, timeoutMs: number): Promise<void> {
  for (let waited = 0; ; waited += POLL_MS) {
    const workers = await listWorkers(dataFolder);
    if (workers.length === 0) return;
    if (waited >= timeoutMs) {
      throw new EmbeddedPostgresError(
        `${dataFolder} is still in use by a PostgreSQL that does not stop (process ${workers.join(', ')})`,
      );
    }
    await sleep(POLL_MS);
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return cause instanceof Error && 'code' in cause && cause.code === 'EPERM';
  }
}

async function readPidFile(dataFolder: string): Promise<RunningPostgres | undefined> {
  const lines = (await readOptional(join(dataFolder, 'postmaster.pid')))?.split('\n');
  if (lines === undefined) return undefined;
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  return { pid, port: Number(lines[3] ?? 0), socketFolder: lines[4] ?? '' };
}

/** Every PostgreSQL process changes into its data folder; where there is no /proc, a living process has to do. */
async function worksOn(pid: number, dataFolder: string): Promise<boolean> {
  if (process.platform !== 'linux') return isAlive(pid);
  return (await workingFolder(pid)) === dataFolder;
}

async function listWorkers(dataFolder: string): Promise<readonly number[]> {
  if (process.platform !== 'linux') return [];
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const folders = await Promise.all(pids.map(workingFolder));
  return pids.filter((_, index) => folders[index] === dataFolder);
}

function workingFolder(pid: number): Promise<string | undefined> {
  return readlink(`/proc/${pid}/cwd`).catch(() => undefined);
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw cause;
  }
}
