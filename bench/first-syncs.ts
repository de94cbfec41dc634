/**
 * The first sync of many users at once, each in the same rooms with the same members: what a server meets when it comes
 * back, and the grid by which others were compared (SBRC 2026, doi 10.5753/sbrc.2026.19722).
 *
 *   node bench/first-syncs.ts [--users 200] [--rooms 300] [--members 300] [--scratch DIR]
 *
 * Prints seconds until each user had the answer, the longest time for which the event loop stood still, how long at most
 * its thread was at work without a look at anything else, and memory.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { findFreePort, startServer } from '../test/support/server-process.ts';
import { type Account, type Api, createApi } from './lib/api.ts';
import { createHttpClient } from './lib/client.ts';
import { runLoad } from './lib/load.ts';
import { createMeter } from './lib/meter.ts';
import { startPostgres } from './lib/postgres.ts';
import { seedRooms } from './lib/seed.ts';
import { longestTurn, recordTurns, watchStalls } from './lib/stalls.ts';
import { summarize } from './lib/stats.ts';
import { formatFigure, formatMegabytes, formatTable } from './lib/table.ts';

const { values: options } = parseArgs({
  options: {
    users: { type: 'string', default: '200' },
    rooms: { type: 'string', default: '300' },
    members: { type: 'string', default: '300' },
    scratch: { type: 'string', default: join(tmpdir(), 'hammerhead-bench-first-syncs') },
  },
});
const [users, rooms, members] = [Number(options.users), Number(options.rooms), Number(options.members)];
if (users > members) throw new Error('every user is one of the members');

const AT_ONCE = 8;
const MESSAGES = 20;
/** What is written down next is of the server's start. */
const TURNS_SETTLE_MS = 300;

/** As the paper's: a timeline of one or five events with lazily loaded members, ten with all of them, twenty with few. */
const FILTERS = [
  { title: 'timeline of 1, members lazily', filter: toFilter(1, true) },
  { title: 'timeline of 5, members lazily', filter: toFilter(5, true) },
  { title: 'timeline of 10, all members', filter: toFilter(10, false) },
  { title: 'timeline of 20, members lazily', filter: toFilter(20, true) },
];

function toFilter(limit: number, isLazy: boolean): string {
  return JSON.stringify({ room: { timeline: { limit }, state: { lazy_load_members: isLazy } } });
}

const scratch = resolve(options.scratch);
rmSync(scratch, { recursive: true, force: true });
mkdirSync(join(scratch, 'server'), { recursive: true });
chmodSync(scratch, 0o755);
await using stack = new AsyncDisposableStack();
const postgres = stack.use(await startPostgres(join(scratch, 'postgres')));
await postgres.recreateDatabase('hammerhead');
const turns = join(scratch, 'turns');
recordTurns(turns);
const databaseUrl = postgres.url('hammerhead');
const metricsPort = await findFreePort();
const server = stack.use(
  await startServer({
    directory: join(scratch, 'server'),
    config: { database: { url: databaseUrl }, metrics: { enabled: true, port: metricsPort } },
  }),
);
const http = createHttpClient(server.url);
stack.defer(() => http.close());
const api = createApi(http, {});
const accounts = await populate(api);
const rows: string[][] = [];
for (const { title, filter } of FILTERS) {
  await server.stop();
  await server.start();
  rows.push([title, ...(await measure(filter))]);
}
console.log(`${users} users at once x ${rooms} rooms x ${members} members`);
console.log(formatTable(['first sync', 'p50 s', 'last s', 'longest stall ms', 'longest work ms', 'RSS MB'], rows));

async function populate(api: Api): Promise<readonly Account[]> {
  const found: Account[] = [];
  // The seeded members are named so: these can log in.
  await runLoad({ operations: users, atOnce: AT_ONCE }, async (index) => {
    found[index] = await api.register(`member${index + 1}`);
  });
  const owner = await api.register('owner');
  const roomIds: string[] = [];
  await runLoad({ operations: rooms, atOnce: AT_ONCE }, async (index) => {
    roomIds[index] = await api.createRoom(owner, { preset: 'public_chat', name: `Room ${index}` });
  });
  await server.stop();
  const { serverName } = server;
  const events = members + MESSAGES;
  await seedRooms(
    databaseUrl,
    roomIds.map((roomId, index) => ({ roomId, number: index + 1, serverName, events, members })),
  );
  await server.start();
  return found;
}

async function measure(filter: string): Promise<readonly string[]> {
  const seconds: number[] = [];
  const stalls = watchStalls(`http://127.0.0.1:${metricsPort}/metrics`);
  const since = Date.now() + TURNS_SETTLE_MS;
  await Promise.all(
    accounts.map(async (account) => {
      const start = performance.now();
      const { timelines } = await api.sync(account, { filter, timeoutMs: 0 });
      if (timelines.size !== rooms) throw new Error(`${timelines.size} rooms instead of ${rooms}`);
      seconds.push((performance.now() - start) / 1000);
    }),
  );
  const longest = await stalls.end();
  const work = longestTurn(turns, since);
  const { p50, max } = summarize(seconds);
  // The server's process is another after each restart.
  const { serverPeakBytes } = createMeter([server.pid ?? 0]).readMemory();
  return [...[p50, max, longest, work].map(formatFigure), formatMegabytes(serverPeakBytes)];
}
