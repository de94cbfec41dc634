/**
 * Measures the media repository of a Hammerhead of its own, each time against the least that the same work can cost here:
 *
 *   media-download  GET of files from disk, against Node's own HTTP server with a file stream for each request
 *   media-purge     a purge of many small media by the admin API, against unlinking as many files and deleting as many
 *                   rows in one statement
 *
 *   node bench/media.ts [--quick] [--scenario media-download,media-purge] [--scratch DIR]
 *
 * Both sides run one after the other on the same disk and PostgreSQL; only their ratio counts.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { Pool } from 'undici';
import { findEmbeddedUrl } from '../src/storage/embedded.ts';
import { textAt } from '../test/support/json.ts';
import { findFreePort, type ServerProcess, startServer, waitUntilReady } from '../test/support/server-process.ts';
import { tieChild } from './lib/child.ts';
import { runLoad } from './lib/load.ts';
import { createMeter } from './lib/meter.ts';
import { formatFigure, formatTable } from './lib/table.ts';

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    scenario: { type: 'string', default: 'media-download,media-purge' },
    scratch: { type: 'string', default: tmpdir() },
  },
});
const KIB = 1024;
const SIZES = [
  { name: '16 KB', bytes: 16 * KIB, downloads: 8_000 },
  { name: '1 MB', bytes: 1024 * KIB, downloads: 1_500 },
  { name: '16 MB', bytes: 16 * 1024 * KIB, downloads: 120 },
] as const;
const DOWNLOADS_AT_ONCE = 8;
const PURGED = options.quick ? 1_000 : 10_000;
const PURGED_BYTES = 2 * KIB;
const UPLOADS_AT_ONCE = 16;
const PASSWORD = 'bench-Correct.Horse-7#Battery~Staple';

interface Target {
  readonly pool: Pool;
  readonly headers: Readonly<Record<string, string>>;
  readonly pid: number;
}

const directory = mkdtempSync(join(options.scratch, 'hammerhead-media-'));
chmodSync(directory, 0o755);
try {
  const scenarios = options.scenario.split(',');
  await using server = await startServer({ directory, config: { media_repo: { max_upload_size: '64MB' } } });
  const pool = new Pool(server.url, { connections: 64 });
  const target: Target = { pool, headers: await authorize(pool), pid: server.pid ?? 0 };
  if (scenarios.includes('media-download')) await measureDownloads(target);
  if (scenarios.includes('media-purge')) await measurePurge(server, target);
  await pool.destroy();
} finally {
  rmSync(directory, { recursive: true, force: true });
}

/** The first account administers. */
async function authorize(pool: Pool): Promise<Readonly<Record<string, string>>> {
  const body = { username: 'bench', password: PASSWORD, auth: { type: 'm.login.dummy' } };
  const answer = await pool.request({
    method: 'POST',
    path: '/_matrix/client/v3/register',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { authorization: `Bearer ${textAt(await answer.body.json(), 'access_token')}` };
}

async function upload({ pool, headers }: Target, body: Buffer): Promise<string> {
  const answer = await pool.request({ method: 'POST', path: '/_matrix/media/v3/upload', headers, body });
  return textAt(await answer.body.json(), 'content_uri').replace('mxc://', '');
}

async function measureDownloads(target: Target): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const floor = await startFloor(stack);
  const rows: string[][] = [];
  for (const { name, bytes, downloads } of SIZES) {
    const content = randomBytes(bytes);
    writeFileSync(join(directory, 'floor', 'file'), content);
    const path = `/_matrix/client/v1/media/download/${await upload(target, content)}`;
    const load = { bytes, operations: options.quick ? Math.ceil(downloads / 5) : downloads };
    // Each once in vain, for the compiler and the disk's cache.
    for (const isMeasured of [false, true]) {
      const ours = await download(target, path, load);
      const least = await download(floor, '/file', load);
      if (isMeasured) rows.push([name, ...ours.cells, ...least.cells, `${(ours.rate / least.rate).toFixed(2)}x`]);
    }
  }
  const columns = ['per second', 'MB/s', 'CPU ms'];
  console.log(formatTable(['media-download', ...columns, ...columns.map((name) => `floor ${name}`), 'ratio'], rows));
}

async function startFloor(stack: AsyncDisposableStack): Promise<Target> {
  const folder = join(directory, 'floor');
  mkdirSync(folder);
  writeFileSync(join(folder, 'ready'), '');
  const port = await findFreePort();
  const script = join(import.meta.dirname, 'media-floor.ts');
  const child = spawn(process.execPath, [script, folder, String(port)], { stdio: 'inherit' });
  stack.defer(tieChild(child, 'SIGKILL'));
  const url = `http://127.0.0.1:${port}`;
  await waitUntilReady(`${url}/ready`, child);
  const pool = new Pool(url, { connections: 64 });
  stack.defer(() => pool.destroy());
  return { pool, headers: {}, pid: child.pid ?? 0 };
}

async function download(
  { pool, headers, pid }: Target,
  path: string,
  { bytes, operations }: { readonly bytes: number; readonly operations: number },
): Promise<{ rate: number; cells: string[] }> {
  const meter = createMeter([pid]);
  const before = meter.read();
  const start = performance.now();
  await runLoad({ operations, atOnce: DOWNLOADS_AT_ONCE }, async () => {
    const { statusCode, body } = await pool.request({ method: 'GET', path, headers });
    let received = 0;
    for await (const chunk of body) received += chunk.length;
    if (statusCode !== 200 || received !== bytes) throw new Error(`${path}: ${statusCode}, ${received} bytes`);
  });
  const rate = operations / ((performance.now() - start) / 1000);
  const cpu = (meter.read().serverCpuMs - before.serverCpuMs) / operations;
  return { rate, cells: [formatFigure(rate), formatFigure((rate * bytes) / 1e6), formatFigure(cpu)] };
}

async function measurePurge(server: ServerProcess, target: Target): Promise<void> {
  const connectionString = (await findEmbeddedUrl(join(server.directory, 'data'))) ?? '';
  const database = new Client({ connectionString });
  await database.connect();
  await runLoad({ operations: PURGED, atOnce: UPLOADS_AT_ONCE }, () => upload(target, randomBytes(PURGED_BYTES)));
  const floors = [join(directory, 'data/media-floor-1'), join(directory, 'data/media-floor-2')].map(makeFiles);
  for (const [index] of floors.entries()) {
    await database.query(`create table bench_media_${index} (like media including all)`);
    await database.query(
      `insert into bench_media_${index} select * from media where user_id is not null limit ${PURGED}`,
    );
  }
  await database.query('vacuum analyze');
  const deleteAll = async (index: number): Promise<number> => {
    const start = performance.now();
    for (const path of floors[index] ?? []) unlinkSync(path);
    await database.query(`delete from bench_media_${index}`);
    return performance.now() - start;
  };

  // Before and after, of which the better counts: the disk's moods are longer than either.
  const before = await deleteAll(0);
  const start = performance.now();
  const answer = await target.pool.request({
    method: 'POST',
    path: '/_hammerhead/v0/admin/media/purge',
    headers: { ...target.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ user: '@bench:localhost' }),
    headersTimeout: 0,
  });
  const counted = await answer.body.text();
  const ours = performance.now() - start;
  const after = await deleteAll(1);
  await database.end();

  const times = [ours, before, after].map((time) => `${formatFigure(time)} ms`);
  const ratio = `${(ours / Math.min(before, after)).toFixed(2)}x`;
  const header = ['media-purge', 'ours', 'floor before', 'floor after', 'ratio'];
  console.log(`${counted}\n${formatTable(header, [[String(PURGED), ...times, ratio]])}`);
}

/** As many files as media, in folders like theirs. */
function makeFiles(root: string): readonly string[] {
  return Array.from({ length: PURGED }, () => {
    const content = randomBytes(PURGED_BYTES);
    const name = createHash('sha256').update(content).digest('hex');
    const folder = join(root, name.slice(0, 2), name.slice(2, 4));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, name), content, { flush: true });
    return join(folder, name);
  });
}
