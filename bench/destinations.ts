/**
 * One message to many servers: a room with a member on each of 500 servers, and a user of ours who speaks in it. Measured
 * against the floor, a process that signs as many requests and posts them with undici, and does nothing else; to the same
 * servers, over connections that are open.
 *
 *   node bench/destinations.ts [--servers 500] [--messages 20] [--scratch DIR]
 *
 * Prints CPU and time until the message is everywhere.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createTestAuthority, federationOnLoopback } from '../test/support/certificates.ts';
import { startServer } from '../test/support/server-process.ts';
import { type Account, type Api, createApi } from './lib/api.ts';
import { tieChild } from './lib/child.ts';
import { createHttpClient } from './lib/client.ts';
import { createMeter } from './lib/meter.ts';
import { startPostgres } from './lib/postgres.ts';
import { summarize } from './lib/stats.ts';
import { formatFigure, formatTable } from './lib/table.ts';
import { startTown } from './lib/town.ts';

const { values: options } = parseArgs({
  options: {
    servers: { type: 'string', default: '500' },
    messages: { type: 'string', default: '20' },
    scratch: { type: 'string', default: join(tmpdir(), 'hammerhead-bench-destinations') },
  },
});
const MESSAGES = Number(options.messages);
/** The first ones open connections. */
const WARM_UP = 3;

const scratch = resolve(options.scratch);
rmSync(scratch, { recursive: true, force: true });
mkdirSync(join(scratch, 'server'), { recursive: true });
chmodSync(scratch, 0o755);
await using stack = new AsyncDisposableStack();
const authority = stack.use(await createTestAuthority());
const town = stack.use(await startTown(authority, Number(options.servers)));
const postgres = stack.use(await startPostgres(join(scratch, 'postgres')));
await postgres.recreateDatabase('hammerhead');
const server = stack.use(
  await startServer({
    directory: join(scratch, 'server'),
    config: {
      database: { url: postgres.url('hammerhead') },
      federation: federationOnLoopback(authority),
    },
  }),
);
const http = createHttpClient(server.url);
stack.defer(() => http.close());
const api = createApi(http, {});
const alice = await api.register('alice');
await api.join(alice, town.roomId, town.serverNames[0]);
const floor = fork(join(import.meta.dirname, 'posting-floor.ts'), [authority.certificatePath], {
  execArgv: [],
  stdio: 'inherit',
});
stack.defer(tieChild(floor, 'SIGKILL'));
floor.send({ serverNames: town.serverNames });

const ours = await measure(server.pid ?? 0, (index) => speak(api, alice, index));
const theirs = await measure(floor.pid ?? 0, (index) => post(floor, index));
console.log(`one message to ${town.serverNames.length} servers, ${MESSAGES} times`);
console.log(formatTable(['', 'CPU ms', 'p50 ms', 'max ms'], [toRow('hammerhead', ours), toRow('the floor', theirs)]));
console.log(`${formatFigure(ours.cpuMs / theirs.cpuMs)} times the CPU of the floor`);

interface Measured {
  /** Of one message. */
  readonly cpuMs: number;
  readonly times: readonly number[];
}

/** Until every server has the message. */
async function measure(pid: number, send: (index: number) => Promise<void>): Promise<Measured> {
  const meter = createMeter([pid]);
  const times: number[] = [];
  let before = meter.read();
  for (let index = 0; index < WARM_UP + MESSAGES; index++) {
    if (index === WARM_UP) before = meter.read();
    const start = performance.now();
    await send(index);
    await town.reached(`message ${index}`);
    times.push(performance.now() - start);
  }
  const cpuMs = (meter.read().serverCpuMs - before.serverCpuMs) / MESSAGES;
  return { cpuMs, times: times.slice(WARM_UP) };
}

async function speak(client: Api, account: Account, index: number): Promise<void> {
  await client.sendMessage(account, town.roomId, { txnId: `${index}`, body: `message ${index}` });
}

async function post(child: ChildProcess, index: number): Promise<void> {
  const posted = once(child, 'message');
  child.send({ body: `message ${index}` });
  await posted;
}

function toRow(title: string, { cpuMs, times }: Measured): readonly string[] {
  const { p50, max } = summarize(times);
  return [title, ...[cpuMs, p50, max].map(formatFigure)];
}
