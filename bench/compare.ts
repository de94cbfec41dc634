/**
 * Measures Hammerhead, the floor and Synapse one after another on this machine, and prints one table with the ratios.
 *
 *   node bench/compare.ts [--quick] [--only hammerhead,floor,synapse] [--scenario NAME,...] [--out FILE] [--scratch DIR]
 *
 * Machines, and hours on one machine, differ by a factor of two and more: only the ratios of one run count. Synapse is
 * installed from PyPI into the scratch folder, which is kept for the next run. fsync is on for all three.
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { findFreePort, startServer, waitUntilReady } from '../test/support/server-process.ts';
import { createApi } from './lib/api.ts';
import type { Result } from './lib/bench.ts';
import { tieChild } from './lib/child.ts';
import { createHttpClient } from './lib/client.ts';
import { type Contender, formatComparison } from './lib/comparison.ts';
import { startPostgres } from './lib/postgres.ts';
import { runScenarios, SEND_SCENARIOS } from './lib/scenarios.ts';
import { startSynapse } from './lib/synapse.ts';
import { toRow } from './lib/table.ts';

interface Target {
  readonly url: string;
  /** The server's process, and its database's where it is not the server's child. */
  readonly pids: readonly number[];
  readonly version?: string;
}

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: 'floor,hammerhead,synapse' },
    scenario: { type: 'string', default: '' },
    out: { type: 'string', default: join(import.meta.dirname, 'results/comparison.md') },
    scratch: { type: 'string', default: join(tmpdir(), 'hammerhead-bench') },
  },
});
const scratch = resolve(options.scratch);
const names = splitList(options.scenario);
const starters: Record<string, (stack: AsyncDisposableStack) => Promise<Target>> = {
  floor: startFloor,
  hammerhead: startHammerhead,
  synapse: startSynapseTarget,
};
const running = new AsyncDisposableStack();
const interrupted = Promise.withResolvers<never>();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => interrupted.reject(new Error(`ended by ${signal}`)));
}
try {
  await Promise.race([compare(), interrupted.promise]);
} finally {
  await running.disposeAsync();
}

async function compare(): Promise<void> {
  mkdirSync(scratch, { recursive: true });
  chmodSync(scratch, 0o755);
  const contenders: Contender[] = [];
  for (const name of splitList(options.only)) {
    // The floor only takes messages in.
    const scenarios = name === 'floor' ? SEND_SCENARIOS.filter(isWanted) : names;
    if (name !== 'floor' || scenarios.length > 0) contenders.push(await measure(name, scenarios));
  }
  const report = formatComparison(contenders, describeMachine());
  mkdirSync(resolve(options.out, '..'), { recursive: true });
  writeFileSync(options.out, report);
  console.log(report);
}

function describeMachine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown';
  return `${cpus().length} cores (${model}), ${Math.round(totalmem() / 1024 ** 3)} GB`;
}

async function measure(name: string, scenarios: readonly string[]): Promise<Contender> {
  const start = starters[name];
  if (start === undefined) throw new Error(`${name} is none of ${Object.keys(starters).join(', ')}`);
  // Held by the process as a whole too, so that a signal ends what runs just now.
  const stack = running.use(new AsyncDisposableStack());
  const target = await start(stack);
  const http = createHttpClient(target.url);
  const results: Result[] = [];
  try {
    await runScenarios({
      api: createApi(http, {}),
      pids: target.pids,
      names: scenarios,
      isQuick: options.quick,
      onResult(result) {
        results.push(result);
        process.stderr.write(`${name}: ${toRow(result).slice(0, 7).join('  ')}\n`);
      },
    });
  } finally {
    await http.close();
    await stack.disposeAsync();
  }
  return { name: target.version === undefined ? name : `${name} ${target.version}`, results };
}

async function startHammerhead(stack: AsyncDisposableStack): Promise<Target> {
  const directory = join(scratch, 'hammerhead');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const server = stack.use(await startServer({ directory }));
  if (server.pid === undefined) throw new Error('no process');
  return { url: server.url, pids: [server.pid] };
}

async function startFloor(stack: AsyncDisposableStack): Promise<Target> {
  const postgres = stack.use(await startPostgres(join(scratch, 'postgres')));
  await postgres.recreateDatabase('floor');
  const port = await findFreePort();
  const script = join(import.meta.dirname, 'floor.ts');
  const child = spawn(process.execPath, [script, '--port', String(port), '--database-url', postgres.url('floor')], {
    stdio: 'inherit',
  });
  stack.defer(tieChild(child, 'SIGKILL'));
  const url = `http://127.0.0.1:${port}`;
  await waitUntilReady(url, child);
  return { url, pids: [child.pid ?? 0, postgres.pid] };
}

async function startSynapseTarget(stack: AsyncDisposableStack): Promise<Target> {
  const postgres = stack.use(await startPostgres(join(scratch, 'postgres')));
  const synapse = stack.use(await startSynapse(join(scratch, 'synapse'), postgres));
  return { url: synapse.url, pids: [synapse.pid, postgres.pid], version: synapse.version };
}

function isWanted(scenario: string): boolean {
  return names.length === 0 || names.includes(scenario);
}

function splitList(text: string): string[] {
  return text.split(',').filter((part) => part !== '');
}
