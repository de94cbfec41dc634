/**
 * What requests cost in PostgreSQL when the database is large: 1,000,000 events and 100,000 memberships, one room with a
 * fifth of both, a user who is in all rooms. Every statement is executed under auto_explain.
 *
 *   node bench/explain.ts [--rooms 800] [--events 1000000] [--memberships 100000] [--scratch DIR]
 *
 * Prints for each request its statements, their time, and the rows that they read and gave; below, each statement that
 * read a large table from end to end or many times more rows than it gave.
 */
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { listAt, textAt } from '../test/support/json.ts';
import { startServer } from '../test/support/server-process.ts';
import { type Account, createApi } from './lib/api.ts';
import { createHttpClient } from './lib/client.ts';
import { runLoad } from './lib/load.ts';
import { type ExecutedPlan, explainEverything, readPlans } from './lib/plans.ts';
import { startPostgres } from './lib/postgres.ts';
import { seedAccounts, seedRooms } from './lib/seed.ts';
import { formatFigure, formatTable } from './lib/table.ts';

const { values: options } = parseArgs({
  options: {
    rooms: { type: 'string', default: '800' },
    events: { type: 'string', default: '1000000' },
    memberships: { type: 'string', default: '100000' },
    scratch: { type: 'string', default: join(tmpdir(), 'hammerhead-bench-explain') },
  },
});
const [rooms, events, memberships] = [Number(options.rooms), Number(options.events), Number(options.memberships)];

/** Of everything, in one room. */
const LARGE_SHARE = 0.2;
/** A table that may be read from end to end. */
const SMALL_TABLE = 5_000;
/** How many times more than it gives a statement may read, above so many rows. */
const MAX_WASTE = 20;
const MUCH = 2_000;
/** Plans are written when a statement ends, answers may come before. */
const SETTLE_MS = 400;
const CLIENT = '/_matrix/client/v3';

const scratch = resolve(options.scratch);
rmSync(scratch, { recursive: true, force: true });
mkdirSync(join(scratch, 'server'), { recursive: true });
chmodSync(scratch, 0o755);
await using stack = new AsyncDisposableStack();
const postgres = stack.use(await startPostgres(join(scratch, 'postgres')));
const logPath = join(scratch, 'postgres.log');
await postgres.recreateDatabase('hammerhead');
const databaseUrl = postgres.url('hammerhead');
const server = stack.use(
  await startServer({ directory: join(scratch, 'server'), config: { database: { url: databaseUrl } } }),
);
const http = createHttpClient(server.url);
stack.defer(() => http.close());
const api = createApi(http, {});

const admin = await api.register('admin');
const user = await api.register('member1');
const roomIds = await createRooms(admin);
await fill(roomIds);
const [largeRoom = '', smallRoom = ''] = roomIds;
const inLarge = `${CLIENT}/rooms/${encodeURIComponent(largeRoom)}`;
const inSmall = `${CLIENT}/rooms/${encodeURIComponent(smallRoom)}`;
const get = (path: string, by: Account = user) => http.call({ method: 'GET', path, token: by.token });
const send = (method: 'POST' | 'PUT', path: string, body: object = {}) =>
  http.call({ method, path, token: user.token, body });
let count = 0;
const sendMessage = (roomId: string) =>
  api.sendMessage(user, roomId, { txnId: `explain${count++}`, body: 'a needle in the hay' });

const summary: string[][] = [];
const suspicious: string[][] = [];
await explain('first sync of all rooms, cold', () => api.sync(user, { timeoutMs: 0 }));
await explain('the same, warm', () => api.sync(user, { timeoutMs: 0 }));
const { nextBatch } = await api.sync(user, { timeoutMs: 0 });
await explain('a message into the large room', () => sendMessage(largeRoom));
for (const roomId of roomIds.slice(0, 50)) await sendMessage(roomId);
await explain('incremental sync, from memory', () => api.sync(user, { timeoutMs: 0, since: nextBatch }));
await server.stop();
await server.start();
await explain('incremental sync after a restart', () => api.sync(user, { timeoutMs: 0, since: nextBatch }));
let page: unknown;
await explain('/messages, newest page', async () => {
  page = await get(`${inLarge}/messages?dir=b&limit=100`);
});
await explain('/messages, next page', () =>
  get(`${inLarge}/messages?dir=b&limit=100&from=${encodeURIComponent(textAt(page, 'end'))}`),
);
const middle = textAt(listAt(page, 'chunk')[50], 'event_id');
await explain('/context', () => get(`${inLarge}/context/${encodeURIComponent(middle)}?limit=20`));
await explain('/event', () => get(`${inLarge}/event/${encodeURIComponent(middle)}`));
await explain('/relations', () =>
  get(`/_matrix/client/v1/rooms/${encodeURIComponent(largeRoom)}/relations/${encodeURIComponent(middle)}`),
);
await explain('/threads', () => get(`/_matrix/client/v1/rooms/${encodeURIComponent(largeRoom)}/threads`));
await explain('/timestamp_to_event', () =>
  get(`/_matrix/client/v1/rooms/${encodeURIComponent(largeRoom)}/timestamp_to_event?ts=1700000100000&dir=f`),
);
await explain('/members', () => get(`${inLarge}/members`));
await explain('/state', () => get(`${inLarge}/state`));
await explain('/joined_rooms', () => get(`${CLIENT}/joined_rooms`));
await explain('/search', () =>
  send('POST', `${CLIENT}/search`, { search_categories: { room_events: { search_term: 'needle' } } }),
);
await explain('/user_directory/search', () =>
  send('POST', `${CLIENT}/user_directory/search`, { search_term: 'member77', limit: 10 }),
);
await explain('/publicRooms', () => get(`${CLIENT}/publicRooms?limit=50`));
await explain('a read receipt', () => send('POST', `${inLarge}/receipt/m.read/${encodeURIComponent(middle)}`));
await explain('/notifications', () => get(`${CLIENT}/notifications?limit=50`));
await explain('leaving', () => send('POST', `${inSmall}/leave`));
await explain('joining', () => send('POST', `${inSmall}/join`));
await explain('createRoom', () => api.createRoom(user, { preset: 'private_chat' }));
await explain('a display name in all rooms', async () => {
  await send('PUT', `${CLIENT}/profile/${encodeURIComponent(user.userId)}/displayname`, { displayname: 'New' });
  await sleep(5_000);
});
await explain('admin: rooms by members', () => get('/_hammerhead/v0/admin/rooms?sort=members&limit=50', admin));
await explain('admin: users', () => get('/_hammerhead/v0/admin/users?limit=100', admin));

console.log(`${events} events, ${memberships} memberships, ${roomIds.length} rooms`);
console.log(formatTable(['request', 'statements', 'ms in PostgreSQL', 'rows read', 'rows given'], summary));
console.log(suspicious.length === 0 ? '\nNothing reads more than it needs.' : '\nTo look at:');
if (suspicious.length > 0) console.log(formatTable(['request', 'ms', 'rows read', 'given', 'statement'], suspicious));

async function createRooms(owner: Account): Promise<readonly string[]> {
  const created: string[] = [];
  await runLoad({ operations: rooms + 1, atOnce: 8 }, async (index) => {
    created[index] = await api.createRoom(owner, { preset: 'public_chat', name: `Room ${index}` });
  });
  return created;
}

async function fill(ids: readonly string[]): Promise<void> {
  await server.stop();
  const { serverName } = server;
  const share = (all: number): number => Math.floor((all * (1 - LARGE_SHARE)) / rooms);
  await seedAccounts(databaseUrl, memberships * LARGE_SHARE);
  await seedRooms(
    databaseUrl,
    ids.map((roomId, index) => ({
      roomId,
      number: index + 1,
      serverName,
      events: index === 0 ? events * LARGE_SHARE : share(events),
      members: index === 0 ? memberships * LARGE_SHARE : share(memberships),
    })),
  );
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  for (const statement of explainEverything('hammerhead')) await client.query(statement);
  await client.end();
  await server.start();
}

async function explain(title: string, request: () => Promise<unknown>): Promise<void> {
  const from = await settle();
  await request();
  await settle();
  const plans = readPlans(readFileSync(logPath).subarray(from).toString());
  const sum = (of: (plan: ExecutedPlan) => number): number => plans.reduce((total, plan) => total + of(plan), 0);
  summary.push([
    title,
    String(plans.length),
    formatFigure(sum(({ milliseconds }) => milliseconds)),
    String(sum(({ read }) => read)),
    String(sum(({ given }) => given)),
  ]);
  for (const plan of plans.filter(isSuspicious)) {
    const { milliseconds, read, given, statement } = plan;
    suspicious.push([title, formatFigure(milliseconds), String(read), String(given), statement.slice(0, 160)]);
  }
}

/** Waits until nothing more is written, and gives the size of the log. */
async function settle(): Promise<number> {
  for (let size = -1; ; ) {
    const { size: now } = statSync(logPath);
    if (now === size) return size;
    size = now;
    await sleep(SETTLE_MS);
  }
}

function isSuspicious({ read, given, wholeTables }: ExecutedPlan): boolean {
  return wholeTables.some(({ rows }) => rows > SMALL_TABLE) || (read > MUCH && read > given * MAX_WASTE);
}
