/**
 * Receiving from another server: transactions of 50 messages over 20 rooms, one after another, as a server sends them, until
 * every message is there for clients. Hammerhead and Synapse, one after the other, each on its own database.
 *
 *   node bench/receive.ts [--messages 2000] [--only hammerhead] [--scratch DIR]
 *
 * Prints messages a second, CPU for one message, and memory.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createTestAuthority, federationOnLoopback, type TestAuthority } from '../test/support/certificates.ts';
import { startServer } from '../test/support/server-process.ts';
import { createApi } from './lib/api.ts';
import { createHttpClient, type HttpClient } from './lib/client.ts';
import { createMeter, subtractCost } from './lib/meter.ts';
import { createPeer, type JoinedRoom, type Peer } from './lib/peer.ts';
import { startPostgres } from './lib/postgres.ts';
import { startSynapse } from './lib/synapse.ts';
import { formatFigure, formatMegabytes, formatTable } from './lib/table.ts';

const { values: options } = parseArgs({
  options: {
    messages: { type: 'string', default: '2000' },
    only: { type: 'string' },
    scratch: { type: 'string', default: join(tmpdir(), 'hammerhead-bench-receive') },
  },
});
const MESSAGES = Number(options.messages);
const ROOMS = 20;
/** https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid */
const PER_TRANSACTION = 50;
const POLL_MS = 10;
const WARM_UP = 200;

interface Target {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
}

const scratch = resolve(options.scratch);
rmSync(join(scratch, 'server'), { recursive: true, force: true });
rmSync(join(scratch, 'postgres'), { recursive: true, force: true });
mkdirSync(join(scratch, 'server'), { recursive: true });
chmodSync(scratch, 0o755);
await using authority = await createTestAuthority();
await using postgres = await startPostgres(join(scratch, 'postgres'));
const rates: number[] = [];
const rows: string[][] = [];
if (options.only !== 'synapse') await measureHammerhead(authority);
if (options.only !== 'hammerhead') await measureSynapse(authority);
console.log(`${MESSAGES} messages in ${ROOMS} rooms, ${PER_TRANSACTION} a transaction`);
console.log(formatTable(['server', 'per second', 'CPU ms', 'PostgreSQL ms', 'RSS MB'], rows));
const [ours = 0, theirs] = rates;
if (theirs !== undefined) console.log(`${formatFigure(ours / theirs)} times the rate`);

async function measureHammerhead({ certificatePath }: TestAuthority): Promise<void> {
  await postgres.recreateDatabase('hammerhead');
  const federation = federationOnLoopback({ certificatePath });
  const config = { database: { url: postgres.url('hammerhead') }, federation };
  await using server = await startServer({ directory: join(scratch, 'server'), config });
  await measure({ name: 'hammerhead', url: server.url, pid: server.pid ?? 0 });
}

async function measureSynapse({ certificatePath }: TestAuthority): Promise<void> {
  await using server = await startSynapse(join(scratch, 'synapse'), postgres, { certificatePath });
  await measure({ name: `synapse ${server.version}`, ...server });
}

async function measure(target: Target): Promise<void> {
  await using peer = await createPeer(authority, { url: target.url, serverName: 'localhost' });
  const http = createHttpClient(target.url);
  const api = createApi(http, {});
  const alice = await api.register('alice');
  const rooms: JoinedRoom[] = [];
  for (let index = 0; index < ROOMS; index++) {
    rooms.push(await peer.join(await api.createRoom(alice, { preset: 'public_chat', room_version: '11' })));
  }
  await sendAll({ peer, rooms, http, token: alice.token }, WARM_UP);
  const meter = createMeter([target.pid, postgres.pid]);
  const before = meter.read();
  const start = performance.now();
  await sendAll({ peer, rooms, http, token: alice.token }, MESSAGES);
  const seconds = (performance.now() - start) / 1000;
  const cost = subtractCost(meter.read(), before);
  rates.push(MESSAGES / seconds);
  rows.push([
    target.name,
    formatFigure(MESSAGES / seconds),
    formatFigure(cost.serverCpuMs / MESSAGES),
    formatFigure(cost.postgresCpuMs / MESSAGES),
    formatMegabytes(meter.readMemory().serverBytes),
  ]);
  await http.close();
}

interface Sending {
  readonly peer: Peer;
  readonly rooms: readonly JoinedRoom[];
  readonly http: HttpClient;
  readonly token: string;
}

/** Until the last message of each room can be read. */
async function sendAll({ peer, rooms, http, token }: Sending, count: number): Promise<void> {
  // Signed beforehand: what the sender costs is not measured.
  const pdus = Array.from({ length: count }, (_, index) => rooms[index % rooms.length]?.message(`message ${index}`));
  const signed = pdus.filter((pdu) => pdu !== undefined);
  for (let from = 0; from < signed.length; from += PER_TRANSACTION) {
    await peer.send(signed.slice(from, from + PER_TRANSACTION));
  }
  for (const { roomId, newest } of rooms) {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(newest)}`;
    while ((await http.send({ method: 'GET', path, token })).status !== 200) await sleep(POLL_MS);
  }
}
