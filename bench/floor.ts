/**
 * The floor: the least that a Node homeserver could do for a message, as a yardstick for what ours does on top. It
 * parses the request, hashes and signs the event, inserts it into one table together with all that waited while the
 * last COMMIT ran, and answers. No rules, no state, no sync; accounts, rooms and joins are made up on the spot.
 *
 *   node bench/floor.ts [--port 8009] [--database-url postgres://...]
 *
 * Without a URL it runs PostgreSQL in a temporary folder of its own.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from 'pg';
import { startPostgres } from './lib/postgres.ts';

interface Row {
  readonly eventId: string;
  readonly roomId: string;
  readonly pdu: string;
}

const SERVER_NAME = 'floor';
const KEY_ID = 'ed25519:floor';
const SEND_PATH = /^\/_matrix\/client\/v3\/rooms\/([^/]+)\/send\/([^/]+)\/([^/?]+)/;
const CREATE_TABLE = `create table if not exists floor_events
  (event_id text collate "C" primary key, room_id text collate "C" not null, pdu text not null)`;
const INSERT = 'insert into floor_events select * from unnest($1::text[], $2::text[], $3::text[])';

const { values: options } = parseArgs({
  options: { port: { type: 'string', default: '8009' }, 'database-url': { type: 'string' } },
});
const stack = new AsyncDisposableStack();
const database = new Client({ connectionString: options['database-url'] ?? (await startOwnPostgres(stack)) });
await database.connect();
await database.query(CREATE_TABLE);
const insert = createGroupCommit(database);
const { privateKey } = generateKeyPairSync('ed25519');
const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => {
    response.writeHead(500).end(String(error));
  });
});
server.listen(Number(options.port), '127.0.0.1');
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void close());

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await readJson(request);
  const path = request.url ?? '';
  const send = SEND_PATH.exec(path);
  if (send !== null) return reply(response, { event_id: await storeEvent(send, body) });
  if (path.endsWith('/register')) {
    const token = randomBytes(8).toString('hex');
    return reply(response, { user_id: `@${token}:${SERVER_NAME}`, access_token: token });
  }
  if (path.endsWith('/createRoom')) return reply(response, { room_id: `!${randomBytes(16).toString('base64url')}` });
  if (path.includes('/join/')) return reply(response, { room_id: decodeURIComponent(path.split('/').at(-1) ?? '') });
  return reply(response, { versions: ['v1.11'] });
}

async function storeEvent([, room = '', type = '']: RegExpExecArray, content: unknown): Promise<string> {
  const roomId = decodeURIComponent(room);
  const event = {
    auth_events: [randomId(), randomId(), randomId()],
    content,
    depth: 7,
    origin_server_ts: Date.now(),
    prev_events: [randomId()],
    room_id: roomId,
    sender: `@sender:${SERVER_NAME}`,
    type: decodeURIComponent(type),
  };
  const hashed = { ...event, hashes: { sha256: hash(canonicalJson(event)) } };
  // The event as redaction leaves it is what is signed, and what its id is the hash of.
  const redacted = canonicalJson({ ...hashed, content: {} });
  const eventId = `$${hash(redacted)}`;
  const pdu = canonicalJson({ ...hashed, signatures: { [SERVER_NAME]: { [KEY_ID]: signText(redacted, privateKey) } } });
  await insert({ eventId, roomId, pdu });
  return eventId;
}

/** Inserts each row together with all those that came while the last statement, a transaction by itself, ran. */
function createGroupCommit(client: Client): (row: Row) => Promise<void> {
  let waiting: { row: Row; done: PromiseWithResolvers<void> }[] = [];
  let isRunning = false;
  const drain = async (): Promise<void> => {
    isRunning = true;
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      const columns = [({ eventId }: Row) => eventId, ({ roomId }: Row) => roomId, ({ pdu }: Row) => pdu];
      const values = columns.map((column) => batch.map(({ row }) => column(row)));
      try {
        await client.query({ name: 'insert', text: INSERT, values });
        for (const { done } of batch) done.resolve();
      } catch (error) {
        for (const { done } of batch) done.reject(error);
      }
    }
    isRunning = false;
  };
  return (row) => {
    const done = Promise.withResolvers<void>();
    waiting.push({ row, done });
    if (!isRunning) void drain();
    return done.promise;
  };
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`;
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

function reply(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

function signText(text: string, key: KeyObject): string {
  return sign(null, Buffer.from(text), key).toString('base64');
}

function randomId(): string {
  return `$${randomBytes(32).toString('base64url')}`;
}

async function startOwnPostgres(resources: AsyncDisposableStack): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'floor-'));
  chmodSync(directory, 0o755);
  resources.defer(() => rmSync(directory, { recursive: true, force: true }));
  const postgres = resources.use(await startPostgres(join(directory, 'postgres')));
  return postgres.url('postgres');
}

async function close(): Promise<void> {
  server.close();
  server.closeAllConnections();
  await database.end();
  await stack.disposeAsync();
}
