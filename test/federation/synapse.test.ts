/**
 * Rooms shared with a real Synapse: made on either side, in every version, joined from the other, talked and changed in, with
 * both servers restarted in between. Afterwards both have the same state, event by event.
 *
 *   node --test test/federation/synapse.test.ts       SYNAPSE_VENV: a folder to install Synapse into, and keep it there
 */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import { createTestAuthority } from '../support/certificates.ts';
import { startHomeserver, type TestClient, type TestHomeserver } from '../support/federation.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { installSynapse, startTestSynapse, type TestSynapse } from '../support/synapse.ts';
import { until } from '../support/until.ts';

const IS_LONG = process.env['HAMMERHEAD_LONG_TESTS'] === '1' || process.env['SYNAPSE_VENV'] !== undefined;
const SKIPPED = IS_LONG ? false : 'Synapse is installed in long runs only: npm run unit -- --long test/federation';
const VENV = process.env['SYNAPSE_VENV'] ?? join(tmpdir(), 'hammerhead-synapse-venv');

const stack = new AsyncDisposableStack();
let ours: TestHomeserver;
let synapse: TestSynapse;
let alice: TestClient;
let bob: TestClient;

interface SharedRoom {
  readonly roomId: string;
  readonly version: string;
}

const rooms: SharedRoom[] = [];

before(async () => {
  if (SKIPPED !== false) return;
  const python = await installSynapse(VENV);
  const authority = stack.use(await createTestAuthority());
  ours = stack.use(await startHomeserver({ authority }));
  synapse = stack.use(await startTestSynapse(python, authority));
  alice = await ours.register('alice');
  bob = await synapse.register('bob');
});

after(() => stack.disposeAsync());

const inRoom = (roomId: string, path: string): string => `/rooms/${encodeURIComponent(roomId)}${path}`;

async function share(creator: TestClient, joiner: TestClient, version: string): Promise<void> {
  const via = creator === alice ? ours.serverName : synapse.serverName;
  const options = { preset: 'public_chat', room_version: version, name: `Version ${version}` };
  const roomId = textAt(await creator.ok('POST', '/createRoom', options), 'room_id');
  await joiner.ok('POST', `/join/${encodeURIComponent(roomId)}?server_name=${via}&via=${via}`, {});
  rooms.push({ roomId, version });
}

async function send(client: TestClient, roomId: string, text: string): Promise<string> {
  const path = inRoom(roomId, `/send/m.room.message/${encodeURIComponent(text)}`);
  return textAt(await client.ok('PUT', path, { msgtype: 'm.text', body: text }), 'event_id');
}

async function hasEvent(client: TestClient, roomId: string, eventId: string): Promise<boolean> {
  return (await client.call('GET', inRoom(roomId, `/event/${encodeURIComponent(eventId)}`))).status === 200;
}

/** Each side says something, and hears what the other said. */
async function talk({ roomId }: SharedRoom, round: string): Promise<void> {
  for (const [speaker, listener] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const eventId = await send(speaker, roomId, `${round} of ${speaker.userId}`);
    await until(() => hasEvent(listener, roomId, eventId));
  }
}

async function membershipOf(client: TestClient, roomId: string, user: TestClient): Promise<unknown> {
  return at((await client.call('GET', inRoom(roomId, `/state/m.room.member/${user.userId}`))).body, 'membership');
}

/** The ids of the room's state events by type and key. */
async function stateOf(client: TestClient, roomId: string): Promise<readonly string[]> {
  const state = listAt(await client.ok('GET', inRoom(roomId, '/state')));
  return state
    .map((event) => `${textAt(event, 'type')} ${textAt(event, 'state_key')} ${textAt(event, 'event_id')}`)
    .sort();
}

for (const version of ROOM_VERSIONS.keys()) {
  test(`version ${version}: rooms made here and there are joined from the other side`, { skip: SKIPPED }, async () => {
    await share(alice, bob, version);
    await share(bob, alice, version);
    for (const room of rooms.filter((one) => one.version === version)) await talk(room, 'first');
  });
}

test('state, redactions, kicks and bans reach the other side', { skip: SKIPPED }, async () => {
  const carol = await ours.register('carol');
  const dave = await synapse.register('dave');
  for (const { roomId } of rooms) {
    const owner = at(await alice.ok('GET', inRoom(roomId, '/state/m.room.create?format=event')), 'sender');
    const [host, guest] = owner === alice.userId ? [alice, dave] : [bob, carol];
    const via = owner === alice.userId ? ours.serverName : synapse.serverName;
    await host.ok('PUT', inRoom(roomId, '/state/m.room.topic'), { topic: 'shared' });
    const eventId = await send(host, roomId, 'to be redacted');
    await host.ok('PUT', inRoom(roomId, `/redact/${encodeURIComponent(eventId)}/redaction`), {});
    await guest.ok('POST', `/join/${encodeURIComponent(roomId)}?server_name=${via}&via=${via}`, {});
    await until(async () => (await membershipOf(host, roomId, guest)) === 'join');
    await host.ok('POST', inRoom(roomId, '/kick'), { user_id: guest.userId });
    await host.ok('POST', inRoom(roomId, '/ban'), { user_id: guest.userId });
    const other = host === alice ? bob : alice;
    await until(async () => {
      const { body } = await other.call('GET', inRoom(roomId, `/event/${encodeURIComponent(eventId)}`));
      return at(body, 'content', 'body') === undefined && at(body, 'event_id') === eventId;
    });
  }
});

test('both go on after a restart of either', { skip: SKIPPED }, async () => {
  const [first] = rooms;
  assert.ok(first);
  await ours.stop();
  const missed = await send(bob, first.roomId, 'while the other is away');
  await ours.start();
  // Synapse tries again when it hears of us.
  await send(alice, first.roomId, 'here again');
  await until(() => hasEvent(alice, first.roomId, missed));
  await synapse.restart();
  for (const room of rooms) await talk(room, 'second');
});

test('at the end, both have the same state of every room', { skip: SKIPPED }, async () => {
  assert.equal(rooms.length, 2 * ROOM_VERSIONS.size);
  for (const { roomId, version } of rooms) {
    await until(async () => (await stateOf(alice, roomId)).join() === (await stateOf(bob, roomId)).join()).catch(
      async () => assert.deepEqual(await stateOf(alice, roomId), await stateOf(bob, roomId), `version ${version}`),
    );
  }
});
