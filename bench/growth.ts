/**
 * How costs grow: a send into rooms of more and more local members, and an empty sync of users in more and more rooms.
 * Each size is measured several times, turn and turn about, and the medians are compared: machines are noisy.
 *
 *   node bench/growth.ts [--members 10,1000,10000] [--rooms 10,500,5000] [--rounds 5] [--scratch DIR]
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startServer } from '../test/support/server-process.ts';
import { type Account, type Api, createApi } from './lib/api.ts';
import { createHttpClient } from './lib/client.ts';
import { runLoad } from './lib/load.ts';
import { createMeter, type Meter, subtractCost } from './lib/meter.ts';
import { startPostgres } from './lib/postgres.ts';
import { seedRooms } from './lib/seed.ts';
import { summarize } from './lib/stats.ts';
import { formatFigure, formatTable } from './lib/table.ts';

const { values: options } = parseArgs({
  options: {
    members: { type: 'string', default: '10,1000,10000' },
    rooms: { type: 'string', default: '10,500,5000' },
    rounds: { type: 'string', default: '5' },
    scratch: { type: 'string', default: join(tmpdir(), 'hammerhead-bench-growth') },
  },
});

const SENDS = 1_000;
const SYNCS = 2_000;
const SENDERS = 8;
const ROOMS_AT_ONCE = 8;
const WARM_UP = 200;

/** One thing that is measured at several sizes. */
interface Subject {
  readonly size: number;
  readonly operations: number;
  operate(index: number): Promise<unknown>;
}

const scratch = resolve(options.scratch);
rmSync(scratch, { recursive: true, force: true });
mkdirSync(join(scratch, 'server'), { recursive: true });
chmodSync(scratch, 0o755);
await using stack = new AsyncDisposableStack();
const postgres = stack.use(await startPostgres(join(scratch, 'postgres')));
await postgres.recreateDatabase('hammerhead');
const databaseUrl = postgres.url('hammerhead');
const server = stack.use(
  await startServer({ directory: join(scratch, 'server'), config: { database: { url: databaseUrl } } }),
);
const http = createHttpClient(server.url);
stack.defer(() => http.close());
const api = createApi(http, {});

const sending = await prepareRooms(api);
const syncing = await prepareAccounts(api);
const meter = createMeter([server.pid ?? 0, postgres.pid]);
await report('a send into a room with so many local members', sending, meter);
await report('an empty sync of a user in so many rooms', syncing, meter);

async function prepareRooms(api: Api): Promise<readonly Subject[]> {
  const sizes = toNumbers(options.members);
  const owner = await api.register('owner');
  const rooms: { readonly roomId: string; readonly size: number }[] = [];
  for (const size of sizes) {
    rooms.push({ roomId: await api.createRoom(owner, { preset: 'public_chat', name: `${size}` }), size });
  }
  await server.stop();
  const { serverName } = server;
  await seedRooms(
    databaseUrl,
    rooms.map(({ roomId, size }, index) => ({ roomId, number: index + 1, serverName, events: size, members: size })),
  );
  await server.start();
  let sent = 0;
  return rooms.map(({ roomId, size }) => ({
    size,
    operations: SENDS,
    operate: () => api.sendMessage(owner, roomId, { txnId: `g${sent++}`, body: 'How much does it grow?' }),
  }));
}

async function prepareAccounts(api: Api): Promise<readonly Subject[]> {
  const subjects: Subject[] = [];
  for (const size of toNumbers(options.rooms)) {
    const account: Account = await api.register(`user-in-${size}`);
    await runLoad({ operations: size, atOnce: ROOMS_AT_ONCE }, () => api.createRoom(account, {}));
    let { nextBatch: since } = await api.sync(account, { timeoutMs: 0 });
    const operate = async (): Promise<void> => {
      // As clients do: what later accounts did makes no token old.
      since = (await api.sync(account, { since, timeoutMs: 0 })).nextBatch;
    };
    subjects.push({ size, operations: SYNCS, operate });
  }
  return subjects;
}

async function report(title: string, subjects: readonly Subject[], meter: Meter): Promise<void> {
  const samples = new Map<Subject, { readonly p50: number; readonly cpu: number }[]>();
  for (const subject of subjects) await runLoad({ operations: WARM_UP, atOnce: SENDERS }, subject.operate);
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const subject of subjects) {
      const latencies: number[] = [];
      const before = meter.read();
      const load = { operations: subject.operations, atOnce: SENDERS };
      await runLoad(load, subject.operate, (milliseconds) => latencies.push(milliseconds));
      const { serverCpuMs, postgresCpuMs } = subtractCost(meter.read(), before);
      const measured = { p50: summarize(latencies).p50, cpu: (serverCpuMs + postgresCpuMs) / subject.operations };
      samples.set(subject, [...(samples.get(subject) ?? []), measured]);
    }
  }
  const medians = subjects.map((subject) => {
    const ofSubject = samples.get(subject) ?? [];
    return {
      size: subject.size,
      p50: summarize(ofSubject.map(({ p50 }) => p50)).p50,
      cpu: summarize(ofSubject.map(({ cpu }) => cpu)).p50,
    };
  });
  const [smallest] = medians;
  const rows = medians.map(({ size, p50, cpu }) => [
    size.toLocaleString('en'),
    formatFigure(p50),
    formatFigure(p50 / (smallest?.p50 ?? p50)),
    formatFigure(cpu),
    formatFigure(cpu / (smallest?.cpu ?? cpu)),
  ]);
  console.log(`${formatTable([title, 'p50 ms', 'times', 'CPU ms', 'times'], rows)}\n`);
}

function toNumbers(list: string): number[] {
  return list.split(',').map(Number);
}
