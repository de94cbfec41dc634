/**
 * Loaded into a server by `--import`: writes down how much of its own processor time the thread used between two looks at
 * the clock. On a machine that is short of cores the event loop also stands still because the thread waits for one; this
 * tells the two apart. Lines of `Unix milliseconds, longest in milliseconds`, into BENCH_TURNS/<pid>.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';

const LOOK_EVERY_MS = 5;
const WRITE_EVERY_MS = 250;

const folder = process.env['BENCH_TURNS'];
if (folder !== undefined) watch(join(folder, String(process.pid)));

function watch(path: string): void {
  let longest = 0;
  let last = readCpuMs();
  const look = setInterval(() => {
    const now = readCpuMs();
    longest = Math.max(longest, now - last);
    last = now;
  }, LOOK_EVERY_MS);
  const write = setInterval(() => {
    appendFileSync(path, `${Date.now()},${longest}\n`);
    longest = 0;
  }, WRITE_EVERY_MS);
  look.unref();
  write.unref();
}

function readCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
