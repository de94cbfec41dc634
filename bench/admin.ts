/**
 * What administration costs on a large server, and what it costs everybody else; docs/benchmarks.md says more.
 *
 *   node bench/admin.ts [--only list,delete] [--accounts 1000000] [--events 100000] [--members 5000] [--rounds 3]
 *                       [--scratch DIR]
 *
 * list:   a page of 1,000 accounts of a million, against a page of 1,000 of 2,000
 * delete: sends by 16 senders in rooms of their own, alone and while a room with 100,000 events and 5,000 members is
 *         deleted
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { at, listAt } from '../test/support/json.ts';
import { type ServerProcess, startServer } from '../test/support/server-process.ts';
import { type Account, type Api, createApi } from './lib/api.ts';
import { createHttpClient, type HttpClient } from './lib/client.ts';
import { runLoad } from './lib/load.ts';
import { startPostgres } from './lib/postgres.ts';
import { seedAccounts, seedRooms } from './lib/seed.ts';
import { summarize } from './lib/stats.ts';
import { formatFigure, formatTable } from './lib/table.ts';

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: 'list,delete' },
    accounts: { type: 'string', default: '1000000' },
    events: { type: 'string', default: '100000' },
    members: { type: 'string', default: '5000' },
    rounds: { type: 'string', default: '3' },
    scratch: { type: 'string', default: join(tmpdir(), 'hammerhead-bench-admin') },
  },
});

const FEW_ACCOUNTS = 2_000;
const PAGE = 1_000;
const PAGES = 200;
const SENDERS = 16;
/** Of sends alone, before and after. */
const ALONE_MS = 8_000;
const WARM_UP_SENDS = 500;

interface Running {
  readonly server: ServerProcess;
  readonly databaseUrl: string;
  readonly http: HttpClient;
  readonly api: Api;
  readonly admin: Account;
}

const scratch = resolve(options.scratch);
rmSync(scratch, { recursive: true, force: true });
mkdirSync(scratch, { recursive: true });
mkdirSync(join(scratch, 'server'));
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
const running: Running = { server, databaseUrl, http, api, admin: await api.register('admin') };
const wanted = options.only.split(',');
if (wanted.includes('list')) await measureLists(running);
if (wanted.includes('delete')) await measureDeletion(running);

async function measureLists({ http, admin, databaseUrl }: Running): Promise<void> {
  const rows: string[][] = [];
  const p50: number[] = [];
  for (const accounts of [FEW_ACCOUNTS, Number(options.accounts)]) {
    await seedAccounts(databaseUrl, accounts);
    const samples: number[] = [];
    await runLoad(
      { operations: PAGES, atOnce: 1 },
      async (index) => {
        const since = accounts - Math.floor(((accounts - PAGE) * index) / PAGES);
        const path = `/_hammerhead/v0/admin/users?limit=${PAGE}&since=${since}`;
        const found = listAt(await http.call({ method: 'GET', path, token: admin.token }), 'chunk').length;
        if (found < PAGE - 1) throw new Error(`${found} accounts instead of ${PAGE}`);
      },
      (milliseconds) => samples.push(milliseconds),
    );
    const latencies = summarize(samples);
    p50.push(latencies.p50);
    rows.push([accounts.toLocaleString('en'), formatFigure(latencies.p50), formatFigure(latencies.p99)]);
  }
  console.log(formatTable([`a page of ${PAGE} of so many accounts`, 'p50 ms', 'p99 ms'], rows));
  console.log(`ratio of the medians: ${formatFigure((p50[1] ?? 0) / (p50[0] ?? 1))}`);
}

interface Rate {
  readonly perSecond: number;
  readonly p99: number;
  readonly seconds: number;
}

/** Several rooms, one after another, since other work on the machine comes and goes. */
async function measureDeletion(running: Running): Promise<void> {
  const { server, databaseUrl, api, admin } = running;
  const accounts = await Promise.all(Array.from({ length: SENDERS }, (_, index) => api.register(`sender${index}`)));
  const senders = await Promise.all(
    accounts.map(async (account) => ({ account, roomId: await api.createRoom(account, {}) })),
  );
  const [events, members] = [Number(options.events), Number(options.members)];
  const doomed: string[] = [];
  for (let number = 1; number <= Number(options.rounds); number++) {
    doomed.push(await api.createRoom(admin, { preset: 'public_chat', name: `Large ${number}` }));
  }
  await server.stop();
  const { serverName } = server;
  const rooms = doomed.map((roomId, index) => ({ roomId, number: index + 1, serverName, events, members }));
  await seedRooms(databaseUrl, rooms);
  await server.start();

  let sent = 0;
  const send = (_index: number, worker: number): Promise<unknown> => {
    const sender = senders[worker];
    if (sender === undefined) throw new Error(`no sender ${worker}`);
    return api.sendMessage(sender.account, sender.roomId, { txnId: `m${sent++}`, body: 'While a room is deleted.' });
  };
  await runLoad({ operations: WARM_UP_SENDS, atOnce: SENDERS }, send);
  const rates = [await sendUntil(send, sleep(ALONE_MS))];
  for (const roomId of doomed) {
    rates.push(await sendUntil(send, deleteRoom(running, { roomId, members })));
    rates.push(await sendUntil(send, sleep(ALONE_MS)));
  }
  const rows = rates.map(({ perSecond, seconds, p99 }, index) => [
    index % 2 === 0 ? 'alone' : 'while a room is deleted',
    formatFigure(perSecond),
    formatFigure(p99),
    formatFigure(seconds),
  ]);
  console.log(formatTable(['sends, 16 rooms', 'per second', 'p99 ms', 'seconds'], rows));
  const kept = doomed.map((_, index) => shareKept(rates, 2 * index + 1));
  console.log(`kept of their rate: ${formatFigure(summarize(kept).p50)} (${kept.map(formatFigure).join(', ')})`);
}

/** Against the mean of what was before and after. */
function shareKept(rates: readonly Rate[], index: number): number {
  const [before, during, after] = [rates[index - 1], rates[index], rates[index + 1]];
  if (before === undefined || during === undefined || after === undefined) throw new Error('nothing to compare with');
  return (2 * during.perSecond) / (before.perSecond + after.perSecond);
}

async function deleteRoom(
  { http, admin }: Running,
  { roomId, members }: { readonly roomId: string; readonly members: number },
): Promise<void> {
  const { token } = admin;
  const path = `/_hammerhead/v0/admin/rooms/${encodeURIComponent(roomId)}`;
  await http.call({ method: 'DELETE', path, token, body: {} });
  const jobs = await http.call({ method: 'GET', path: '/_hammerhead/v0/admin/jobs?state=done&limit=1', token });
  const left = Number(at(jobs, 'chunk', 0, 'progress', 'members_left'));
  if (left !== members + 1) throw new Error(`${left} members left instead of ${members + 1}`);
}

async function sendUntil(
  send: (index: number, worker: number) => Promise<unknown>,
  end: Promise<unknown>,
): Promise<Rate> {
  let isOver = false;
  const noteEnd = end.finally(() => {
    isOver = true;
  });
  const samples: number[] = [];
  const start = performance.now();
  const work = async (worker: number): Promise<void> => {
    while (!isOver) {
      const before = performance.now();
      await send(0, worker);
      samples.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: SENDERS }, (_, worker) => work(worker)));
  await noteEnd;
  const seconds = (performance.now() - start) / 1000;
  return { perSecond: samples.length / seconds, seconds, p99: summarize(samples).p99 };
}
