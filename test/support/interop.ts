/**
 * A server of ours and a real Synapse side by side, with two users on each, and what scenarios between them need: who
 * hosts and who is the guest is a parameter, so that each is played in both directions.
 */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { sql } from '../../src/storage/sql.ts';
import { createTestAuthority } from './certificates.ts';
import { startHomeserver, type TestClient, type TestHomeserver } from './federation.ts';
import { at, entriesAt, listAt, textAt } from './json.ts';
import { inRoom, memberIn } from './pair.ts';
import { installSynapse, startTestSynapse, type TestSynapse } from './synapse.ts';
import { until } from './until.ts';

const VENV = process.env['SYNAPSE_VENV'];
const IS_LONG = process.env['HAMMERHEAD_LONG_TESTS'] === '1' || VENV !== undefined;
/** For `test`'s options. */
export const SKIPPED = IS_LONG
  ? false
  : 'Synapse is installed in long runs only: npm run unit -- --long test/federation';

/** A user, and where they are. */
export interface Actor {
  readonly client: TestClient;
  readonly userId: string;
  readonly serverName: string;
}

export interface Interop extends AsyncDisposable {
  readonly ours: TestHomeserver;
  readonly synapse: TestSynapse;
  /** Of ours. */
  readonly alice: Actor;
  readonly carol: Actor;
  /** Of Synapse's. */
  readonly bob: Actor;
  readonly dave: Actor;
}

export async function startInterop(): Promise<Interop> {
  await using stack = new AsyncDisposableStack();
  const python = await installSynapse(VENV ?? joinPath(tmpdir(), 'hammerhead-synapse-venv'));
  const authority = stack.use(await createTestAuthority());
  const ours = stack.use(await startHomeserver({ authority }));
  const synapse = stack.use(await startTestSynapse(python, authority));
  const register = async (server: TestHomeserver | TestSynapse, localpart: string): Promise<Actor> => {
    const client = await server.register(localpart);
    return { client, userId: client.userId, serverName: server.serverName };
  };
  const [alice, carol] = [await register(ours, 'alice'), await register(ours, 'carol')];
  const [bob, dave] = [await register(synapse, 'bob'), await register(synapse, 'dave')];
  const resources = stack.move();
  return { ours, synapse, alice, carol, bob, dave, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** Anybody may join where nothing else is said, and who does may read what was before. */
export async function createRoom(
  { client }: Actor,
  version: string,
  { joinRules = { join_rule: 'public' } }: { readonly joinRules?: object } = {},
): Promise<string> {
  const rules = { type: 'm.room.join_rules', state_key: '', content: joinRules };
  const visibility = { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'shared' } };
  const body = { room_version: version, name: `Version ${version}`, initial_state: [rules, visibility] };
  return textAt(await client.ok('POST', '/createRoom', body), 'room_id');
}

/** Synapse knows `via` by its older name too. */
const byWayOf = (serverName: string): string => `?server_name=${serverName}&via=${serverName}`;

/** The status of the answer. */
export async function tryJoin({ client }: Actor, roomId: string, host: Actor): Promise<number> {
  return (await client.call('POST', `/join/${encodeURIComponent(roomId)}${byWayOf(host.serverName)}`, {})).status;
}

/** Joins, and waits until the host has heard of it. */
export async function join(guest: Actor, roomId: string, host: Actor): Promise<void> {
  await guest.client.ok('POST', `/join/${encodeURIComponent(roomId)}${byWayOf(host.serverName)}`, {});
  await untilMember(host, roomId, guest, 'join');
}

export async function knock({ client }: Actor, roomId: string, host: Actor): Promise<void> {
  await client.ok('POST', `/knock/${encodeURIComponent(roomId)}${byWayOf(host.serverName)}`, { reason: 'please' });
}

/** What a member does with another's membership. */
export async function change(by: Actor, roomId: string, how: 'invite' | 'kick' | 'ban' | 'unban', who: Actor) {
  await by.client.ok('POST', inRoom(roomId, `/${how}`), { user_id: who.userId });
}

export async function leave({ client }: Actor, roomId: string): Promise<void> {
  await client.ok('POST', inRoom(roomId, '/leave'), {});
}

export async function say({ client }: Actor, roomId: string, text: string): Promise<string> {
  const path = inRoom(roomId, `/send/m.room.message/${encodeURIComponent(text)}`);
  return textAt(await client.ok('PUT', path, { msgtype: 'm.text', body: text }), 'event_id');
}

export async function untilEvent({ client }: Actor, roomId: string, eventId: string): Promise<void> {
  const path = inRoom(roomId, `/event/${encodeURIComponent(eventId)}`);
  await until(async () => (await client.call('GET', path)).status === 200);
}

/** Each says something, and hears what the other said. */
export async function talk(one: Actor, other: Actor, roomId: string): Promise<void> {
  for (const [speaker, listener] of [
    [one, other],
    [other, one],
  ] as const) {
    talks += 1;
    await untilEvent(listener, roomId, await say(speaker, roomId, `${talks} of ${speaker.userId}`));
  }
}

let talks = 0;

export async function untilMember({ client }: Actor, roomId: string, who: Actor, membership: string): Promise<void> {
  await until(async () => (await memberIn(client, roomId, who.userId)) === membership);
}

/** Until a sync from the beginning has the room in this section. */
export async function untilSection(actor: Actor, roomId: string, section: 'invite' | 'knock'): Promise<void> {
  await until(async () => (await sectionsOf(actor, roomId)).includes(section));
}

/** Until they are neither in the room nor waiting for it. A sync of Synapse's from the beginning leaves bans out. */
export async function untilOut(actor: Actor, roomId: string): Promise<void> {
  await until(async () => (await sectionsOf(actor, roomId)).length === 0);
}

async function sectionsOf({ client }: Actor, roomId: string): Promise<readonly string[]> {
  const filter = { room: { rooms: [roomId], timeline: { limit: 1 } } };
  const synced = await client.ok('GET', `/sync?filter=${encodeURIComponent(JSON.stringify(filter))}`);
  return ['join', 'invite', 'knock'].filter((section) => at(synced, 'rooms', section, roomId) !== undefined);
}

/** The ids of all events that the user can read back to, newest first. */
export async function listEvents({ client }: Actor, roomId: string): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let from = ''; ; ) {
    const page = await client.ok('GET', inRoom(roomId, `/messages?dir=b&limit=20${from}`));
    ids.push(...listAt(page, 'chunk').map((event) => textAt(event, 'event_id')));
    const end = at(page, 'end');
    if (typeof end !== 'string' || listAt(page, 'chunk').length === 0) return ids;
    from = `&from=${encodeURIComponent(end)}`;
  }
}

/** The ids of the room's state events by type and key. */
async function listState({ client }: Actor, roomId: string): Promise<readonly string[]> {
  const state = listAt(await client.ok('GET', inRoom(roomId, '/state')));
  return state
    .map((event) => `${textAt(event, 'type')} ${textAt(event, 'state_key')} ${textAt(event, 'event_id')}`)
    .sort();
}

export async function untilSameState(one: Actor, other: Actor, roomId: string): Promise<void> {
  const isSame = async () => (await listState(one, roomId)).join() === (await listState(other, roomId)).join();
  await until(isSame).catch(async () =>
    assert.deepEqual(await listState(one, roomId), await listState(other, roomId), roomId),
  );
}

/** The servers that signed an event, as our database has it. */
export async function listSigners({ ours }: Interop, eventId: string): Promise<readonly string[]> {
  const [row] = await ours.test.database.query(sql<{ pdu: string }>`
    select pdu from events where event_id = ${eventId}`);
  return entriesAt(JSON.parse(row?.pdu ?? '{}'), 'signatures').map(([server]) => server);
}
