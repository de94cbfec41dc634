import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLogger } from '../../src/lib/logger.ts';
import { withClient } from '../../src/storage/connection.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/storage/embedded.ts';
import { createPipeline } from '../../src/storage/pipeline.ts';
import { sql } from '../../src/storage/sql.ts';
import { getWorkingDirectory, listProcesses } from '../support/processes.ts';

const isRoot = process.getuid?.() === 0;
let base: string;
let dataDir: string;
let running: EmbeddedPostgres[] = [];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'hammerhead-embedded-'));
  chmodSync(base, 0o711);
  dataDir = join(base, 'data');
});
afterEach(async () => {
  for (const server of running) await server[Symbol.asyncDispose]();
  running = [];
  rmSync(base, { recursive: true, force: true });
});

async function start(folder: string = dataDir): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDir: folder, logger: silentLogger, durable: false });
  running.push(server);
  return server;
}

const ask = (server: { readonly url: string }, text: string) =>
  withClient(server.url, async (client) => (await client.query({ text, rowMode: 'array' })).rows);

const workers = (): number[] => {
  const folder = join(dataDir, 'postgresql', 'data');
  return listProcesses()
    .filter(({ pid }) => getWorkingDirectory(pid) === folder)
    .map(({ pid }) => pid);
};

describe('embedded PostgreSQL', () => {
  test('makes a database, listens on no network, keeps its log and its data', async () => {
    const first = await start();
    assert.deepEqual(await ask(first, 'show listen_addresses'), [['']]);
    assert.deepEqual(await ask(first, 'show data_checksums'), [['on']]);
    await ask(first, 'create table kept as select 1 as x');
    assert.match(readFileSync(join(dataDir, 'logs', 'postgresql.log'), 'utf8'), /ready to accept connections/);
    assert.equal(statSync(join(dataDir, 'postgresql', 'run')).mode & 0o777, 0o700);
    await first[Symbol.asyncDispose]();
    assert.deepEqual(workers(), []);
    const second = await start();
    assert.deepEqual(await ask(second, 'select x from kept'), [[1]]);
  });

  test('comes back after every process was killed, also when its process id is somebody else now', async () => {
    const killed = await startElsewhere();
    await ask(killed, 'create table kept as select 1 as x');
    killed.kill();
    for (const pid of workers()) killIfThere(pid);
    while (workers().length > 0) await sleep(10);
    const pidFile = join(dataDir, 'postgresql', 'data', 'postmaster.pid');
    const [, ...lines] = readFileSync(pidFile, 'utf8').split('\n');
    const owner = statSync(pidFile);
    writeFileSync(pidFile, [String(process.ppid), ...lines].join('\n'));
    chownSync(pidFile, owner.uid, owner.gid);
    const second = await start();
    assert.deepEqual(await ask(second, 'select x from kept'), [[1]]);
  });

  test('leaves the PostgreSQL of a running server alone, and takes over that of a killed one', async () => {
    const first = await startElsewhere();
    const pipeline = await createPipeline({ connection: first.url });
    await assert.rejects(start(), /another server already runs on this database/);
    await pipeline.transaction((tx) => tx.query(sql`select 1`));
    await pipeline[Symbol.asyncDispose]();
    first.kill();
    const orphans = workers();
    const second = await start();
    assert.ok(orphans.length > 0 && !orphans.includes(second.pid ?? 0));
    assert.deepEqual(await ask(second, 'select 1'), [[1]]);
  });

  test('is started again when it dies', async () => {
    const server = await start();
    const before = server.pid;
    if (before !== undefined) process.kill(before, 'SIGKILL');
    for (let tries = 0; tries < 500 && (server.pid === before || !(await answers(server))); tries++) await sleep(20);
    assert.notEqual(server.pid, before);
    assert.deepEqual(await ask(server, 'select 1'), [[1]]);
  });

  test('a start that was killed while it made the database leaves nothing in the way', async () => {
    mkdirSync(join(dataDir, 'postgresql', 'data.new-abc'), { recursive: true });
    writeFileSync(join(dataDir, 'postgresql', 'data.new-abc', 'PG_VERSION'), '18\n');
    chmodSync(dataDir, 0o711);
    await start();
    assert.deepEqual(
      readdirSync(join(dataDir, 'postgresql')).filter((name) => name.startsWith('data.new-')),
      [],
    );
  });

  test('refuses the data of another major version, and says what to do', async () => {
    mkdirSync(join(dataDir, 'postgresql', 'data'), { recursive: true });
    chmodSync(dataDir, 0o711);
    writeFileSync(join(dataDir, 'postgresql', 'data', 'PG_VERSION'), '13\n');
    await assert.rejects(start(), /was made by PostgreSQL 13, and this Hammerhead brings PostgreSQL \d+.*pg_upgrade/);
  });

  test('works where the path is too long for a socket, and removes the short folder afterwards', async () => {
    const deep = join(base, 'x'.repeat(100), 'data');
    mkdirSync(join(base, 'x'.repeat(100)));
    const server = await start(deep);
    assert.deepEqual(await ask(server, 'select 1'), [[1]]);
    const folder = new URL(server.url).searchParams.get('host') ?? '';
    assert.ok(folder.length < 100 && existsSync(folder));
    await server[Symbol.asyncDispose]();
    assert.equal(existsSync(folder), false);
  });

  test('as root: names the folder that the unprivileged user cannot pass', { skip: !isRoot }, async () => {
    const closed = join(base, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    await assert.rejects(start(join(closed, 'data')), (cause: Error) => {
      assert.ok(cause.message.includes(`can't pass through ${closed}.`), cause.message);
      return true;
    });
  });

  test('as root: runs as somebody else, and keeps the owner of existing data', { skip: !isRoot }, async () => {
    const first = await start();
    const data = join(dataDir, 'postgresql', 'data');
    assert.notEqual(statSync(data).uid, 0);
    assert.equal(statSync(`/proc/${first.pid}`).uid, statSync(data).uid);
  });
});

async function answers(server: EmbeddedPostgres): Promise<boolean> {
  return ask(server, 'select 1').then(
    () => true,
    () => false,
  );
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended with the one before it
  }
}

interface Elsewhere {
  readonly url: string;
  /** SIGKILL for the server's process; its PostgreSQL stays. */
  kill(): void;
}

/** Starts it from another process, which can be killed. */
async function startElsewhere(): Promise<Elsewhere> {
  const code = `
    import { startEmbeddedPostgres } from ${JSON.stringify(import.meta.resolve('../../src/storage/embedded.ts'))};
    import { silentLogger } from ${JSON.stringify(import.meta.resolve('../../src/lib/logger.ts'))};
    const dataDir = ${JSON.stringify(dataDir)};
    const server = await startEmbeddedPostgres({ dataDir, logger: silentLogger });
    console.log(server.url);
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  return { url: String(line).trim(), kill: () => void child.kill('SIGKILL') };
}
