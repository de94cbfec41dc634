/**
 * Whatever another server asks, and whatever it sends: transactions, events and ephemeral data with any part of them
 * spoiled, signed as they are. The answer is never a fault of ours, and afterwards the next right event is taken in, and the
 * room's users read on.
 *
 *   node test/federation/fuzz-requests.test.ts [--runs 1000] [--seed 4711]
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { Endpoint } from '../../src/http/endpoint.ts';
import { encodeCanonicalJson } from '../../src/protocol/canonical-json.ts';
import type { RoomId } from '../../src/protocol/ids.ts';
import { isJsonObject } from '../../src/protocol/json-value.ts';
import type { JsonObject, JsonValue, Pdu } from '../../src/protocol/pdu.ts';
import { signRequest } from '../../src/protocol/request-signing.ts';
import { hashAndSignEvent } from '../../src/protocol/sign-event.ts';
import { sql } from '../../src/storage/sql.ts';
import { assertNoFault, type FuzzScene, fuzzing, startFuzzScene } from '../support/fuzz-federation.ts';
import { requestsFor } from '../support/fuzz-requests.ts';
import { at, textAt } from '../support/json.ts';
import { PeerRoom } from '../support/peer-room.ts';
import { askAs } from '../support/signed-requests.ts';
import { type Spoiling, spoil, spoilings } from '../support/spoil.ts';
import { until } from '../support/until.ts';

/** Requests to each endpoint, and transactions of each kind. */
const RUNS = 15;
/** What takes this long hangs. */
const HANGS_AFTER_MS = 30_000;
const VERSIONS = ['1', '10', '12'];

const stack = new AsyncDisposableStack();
let scene: FuzzScene;
/** Rooms of Alice's in which the peer's Eve is, by version. */
const rooms = new Map<string, PeerRoom>();
/** The same, and Eve may do everything in them. */
const ruledRooms = new Map<string, PeerRoom>();
let count = 0;

before(async () => {
  scene = stack.use(await startFuzzScene());
  for (const version of VERSIONS) {
    const users = { [scene.peer.eve]: 100, ...(version === '12' ? {} : { [scene.alice.userId]: 100 }) };
    rooms.set(version, await createRoom(version, {}));
    ruledRooms.set(version, await createRoom(version, { users }));
  }
});

async function createRoom(version: string, levels: object): Promise<PeerRoom> {
  const { alice, here, peer } = scene;
  const options = { preset: 'public_chat', room_version: version, power_level_content_override: levels };
  const roomId = textAt(await alice.ok('POST', '/createRoom', options), 'room_id');
  const room = new PeerRoom(peer.server, here, { roomId, version });
  await room.join('eve');
  peer.rooms.set(roomId, room.room);
  return room;
}

after(() => stack.disposeAsync());

function roomOf(version: string, among = rooms): PeerRoom {
  const room = among.get(version);
  assert.ok(room);
  return room;
}

async function send(body: JsonObject): Promise<void> {
  const path = `/_matrix/federation/v1/send/f${count++}`;
  const { status, body: answer } = await askAs(scene.peer.server, scene.here, { method: 'PUT', path, body });
  assertNoFault(status, JSON.stringify(answer));
}

/** Until everything that was taken in was worked on. */
async function settle(): Promise<void> {
  await until(async () => {
    const rows = await scene.here.test.database.query(sql<{ room_id: string }>`select room_id from inbound_pdus`);
    return rows.length === 0;
  });
  assert.deepEqual(scene.faults, []);
}

/** The next right event is taken in, and Alice reads on. */
async function assertUsable(version: string): Promise<void> {
  const shared = roomOf(version);
  await shared.learn();
  await shared.send(shared.room.message(scene.peer.eve, `still here ${count++}`));
  await assertReadable(shared);
}

async function assertReadable({ room }: PeerRoom): Promise<void> {
  const inRoom = `/rooms/${encodeURIComponent(room.roomId)}`;
  for (const path of ['/sync', `${inRoom}/state`, `${inRoom}/messages?dir=b&limit=100`, `${inRoom}/members`]) {
    const { status, body } = await scene.alice.call('GET', path);
    assertNoFault(status, `${path} ${JSON.stringify(body)}`);
  }
}

test('every endpoint of the server-server API, asked with anything', async (t) => {
  const { here, peer, alice, faults } = scene;
  const { room } = roomOf('10');
  const ids = [room.roomId, room.newest, alice.userId, peer.eve, here.serverName, peer.server.serverName];
  const known = [...ids, '10', 'profile', 'm.room.member', 'join', `#fuzz:${here.serverName}`];
  const { numRuns, seed } = fuzzing(RUNS);
  const endpoints = here.endpoints.filter(({ paths }) =>
    paths.some((path) => /^\/_matrix\/(?:federation|key)/.test(path)),
  );
  assert.ok(endpoints.length > 30, String(endpoints.length));
  for (const endpoint of endpoints) {
    const [path = ''] = endpoint.paths;
    await t.test(`${endpoint.method} ${path} (seed ${seed})`, () =>
      fc.assert(
        fc.asyncProperty(requestsFor(endpoint, path, known), async (request) => {
          const { status, text } = await ask(endpoint, request);
          assertNoFault(status, text);
          if (status >= 400) assert.match(String(at(JSON.parse(text), 'errcode')), /^M_[A-Z_]+$/);
        }),
        { numRuns, seed },
      ),
    );
  }
  await settle();
  assert.deepEqual(faults, []);
});

interface Fuzzed {
  readonly method: string;
  readonly path: string;
  readonly body: string | undefined;
}

async function ask(endpoint: Endpoint, { method, path, body }: Fuzzed): Promise<{ status: number; text: string }> {
  const { here, peer } = scene;
  const signed = { method, uri: path, origin: peer.server.serverName, destination: here.serverName };
  const content = body === undefined ? undefined : canonical(body);
  const headers = {
    'content-type': 'application/json',
    ...(endpoint.auth === 'server' && { authorization: signRequest({ ...signed, content }, peer.server.signingKey) }),
  };
  const answer = await fetch(`${here.url}${path}`, {
    method,
    headers,
    signal: AbortSignal.timeout(HANGS_AFTER_MS),
    ...(body === undefined ? {} : { body }),
  });
  return { status: answer.status, text: await answer.text() };
}

/** What is no JSON, or none that can be signed, is sent with a signature over something else. */
function canonical(body: string): string {
  try {
    return encodeCanonicalJson(JSON.parse(body));
  } catch {
    return '{}';
  }
}

const edu = (type: string, content: JsonObject): JsonObject => ({ edu_type: type, content });

/** One of each kind, right as it is. */
function rightEdus(version: string): JsonValue[] {
  const { alice, peer } = scene;
  const { eve } = peer;
  const { roomId, newest } = roomOf(version).room;
  const device = { user_id: eve, device_id: 'D', stream_id: 1, prev_id: [], keys: {}, deleted: false };
  const key = { user_id: eve, usage: ['master'], keys: { 'ed25519:x': 'x' } };
  return [
    edu('m.typing', { room_id: roomId, user_id: eve, typing: true }),
    edu('m.receipt', {
      [roomId]: { 'm.read': { [eve]: { event_ids: [newest], data: { ts: 1, thread_id: 'main' } } } },
    }),
    edu('m.presence', { push: [{ user_id: eve, presence: 'online', last_active_ago: 5, status_msg: 'x' }] }),
    edu('m.device_list_update', device),
    edu('m.signing_key_update', { user_id: eve, master_key: key, self_signing_key: key }),
    edu('m.direct_to_device', {
      sender: eve,
      type: 'm.x',
      message_id: `m${count++}`,
      messages: { [alice.userId]: { '*': { hello: 'you' } } },
    }),
  ];
}

for (const version of VERSIONS) {
  const { numRuns, seed } = fuzzing(RUNS);
  test(`A21, A22: transactions with anything in them, in a room of version ${version} (seed ${seed})`, async () => {
    const { eve } = scene.peer;
    await fc.assert(
      fc.asyncProperty(fc.array(spoilings, { minLength: 1, maxLength: 3 }), async (all) => {
        const { room } = roomOf(version);
        const pdus = ['one', 'two'].map((body) => room.make(messageOf(body)).pdu);
        const right = { origin: room.roomId, origin_server_ts: 1, pdus, edus: rightEdus(version) };
        const spoiled = all.reduce<JsonValue>(spoil, right);
        if (isSignable(spoiled)) await send(spoiled);
      }),
      { numRuns, seed },
    );
    await settle();
    await assertUsable(version);
    function messageOf(body: string) {
      return { type: 'm.room.message', sender: eve, content: { msgtype: 'm.text', body } };
    }
  });

  test(`ephemeral data with anything in it, in a room of version ${version} (seed ${seed})`, async () => {
    const kinds = rightEdus(version).length;
    await fc.assert(
      fc.asyncProperty(fc.nat(kinds - 1), spoilings, async (kind, spoiling) => {
        // Below the content: with another kind it is passed over.
        const right = rightEdus(version)[kind];
        const content = isJsonObject(right) ? spoil(right['content'] ?? null, spoiling) : null;
        const spoiled = isJsonObject(right) ? { ...right, content } : {};
        if (isSignable(spoiled)) await send({ pdus: [], edus: [spoiled, ...rightEdus(version)] });
      }),
      { numRuns: numRuns * 2, seed },
    );
    await settle();
    await assertUsable(version);
  });

  test(`A18, A19: events with anything in them, hashed and signed, in a room of version ${version} (seed ${seed})`, async () => {
    const { eve } = scene.peer;
    const ruled = roomOf(version, ruledRooms);
    await fc.assert(
      fc.asyncProperty(fc.nat(STATE.length - 1), fc.array(spoilings, { maxLength: 2 }), async (kind, all) => {
        const [type, content] = STATE[kind] ?? ['m.room.topic', {}];
        const stateKey = type === 'm.room.member' ? eve : '';
        await ruled.learn();
        const { pdu } = ruled.room.make({ type, sender: eve, stateKey, content });
        const signed = resign(all, pdu, ruled);
        if (signed !== undefined) await send({ pdus: [signed], edus: [] });
      }),
      { numRuns: numRuns * 2, seed },
    );
    await settle();
    // Eve may have thrown Alice out, or her own server: that is no fault.
    await assertReadable(ruled);
  });
}

/** What the rules look at, and what a room's users see. */
const STATE: readonly (readonly [string, JsonObject])[] = [
  ['m.room.message', { msgtype: 'm.text', body: 'hello', 'm.relates_to': { rel_type: 'm.thread', event_id: '$x' } }],
  [
    'm.room.member',
    { membership: 'join', displayname: 'Eve', third_party_invite: { signed: { mxid: '@x:y', token: 't' } } },
  ],
  ['m.room.power_levels', { users: { '@x:y': 5 }, events: { 'm.x': 1 }, notifications: { room: 50 }, ban: 50 }],
  ['m.room.join_rules', { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: '!x:y' }] }],
  ['m.room.server_acl', { allow: ['*'], deny: ['*.example'], allow_ip_literals: true }],
  ['m.room.third_party_invite', { display_name: 'x', public_keys: [{ public_key: 'x' }] }],
  ['m.room.create', { creator: '@x:y', room_version: '10', additional_creators: ['@x:y'] }],
  ['m.room.redaction', { redacts: '$x', reason: 'x' }],
  ['m.room.history_visibility', { history_visibility: 'joined' }],
  ['m.space.child', { via: ['x'], order: 'a', suggested: true }],
  ['m.room.tombstone', { body: 'x', replacement_room: '!x:y' }],
];

/** Spoiled first, and then hashed and signed: so it gets past the first checks. */
function resign(all: readonly Spoiling[], pdu: Pdu, { room, remote }: PeerRoom): JsonValue | undefined {
  const { hashes: _hashes, signatures: _signatures, ...body } = pdu;
  const spoiled = all.reduce<JsonValue>(spoil, body);
  if (!isJsonObject(spoiled)) return undefined;
  try {
    const by = { serverName: remote.name, key: remote.key };
    return hashAndSignEvent(spoiled as typeof body & { readonly room_id: RoomId }, room.version, by).pdu;
  } catch {
    // It cannot be signed at all.
    return undefined;
  }
}

function isSignable(value: JsonValue): value is JsonObject {
  try {
    return isJsonObject(value) && encodeCanonicalJson(value) !== '';
  } catch {
    return false;
  }
}

test('the server is as it was', (t) => {
  assert.deepEqual(scene.faults, []);
  t.diagnostic(scene.describeStall());
});
