/**
 * Joining a large room of another server that answers at once: what our side of a join costs, with all members in the answer
 * and without; and what Synapse's costs, in the smallest of the rooms.
 *
 *   node bench/remote-join.ts [--members 2000,10000] [--only hammerhead] [--scratch DIR]
 *
 * Prints seconds until the join was answered and until all members were here, the longest time for which the event loop
 * stood still, memory, and the floor: how long the signatures alone take, checked as the server checks them.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createVerifyPool } from '../src/federation/verify-pool.ts';
import { createEvent } from '../src/protocol/event.ts';
import type { EventId, UserId } from '../src/protocol/ids.ts';
import type { JsonObject, Pdu } from '../src/protocol/pdu.ts';
import { redactPdu } from '../src/protocol/redaction.ts';
import { hashAndSignEvent } from '../src/protocol/sign-event.ts';
import { signedText } from '../src/protocol/signing.ts';
import { createTestAuthority, federationOnLoopback } from '../test/support/certificates.ts';
import { type ScriptedResident, startScriptedResident } from '../test/support/scripted-resident.ts';
import { findFreePort, startServer } from '../test/support/server-process.ts';
import { type Account, createApi } from './lib/api.ts';
import { createHttpClient } from './lib/client.ts';
import { createMeter } from './lib/meter.ts';
import { startPostgres } from './lib/postgres.ts';
import { watchStalls } from './lib/stalls.ts';
import { startSynapse } from './lib/synapse.ts';
import { formatFigure, formatMegabytes, formatTable } from './lib/table.ts';

const { values: options } = parseArgs({
  options: {
    members: { type: 'string', default: '2000,10000' },
    only: { type: 'string' },
    scratch: { type: 'string', default: join(tmpdir(), 'hammerhead-bench-remote-join') },
  },
});
const scratch = resolve(options.scratch);
rmSync(join(scratch, 'server'), { recursive: true, force: true });
rmSync(join(scratch, 'postgres'), { recursive: true, force: true });
mkdirSync(join(scratch, 'server'), { recursive: true });
chmodSync(scratch, 0o755);
await using stack = new AsyncDisposableStack();
const postgres = stack.use(await startPostgres(join(scratch, 'postgres')));
await postgres.recreateDatabase('hammerhead');
const metricsPort = await findFreePort();
const authority = stack.use(await createTestAuthority());
const server = stack.use(
  await startServer({
    directory: join(scratch, 'server'),
    config: {
      database: { url: postgres.url('hammerhead') },
      metrics: { enabled: true, port: metricsPort },
      federation: federationOnLoopback(authority),
    },
  }),
);
const http = createHttpClient(server.url);
stack.defer(() => http.close());
const api = createApi(http, {});
const account = await api.register('alice');
const counts = options.members.split(',').map(Number);
const rows: string[][] = [];
for (const members of counts) {
  for (const omitsMembers of [false, true]) {
    await using resident = await startScriptedResident(authority);
    const measured = await measure(account, resident, { members, omitsMembers });
    rows.push(['hammerhead', String(members), omitsMembers ? 'later' : 'at once', ...measured]);
  }
}
if (options.only !== 'hammerhead') rows.push(...(await measureSynapse(Math.min(...counts))));
const columns = ['members', 'given', 'usable s', 'whole s', 'signatures s', 'longest stall ms', 'RSS MB', 'peak MB'];
console.log(formatTable(['server', ...columns], rows));

interface Wanted {
  readonly members: number;
  readonly omitsMembers: boolean;
}

async function measureSynapse(members: number): Promise<readonly string[][]> {
  const { certificatePath } = authority;
  await using synapse = await startSynapse(join(scratch, 'synapse'), postgres, { certificatePath });
  const client = createHttpClient(synapse.url);
  stack.defer(() => client.close());
  const user = await createApi(client, {}).register('alice');
  const found: string[][] = [];
  for (const omitsMembers of [false, true]) {
    await using resident = await startScriptedResident(authority);
    const floor = await prepare(resident, { members, omitsMembers });
    const { usable, whole } = await enter(synapse.url, user, resident);
    const { serverBytes, serverPeakBytes } = createMeter([synapse.pid]).readMemory();
    const times = [usable, whole, floor].map(formatFigure);
    const memory = [serverBytes, serverPeakBytes].map(formatMegabytes);
    found.push([
      `synapse ${synapse.version}`,
      String(members),
      omitsMembers ? 'later' : 'at once',
      ...times,
      '',
      ...memory,
    ]);
  }
  return found;
}

async function measure(user: Account, resident: ScriptedResident, wanted: Wanted): Promise<readonly string[]> {
  const floor = await prepare(resident, wanted);
  await server.stop();
  await server.start();
  const stalls = watchStalls(`http://127.0.0.1:${metricsPort}/metrics`);
  const { usable, whole } = await enter(server.url, user, resident);
  const longest = await stalls.end();
  const { serverBytes, serverPeakBytes } = createMeter([server.pid ?? 0]).readMemory();
  return [
    ...[usable, whole, floor, longest].map(formatFigure),
    formatMegabytes(serverBytes),
    formatMegabytes(serverPeakBytes),
  ];
}

/** Fills the room; gives how many seconds its signatures take. */
async function prepare(resident: ScriptedResident, { members, omitsMembers }: Wanted): Promise<number> {
  const { room, server: peer } = resident;
  const state = [...room.stateAfter(room.newest).values()].map(({ pdu }) => pdu);
  const all = [...state, ...createMembers(resident, members)];
  const given = omitsMembers ? state.filter(({ type }) => type !== 'm.room.member') : all;
  const omitted = omitsMembers ? { members_omitted: true, servers_in_room: [peer.serverName] } : {};
  const text = JSON.stringify({ auth_chain: state, state: given, ...omitted });
  resident.answer = () => text;
  const idsOf = (pdus: readonly Pdu[]): readonly string[] => pdus.map((pdu) => createEvent(pdu, room.version).eventId);
  const ids = { pdu_ids: idsOf(all), auth_chain_ids: idsOf(state) };
  resident.giveState = (answer) => (answer['pdu_ids'] === undefined ? { pdus: all, auth_chain: state } : ids);
  return measureSignatures(resident, all);
}

/** Joins; gives the seconds until that was answered, and until all members were. */
async function enter(url: string, { token }: Account, { room, server: peer }: ScriptedResident) {
  const roomId = encodeURIComponent(room.roomId);
  const headers = { authorization: `Bearer ${token}` };
  const ask = async (method: string, path: string, body: string | null): Promise<void> => {
    const answer = await fetch(`${url}/_matrix/client/v3${path}`, { method, headers, body });
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${text.slice(0, 300)}`);
  };
  const start = performance.now();
  await ask('POST', `/join/${roomId}?via=${encodeURIComponent(peer.serverName)}`, '{}');
  const usable = (performance.now() - start) / 1000;
  await ask('GET', `/rooms/${roomId}/members`, null);
  return { usable, whole: (performance.now() - start) / 1000 };
}

function createMembers({ room, remote }: ScriptedResident, members: number): readonly Pdu[] {
  const state = room.stateAfter(room.newest);
  const cited = ['m.room.create', 'm.room.power_levels', 'm.room.join_rules'];
  const auth = [...state.values()].filter(({ type }) => cited.includes(type)).map(({ eventId }) => eventId);
  let prev: EventId = room.newest;
  return Array.from({ length: members }, (_, index) => {
    const userId: UserId = remote.user(`member${index}`);
    const body: JsonObject = {
      auth_events: auth,
      content: { membership: 'join', displayname: `Member ${index}`, avatar_url: `mxc://${remote.name}/${index}` },
      depth: 10 + index,
      origin_server_ts: 1_700_000_000_000 + index,
      prev_events: [prev],
      room_id: room.roomId,
      sender: userId,
      state_key: userId,
      type: 'm.room.member',
    };
    const { pdu } = hashAndSignEvent(body as Pdu, room.version, { serverName: remote.name, key: remote.key });
    prev = createEvent(pdu, room.version).eventId;
    return pdu;
  });
}

async function measureSignatures({ room, remote }: ScriptedResident, pdus: readonly Pdu[]): Promise<number> {
  const { keyId, publicKey } = remote.key;
  const checks = pdus.map((pdu) => ({
    text: () => signedText(redactPdu(pdu, room.version)),
    signature: pdu.signatures[remote.name]?.[keyId] ?? '',
    publicKey,
  }));
  const start = performance.now();
  const verdicts = await createVerifyPool().verifyAll(checks);
  if (verdicts.includes(false)) throw new Error('a signature of ours is wrong');
  return (performance.now() - start) / 1000;
}
