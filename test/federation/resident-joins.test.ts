/**
 * Servers that want into our rooms, honestly or not: what they are told, what is taken in, and what is signed for them.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { encodeCanonicalJson } from '../../src/protocol/canonical-json.ts';
import { createEvent } from '../../src/protocol/event.ts';
import { isJsonObject } from '../../src/protocol/json-value.ts';
import type { JsonObject, Pdu } from '../../src/protocol/pdu.ts';
import { signRequest } from '../../src/protocol/request-signing.ts';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import { hashAndSignEvent } from '../../src/protocol/sign-event.ts';
import { verifyEventSignature } from '../../src/protocol/signing.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import { versionOf } from '../support/engine.ts';
import {
  call,
  type ScriptedServer,
  startHomeserver,
  startScriptedServer,
  type TestClient,
  type TestHomeserver,
} from '../support/federation.ts';
import { at, entriesAt, listAt, textAt } from '../support/json.ts';
import { spoil, spoilings } from '../support/spoil.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let here: TestHomeserver;
let peer: ScriptedServer;
let alice: TestClient;
let eve: string;

before(async () => {
  authority = stack.use(await createTestAuthority());
  here = stack.use(await startHomeserver({ authority }));
  peer = stack.use(await startScriptedServer(authority));
  alice = await here.register('alice');
  eve = `@eve:${peer.serverName}`;
});

after(() => stack.disposeAsync());

interface Asking {
  readonly path: string;
  readonly method?: string;
  readonly body?: JsonObject;
}

/** Asks as the scripted server. */
async function ask({
  path,
  method = 'GET',
  body,
}: Asking): Promise<{ readonly status: number; readonly body: unknown }> {
  const content = body === undefined ? undefined : encodeCanonicalJson(body);
  const signed = { method, uri: path, origin: peer.serverName, destination: here.serverName, content };
  const headers = { authorization: signRequest(signed, peer.signingKey) };
  return call(here.url, { method, path, body, headers });
}

const VERSIONS = [...ROOM_VERSIONS.keys()].map((id) => `ver=${id}`).join('&');

const makeJoin = (room: string, userId = eve, query = VERSIONS) =>
  ask({ path: `/_matrix/federation/v1/make_join/${encodeURIComponent(room)}/${encodeURIComponent(userId)}?${query}` });

interface Sending {
  /** Another event than the path says. */
  readonly eventId?: string;
  readonly room?: string;
  readonly version?: 'v1' | 'v2';
  readonly query?: string;
}

const sendJoin = (pdu: JsonObject, version: string, sending: Sending = {}) => {
  const room = sending.room ?? String(pdu['room_id']);
  const eventId = sending.eventId ?? createEvent(pdu as Pdu, versionOf(version)).eventId;
  const path = `/send_join/${encodeURIComponent(room)}/${encodeURIComponent(eventId)}${sending.query ?? ''}`;
  return ask({ method: 'PUT', path: `/_matrix/federation/${sending.version ?? 'v2'}${path}`, body: pdu });
};

const sign = (body: JsonObject, version: string): Pdu =>
  hashAndSignEvent(body as Pdu, versionOf(version), { serverName: peer.serverName, key: peer.signingKey }).pdu;

/** The join that the template asks for, changed as a test wants it. */
async function joinOf(room: string, change: JsonObject = {}, userId = eve): Promise<{ pdu: Pdu; version: string }> {
  const { status, body } = await makeJoin(room, userId);
  assert.equal(status, 200, JSON.stringify(body));
  const version = textAt(body, 'room_version');
  const template = Object.fromEntries(entriesAt(body, 'event')) as JsonObject;
  const id = versionOf(version).eventIds === 'server' ? { event_id: `$${Math.random()}:${peer.serverName}` } : {};
  return { version, pdu: sign({ ...template, ...id, ...change }, version) };
}

const createRoom = async (body: object = {}): Promise<string> =>
  textAt(await alice.ok('POST', '/createRoom', { preset: 'public_chat', ...body }), 'room_id');

const membershipOf = async (room: string, userId = eve): Promise<unknown> =>
  at((await alice.call('GET', `/rooms/${encodeURIComponent(room)}/state/m.room.member/${userId}`)).body, 'membership');

const keysOf = (events: readonly unknown[]): readonly string[] =>
  events.map((event) => `${textAt(event, 'type')} ${textAt(event, 'state_key')}`).sort();

describe('a server joins', () => {
  for (const version of ROOM_VERSIONS.keys()) {
    test(`a room of version ${version}, and is given its state with the auth chain`, async () => {
      const room = await createRoom({ room_version: version, name: 'Hall' });
      const { pdu } = await joinOf(room);
      const { status, body } = await sendJoin(pdu, version);
      assert.equal(status, 200, JSON.stringify(body));
      const state = keysOf(listAt(body, 'state'));
      assert.ok(state.includes(`m.room.member ${alice.userId}`) && state.includes('m.room.name '));
      assert.ok(!state.includes(`m.room.member ${eve}`), 'it is the state before the join');
      const chain = keysOf(listAt(body, 'auth_chain'));
      assert.ok(chain.includes('m.room.power_levels ') && chain.includes(`m.room.member ${alice.userId}`));
      assert.ok(!chain.includes('m.room.name '), 'nothing rests on the name');
      assert.deepEqual(at(body, 'members_omitted'), false);
      assert.deepEqual(at(body, 'event', 'content', 'membership'), 'join');
      assert.equal(await membershipOf(room), 'join');
    });
  }

  test('by the first version of the API too, and again with the same event', async () => {
    const room = await createRoom();
    const { pdu, version } = await joinOf(room);
    const first = await sendJoin(pdu, version, { version: 'v1' });
    assert.equal(first.status, 200);
    assert.equal(at(first.body, 0), 200);
    const again = await sendJoin(pdu, version);
    assert.equal(again.status, 200);
    assert.deepEqual(listAt(again.body, 'state'), listAt(first.body, 1, 'state'));
  });

  test('without being given members, but those whom a nameless room is called after', async () => {
    const room = await createRoom();
    const { pdu, version } = await joinOf(room);
    const { body } = await sendJoin(pdu, version, { query: '?omit_members=true' });
    assert.equal(at(body, 'members_omitted'), true);
    assert.deepEqual(listAt(body, 'servers_in_room'), [here.serverName]);
    const members = keysOf(listAt(body, 'state')).filter((key) => key.startsWith('m.room.member'));
    assert.deepEqual(members, [`m.room.member ${alice.userId}`]);
    assert.deepEqual(listAt(body, 'auth_chain'), [], 'all of it is in the state');
  });

  test('without members of a room that has a name, with the auth chain that they are in', async () => {
    const room = await createRoom({ name: 'Hall' });
    const { pdu, version } = await joinOf(room);
    const { body } = await sendJoin(pdu, version, { query: '?omit_members=true' });
    assert.ok(!keysOf(listAt(body, 'state')).some((key) => key.startsWith('m.room.member')));
    assert.deepEqual(keysOf(listAt(body, 'auth_chain')), [`m.room.member ${alice.userId}`]);
  });

  test('B8: a redacted event is given without its content', async () => {
    const room = await createRoom();
    const path = `/rooms/${encodeURIComponent(room)}`;
    const sent = await alice.ok('PUT', `${path}/state/m.room.topic`, { topic: 'secret' });
    await alice.ok('PUT', `${path}/redact/${encodeURIComponent(textAt(sent, 'event_id'))}/1`, {});
    const { pdu, version } = await joinOf(room);
    const { body } = await sendJoin(pdu, version);
    const topic = listAt(body, 'state').find((event) => at(event, 'type') === 'm.room.topic');
    assert.deepEqual(at(topic, 'content'), {});
  });
});

describe('who is not let in', () => {
  const errcode = ({ status, body }: { status: number; body: unknown }) => [status, at(body, 'errcode')];

  test('a room that is not there, and one that only we were in', async () => {
    assert.deepEqual(errcode(await makeJoin(`!nothing:${here.serverName}`)), [404, 'M_NOT_FOUND']);
    const room = await createRoom();
    const { pdu, version } = await joinOf(room);
    await alice.ok('POST', `/rooms/${encodeURIComponent(room)}/leave`, {});
    assert.deepEqual(errcode(await makeJoin(room)), [404, 'M_NOT_FOUND']);
    assert.deepEqual(errcode(await sendJoin(pdu, version)), [404, 'M_NOT_FOUND']);
  });

  test('a server that does not know the version of the room', async () => {
    const room = await createRoom({ room_version: '9' });
    for (const query of ['ver=8&ver=10', '']) {
      const refused = await makeJoin(room, eve, query);
      assert.deepEqual(errcode(refused), [400, 'M_INCOMPATIBLE_ROOM_VERSION']);
      assert.equal(at(refused.body, 'room_version'), '9');
    }
  });

  test('A14: users of other servers', async () => {
    const room = await createRoom();
    for (const userId of [alice.userId, '@somebody:other.example']) {
      assert.deepEqual(errcode(await makeJoin(room, userId)), [403, 'M_FORBIDDEN']);
      const { pdu, version } = await joinOf(room, { sender: userId, state_key: userId });
      assert.deepEqual(errcode(await sendJoin(pdu, version)), [403, 'M_FORBIDDEN']);
    }
  });

  test('users who were not invited, and those who are banned', async () => {
    const closed = await createRoom({ preset: 'private_chat' });
    assert.deepEqual(errcode(await makeJoin(closed)), [403, 'M_FORBIDDEN']);
    const room = await createRoom();
    const { pdu, version } = await joinOf(room);
    await alice.ok('POST', `/rooms/${encodeURIComponent(room)}/ban`, { user_id: eve });
    assert.deepEqual(errcode(await makeJoin(room)), [403, 'M_FORBIDDEN']);
    // The join follows an event from before the ban: its own state allows it, the current one does not.
    assert.deepEqual(errcode(await sendJoin(pdu, version)), [403, 'M_FORBIDDEN']);
    assert.deepEqual(errcode(await sendJoin(pdu, version)), [403, 'M_FORBIDDEN'], 'asked again it is the same');
    assert.equal(await membershipOf(room), 'ban');
  });

  test('A5: a server that the access control list of the room denies', async () => {
    const room = await createRoom();
    const { pdu, version } = await joinOf(room);
    const acl = { allow: ['*'], deny: [peer.address], allow_ip_literals: true };
    await alice.ok('PUT', `/rooms/${encodeURIComponent(room)}/state/m.room.server_acl`, acl);
    assert.deepEqual(errcode(await makeJoin(room)), [403, 'M_FORBIDDEN']);
    assert.deepEqual(errcode(await sendJoin(pdu, version)), [403, 'M_FORBIDDEN']);
    assert.equal(await membershipOf(room), undefined);
  });

  for (const version of ROOM_VERSIONS.keys()) {
    test(`A31: anybody from elsewhere, of a room of version ${version} that does not federate`, async () => {
      const room = await createRoom({ room_version: version, creation_content: { 'm.federate': false } });
      assert.deepEqual(errcode(await makeJoin(room)), [403, 'M_FORBIDDEN']);
    });
  }
});

describe('what is no join', () => {
  test('A4: a path that says something else than the body', async () => {
    const [room, other] = [await createRoom(), await createRoom()];
    const { pdu, version } = await joinOf(room);
    assert.equal((await sendJoin(pdu, version, { room: other })).status, 400);
    assert.equal((await sendJoin(pdu, version, { eventId: `$${'a'.repeat(43)}` })).status, 400);
    assert.equal(await membershipOf(room), undefined);
  });

  const bodies: Readonly<Record<string, (room: string) => Promise<{ pdu: JsonObject; version: string }>>> = {
    'A1: another type': (room) => joinOf(room, { type: 'm.room.power_levels', state_key: '' }),
    'A1: another membership': (room) => joinOf(room, { content: { membership: 'leave' } }),
    'A1: no state key': async (room) => {
      const { pdu, version } = await joinOf(room);
      const { state_key: _key, ...body } = pdu;
      return { version, pdu: sign(body, version) };
    },
    'A1: somebody else in the state key': (room) => joinOf(room, { state_key: alice.userId }),
    'A6: no signature': async (room) => {
      const { pdu, version } = await joinOf(room);
      return { version, pdu: { ...pdu, signatures: {} } };
    },
    'A6: a wrong signature': async (room) => {
      const { pdu, version } = await joinOf(room);
      return { version, pdu: { ...pdu, signatures: { [peer.serverName]: { 'ed25519:scripted': 'A'.repeat(86) } } } };
    },
    'A6: content that was changed after it was hashed': async (room) => {
      const { pdu, version } = await joinOf(room);
      return { version, pdu: { ...pdu, content: { membership: 'join', displayname: 'Changed' } } };
    },
    'A18: a depth beyond all numbers': (room) => joinOf(room, { depth: 2 ** 53 }),
    'prev events that nobody has': (room) => joinOf(room, { prev_events: [`$${'b'.repeat(43)}`] }),
    'no prev events': (room) => joinOf(room, { prev_events: [] }),
    'auth events that nobody has': (room) => joinOf(room, { auth_events: [`$${'c'.repeat(43)}`] }),
  };
  for (const [name, make] of Object.entries(bodies)) {
    test(name, async () => {
      const room = await createRoom({ room_version: '10' });
      const { pdu, version } = await make(room);
      const { status, body } = await sendJoin(pdu, version);
      assert.ok(status === 400, `${status} ${JSON.stringify(body)}`);
      assert.equal(await membershipOf(room), undefined);
    });
  }

  test('A11: auth events of another room', async () => {
    const [room, other] = [await createRoom({ room_version: '10' }), await createRoom({ room_version: '10' })];
    const there = await joinOf(other);
    const { pdu, version } = await joinOf(room, { auth_events: there.pdu.auth_events });
    assert.equal((await sendJoin(pdu, version)).status, 400);
    assert.equal(await membershipOf(room), undefined);
  });

  test('auth events that are not all', async () => {
    const room = await createRoom({ room_version: '10' });
    const { pdu: whole } = await joinOf(room);
    const { pdu, version } = await joinOf(room, { auth_events: whole.auth_events.slice(0, 1) });
    assert.equal((await sendJoin(pdu, version)).status, 403);
    assert.equal(await membershipOf(room), undefined);
  });
});

test('whatever a join is spoiled by, the answer is no fault of ours, and nobody joins by it', async () => {
  const room = await createRoom({ room_version: '10' });
  const { pdu, version } = await joinOf(room);
  const { eventId } = createEvent(pdu, versionOf(version));
  // One signature too many makes no other event of it.
  const hashed = ({ signatures: _signatures, unsigned: _unsigned, ...rest }: JsonObject): string =>
    JSON.stringify(rest);
  await fc.assert(
    fc.asyncProperty(spoilings, async (spoiling) => {
      const spoiled = spoil(pdu, spoiling);
      fc.pre(isJsonObject(spoiled) && hashed(spoiled) !== hashed(pdu) && hasCanonicalForm(spoiled));
      const { status } = await sendJoin(isJsonObject(spoiled) ? spoiled : {}, version, { eventId, room });
      assert.ok([400, 403, 413].includes(status), String(status));
      assert.equal(await membershipOf(room), undefined);
    }),
    { numRuns: 150 },
  );
  assert.equal((await sendJoin(pdu, version)).status, 200, 'the right one is let in');
});

/** What has none cannot be signed, as every request of a server is. */
function hasCanonicalForm(value: JsonObject): boolean {
  try {
    encodeCanonicalJson(value);
    return true;
  } catch {
    return false;
  }
}

describe('restricted rooms', () => {
  const restrictedTo = (allowed: string) => ({
    room_version: '10',
    initial_state: [
      {
        type: 'm.room.join_rules',
        state_key: '',
        content: { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: allowed }] },
      },
    ],
  });

  async function createPair(): Promise<{ readonly space: string; readonly room: string }> {
    const space = await createRoom({ room_version: '10' });
    return { space, room: await createRoom(restrictedTo(space)) };
  }

  test('a member of the other room is let in, with our signature on the join and on nothing more', async () => {
    const { space, room } = await createPair();
    const refused = await makeJoin(room);
    assert.deepEqual([refused.status, at(refused.body, 'errcode')], [403, 'M_FORBIDDEN']);
    const entered = await joinOf(space);
    assert.equal((await sendJoin(entered.pdu, entered.version)).status, 200);
    const { pdu, version } = await joinOf(room);
    assert.equal(pdu.content['join_authorised_via_users_server'], alice.userId);
    const { status, body } = await sendJoin(pdu, version);
    assert.equal(status, 200, JSON.stringify(body));
    const keys = await call(here.url, { method: 'GET', path: '/_matrix/key/v2/server' });
    const [[keyId = '', key] = []] = entriesAt(keys.body, 'verify_keys');
    const event = at(body, 'event') as Pdu;
    const verifying = { serverName: here.serverName, keyId, publicKey: textAt(key, 'key') };
    assert.ok(verifyEventSignature(event, versionOf(version), verifying));
    assert.deepEqual({ ...event, signatures: null }, { ...pdu, signatures: null });
  });

  test('a room that we are not in cannot vouch for anybody', async () => {
    const room = await createRoom(restrictedTo('!elsewhere:other.example'));
    const { status, body } = await makeJoin(room);
    assert.deepEqual([status, at(body, 'errcode')], [400, 'M_UNABLE_TO_AUTHORISE_JOIN']);
  });

  test('where nobody of ours may invite another server has to be asked', async () => {
    const { space, room } = await createPair();
    const entered = await joinOf(space);
    await sendJoin(entered.pdu, entered.version);
    const levels = { invite: 60, users: { [eve]: 100, [alice.userId]: 50 } };
    await alice.ok('PUT', `/rooms/${encodeURIComponent(room)}/state/m.room.power_levels`, levels);
    const { status, body } = await makeJoin(room);
    assert.deepEqual([status, at(body, 'errcode')], [400, 'M_UNABLE_TO_GRANT_JOIN']);
  });

  const oracles: Readonly<Record<string, JsonObject>> = {
    'fields that a join does not have': { redacts: `$${'a'.repeat(43)}` },
    'another invite in it': { third_party_invite: { signed: {} } },
    'somebody who may not invite': { content: { membership: 'join', join_authorised_via_users_server: '@nobody:x' } },
  };
  for (const [name, change] of Object.entries(oracles)) {
    test(`A1: nothing is signed for a join with ${name}`, async () => {
      const { space, room } = await createPair();
      const entered = await joinOf(space);
      await sendJoin(entered.pdu, entered.version);
      const { pdu, version } = await joinOf(room, change);
      const { status, body } = await sendJoin(pdu, version);
      assert.ok(status >= 400 && status < 500, JSON.stringify(body));
      assert.equal(await membershipOf(room), undefined);
      assert.equal(at(body, 'event'), undefined);
    });
  }

  test('A1: nothing is signed for somebody who meets no condition', async () => {
    const { space, room } = await createPair();
    const mallory = `@mallory:${peer.serverName}`;
    const entered = await joinOf(space);
    await sendJoin(entered.pdu, entered.version);
    const { pdu, version } = await joinOf(room);
    const { signatures: _signatures, hashes: _hashes, ...body } = pdu;
    const forged = sign({ ...body, sender: mallory, state_key: mallory }, version);
    const answer = await sendJoin(forged, version);
    assert.deepEqual([answer.status, at(answer.body, 'errcode')], [403, 'M_FORBIDDEN']);
    assert.equal(await membershipOf(room, mallory), undefined);
  });
});
