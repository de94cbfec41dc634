/**
 * The longest time for which a server's event loop stood still, as its metrics tell: they start anew with each reading. And
 * the longest for which its thread was at work meanwhile, which is what the server itself has to do with it.
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const SCRAPE_MS = 500;

/** Has servers that are started from now on write into the folder how long their turns are. */
export function recordTurns(folder: string): void {
  mkdirSync(folder, { recursive: true });
  process.env['BENCH_TURNS'] = folder;
  process.env['NODE_OPTIONS'] = `--import=${join(import.meta.dirname, '../turns.ts')}`;
}

/** Milliseconds of its own time that the longest turn since then took. */
export function longestTurn(folder: string, since: number): number {
  const lines = readdirSync(folder).flatMap((file) => readFileSync(join(folder, file), 'utf8').trim().split('\n'));
  const turns = lines.map((line) => line.split(',').map(Number));
  return Math.max(0, ...turns.map(([at = 0, longest = 0]) => (at >= since ? longest : 0)));
}

export function watchStalls(metricsUrl: string): { end(): Promise<number> } {
  let longest = 0;
  const read = async (): Promise<void> => {
    const answer = await fetch(metricsUrl);
    const found = /^nodejs_eventloop_lag_max_seconds ([\d.e-]+)$/m.exec(await answer.text());
    longest = Math.max(longest, Number(found?.[1] ?? 0) * 1000);
  };
  let reading = read().then(() => {
    longest = 0;
  });
  const timer = setInterval(() => {
    reading = reading.then(read);
  }, SCRAPE_MS);
  return {
    /** Milliseconds since the watch began. */
    async end() {
      clearInterval(timer);
      await reading;
      await read();
      return longest;
    },
  };
}
