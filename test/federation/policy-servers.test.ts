/**
 * Rooms with a policy server: what our users send bears its signature or is not sent, what others send is soft-failed
 * without it, and a room can always get rid of it.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { secureRandom } from '../../src/lib/random.ts';
import type { Event, JsonObject, Pdu } from '../../src/protocol/pdu.ts';
import { POLICY_KEY_ID } from '../../src/protocol/policy-server.ts';
import { createSigningKey } from '../../src/protocol/signing.ts';
import { sql } from '../../src/storage/sql.ts';
import { createTestAuthority } from '../support/certificates.ts';
import { startHomeserver, type TestClient, type TestHomeserver } from '../support/federation.ts';
import { at, listAt, textAt } from '../support/json.ts';
import type { PeerRoom } from '../support/peer-room.ts';
import {
  createPolicedRoom,
  type PolicyAnswer,
  type ScriptedPolicyServer,
  setPolicy,
  startPolicyServer,
} from '../support/policy-server.ts';
import { until } from '../support/until.ts';

const VERSION = '12';
const stack = new AsyncDisposableStack();
let here: TestHomeserver;
let there: TestHomeserver;
let alice: TestClient;
let carol: TestClient;
let bob: TestClient;
let policy: ScriptedPolicyServer;

before(async () => {
  const authority = stack.use(await createTestAuthority());
  [here, there] = await Promise.all([startHomeserver({ authority }), startHomeserver({ authority })]);
  stack.use(here);
  stack.use(there);
  policy = stack.use(await startPolicyServer(authority, VERSION));
  alice = await here.register('alice');
  carol = await here.register('carol');
  bob = await there.register('bob');
});

beforeEach(() => {
  policy.decide = (pdu) => policy.signed(pdu);
  policy.asked.length = 0;
});

after(() => stack.disposeAsync());

const policed = () => createPolicedRoom(policy, { here, creator: alice, version: VERSION });

const refusal = (status: number, errcode: string, error: string): PolicyAnswer => ({
  status,
  body: { errcode, error },
});

let transactions = 0;

const say = (client: TestClient, roomId: string, body: string, txnId = `t${transactions++}`) =>
  client.call('PUT', `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${txnId}`, { msgtype: 'm.text', body });

async function storedIn(
  server: TestHomeserver,
  roomId: string,
): Promise<readonly (Pdu & { readonly stands: boolean })[]> {
  const rows = await server.test.database.query(sql<{ pdu: string; position: number | null }>`
    select pdu, position from events where room_id = ${roomId} order by event_nid`);
  return rows.map(({ pdu, position }) => ({ ...(JSON.parse(pdu) as Pdu), stands: position !== null }));
}

async function messagesIn(server: TestHomeserver, roomId: string): Promise<readonly (readonly [unknown, boolean])[]> {
  const stored = await storedIn(server, roomId);
  return stored.filter(({ type }) => type === 'm.room.message').map(({ content, stands }) => [content['body'], stands]);
}

const shownTo = async (client: TestClient, roomId: string): Promise<readonly unknown[]> => {
  const page = await client.ok('GET', `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=50`);
  return listAt(page, 'chunk').flatMap((event) => at(event, 'content', 'body') ?? []);
};

const spoken = ({ room, remote }: PeerRoom, body: string, forge?: (pdu: Pdu) => Pdu): Event =>
  room.message(remote.user('policy'), body, forge === undefined ? {} : { forge });

describe('what our users send', () => {
  test('bears the signature of the policy server, beside ours', async () => {
    const { roomId } = await policed();
    const { status, body } = await say(alice, roomId, 'checked');
    assert.equal(status, 200);
    const [asked] = policy.asked;
    assert.equal(asked?.content['body'], 'checked');
    const stored = (await storedIn(here, roomId)).find(({ type }) => type === 'm.room.message');
    assert.deepEqual(
      Object.keys(stored?.signatures ?? {}).toSorted(),
      [here.serverName, policy.server.serverName].toSorted(),
    );
    assert.deepEqual(Object.keys(stored?.signatures[policy.server.serverName] ?? {}), [POLICY_KEY_ID]);
    await until(async () => policy.server.requests.some((request) => request.includes('/federation/v1/send/')));
    assert.deepEqual(await shownTo(alice, roomId), ['checked']);
    assert.equal(typeof at(body, 'event_id'), 'string');
  });

  test('what it refuses is refused in its words, and nothing is left of it', async () => {
    const { roomId } = await policed();
    policy.decide = () => refusal(400, 'M_FORBIDDEN', 'This looks like spam');
    assert.deepEqual(await say(alice, roomId, 'spam', 'again'), {
      status: 400,
      body: { errcode: 'M_FORBIDDEN', error: 'This looks like spam' },
    });
    assert.deepEqual(await messagesIn(here, roomId), []);
    policy.decide = (pdu) => policy.signed(pdu);
    assert.equal((await say(alice, roomId, 'no spam', 'again')).status, 200);
  });

  test('no policy server can have a client believe that its token is gone', async () => {
    const { roomId } = await policed();
    policy.decide = () => refusal(401, 'M_UNKNOWN_TOKEN', 'Log in again');
    const { status, body } = await say(alice, roomId, 'hello');
    assert.deepEqual([status, at(body, 'errcode')], [403, 'M_FORBIDDEN']);
  });

  test('it may say when to try again', async () => {
    const { roomId } = await policed();
    policy.decide = () => ({
      status: 429,
      body: { errcode: 'M_LIMIT_EXCEEDED', error: 'Slowly', retry_after_ms: 1234 },
    });
    const { status, body } = await say(alice, roomId, 'hello');
    assert.deepEqual([status, at(body, 'errcode'), at(body, 'retry_after_ms')], [429, 'M_LIMIT_EXCEEDED', 1234]);
  });

  test('nothing is sent past one that cannot be reached', async () => {
    const { roomId } = await policed();
    policy.decide = () => Promise.reject(new Error('gone'));
    const { status, body } = await say(alice, roomId, 'hello');
    assert.deepEqual([status, at(body, 'errcode')], [502, 'M_UNKNOWN']);
    assert.deepEqual(await messagesIn(here, roomId), []);
  });

  for (const [name, decide] of [
    ['made with another key', (pdu: Pdu) => ({ status: 200, body: foreignSignature(pdu) })],
    ['over another event', (pdu: Pdu) => policy.signed({ ...pdu, depth: pdu.depth + 1 })],
    ['under another name', (pdu: Pdu) => renamed(policy.signed(pdu))],
    ['that is none', () => ({ status: 200, body: { [policy.server.serverName]: { [POLICY_KEY_ID]: [1] } } })],
  ] as const) {
    test(`a signature ${name} does not count`, async () => {
      const { roomId } = await policed();
      policy.decide = decide;
      const { status, body } = await say(alice, roomId, 'hello');
      assert.deepEqual([status, at(body, 'errcode')], [403, 'M_FORBIDDEN']);
      assert.deepEqual(await messagesIn(here, roomId), []);
    });
  }

  test('state and memberships are asked about, the event that names the policy server is not', async () => {
    const { roomId } = await policed();
    const room = encodeURIComponent(roomId);
    await carol.ok('POST', `/rooms/${room}/join`, {});
    await alice.ok('PUT', `/rooms/${room}/state/m.room.topic/`, { topic: 'checked' });
    await alice.ok('PUT', `/rooms/${room}/state/m.room.policy/other`, { via: 'elsewhere' });
    assert.deepEqual(
      policy.asked.map(({ type }) => type),
      ['m.room.member', 'm.room.topic', 'm.room.policy'],
    );
    policy.decide = () => refusal(400, 'M_FORBIDDEN', 'No');
    await setPolicy(alice, roomId, {});
    assert.equal((await say(alice, roomId, 'free')).status, 200);
    assert.equal(policy.asked.length, 3);
  });

  test('a room is policed only while its policy server is in it, and names a key', async () => {
    const { roomId, peer } = await policed();
    const { room, remote } = peer;
    policy.decide = () => refusal(400, 'M_FORBIDDEN', 'No');
    await peer.send({ ...room.member(remote.user('policy'), 'leave', { forge: policy.withSignature }) });
    assert.equal((await say(alice, roomId, 'left')).status, 200);
    const unnamed = await policed();
    await setPolicy(alice, unnamed.roomId, { via: policy.server.serverName, public_keys: { rsa: 'x' } });
    assert.equal((await say(alice, unnamed.roomId, 'unnamed')).status, 200);
    await setPolicy(alice, unnamed.roomId, { via: here.serverName, public_keys: { ed25519: policy.publicKey } });
    assert.equal((await say(alice, unnamed.roomId, 'ourselves')).status, 200);
    assert.equal(policy.asked.length, 0);
  });

  test('one transaction id, sent many times and after a restart, is asked about once', async () => {
    const { roomId } = await policed();
    const answers = await Promise.all(Array.from({ length: 5 }, () => say(alice, roomId, 'once', 'same')));
    await here.stop();
    await here.start();
    const ids = [...answers, await say(alice, roomId, 'once', 'same')].map(({ body }) => textAt(body, 'event_id'));
    assert.equal(new Set(ids).size, 1);
    assert.equal(policy.asked.length, 1);
  });

  test('while it looks at one, the room goes on', async () => {
    const { roomId, peer } = await policed();
    const { promise, resolve } = Promise.withResolvers<void>();
    policy.decide = async (pdu) => {
      if (pdu.content['body'] === 'slow') await promise;
      return policy.signed(pdu);
    };
    const slow = say(alice, roomId, 'slow');
    await until(async () => policy.asked.length === 1);
    assert.equal((await say(alice, roomId, 'quick')).status, 200);
    await peer.send(spoken(peer, 'from elsewhere', policy.withSignature));
    resolve();
    assert.equal((await slow).status, 200);
    assert.equal((await say(alice, roomId, 'last')).status, 200);
    assert.deepEqual(await shownTo(alice, roomId), ['last', 'slow', 'from elsewhere', 'quick']);
  });

  test('who lost the right while it looked at the event does not get it in', async () => {
    const { roomId } = await policed();
    const room = encodeURIComponent(roomId);
    await carol.ok('POST', `/rooms/${room}/join`, {});
    const { promise, resolve } = Promise.withResolvers<void>();
    policy.decide = async (pdu) => {
      if (pdu.sender === carol.userId) await promise;
      return policy.signed(pdu);
    };
    const sending = say(carol, roomId, 'too late');
    await until(async () =>
      policy.asked.some(({ sender, type }) => sender === carol.userId && type === 'm.room.message'),
    );
    await alice.ok('POST', `/rooms/${room}/ban`, { user_id: carol.userId });
    resolve();
    assert.equal((await sending).status, 403);
    assert.deepEqual(await shownTo(alice, roomId), []);
  });

  test('a redaction takes effect, with the signature', async () => {
    const { roomId } = await policed();
    const eventId = textAt((await say(alice, roomId, 'regretted')).body, 'event_id');
    await alice.ok('PUT', `/rooms/${encodeURIComponent(roomId)}/redact/${eventId}/r${transactions++}`, {});
    assert.deepEqual(
      policy.asked.map(({ type }) => type),
      ['m.room.message', 'm.room.redaction'],
    );
    assert.deepEqual(await shownTo(alice, roomId), []);
  });

  test('an invite that it refuses disturbs nobody; one that it signs arrives', async () => {
    const { roomId } = await policed();
    const invite = () => alice.call('POST', `/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: bob.userId });
    const invited = async (): Promise<boolean> =>
      at(await bob.ok('GET', '/sync?timeout=0'), 'rooms', 'invite', roomId) !== undefined;
    policy.decide = () => refusal(400, 'M_FORBIDDEN', 'No spam');
    assert.equal((await invite()).status, 400);
    assert.equal(await invited(), false);
    policy.decide = (pdu) => policy.signed(pdu);
    assert.equal((await invite()).status, 200);
    assert.equal(await invited(), true);
    const member = (await storedIn(here, roomId)).findLast(({ type }) => type === 'm.room.member');
    assert.deepEqual(
      Object.keys(member?.signatures ?? {}).toSorted(),
      [here.serverName, there.serverName, policy.server.serverName].toSorted(),
    );
  });
});

describe('what others send', () => {
  test('is taken in with a signature that it bears, and nobody is asked', async () => {
    const { roomId, peer } = await policed();
    await peer.send(spoken(peer, 'signed', policy.withSignature));
    assert.deepEqual(await messagesIn(here, roomId), [['signed', true]]);
    assert.equal(policy.asked.length, 0);
  });

  test('without one the policy server is asked, and what it gives is kept beside the signatures that there are', async () => {
    const { roomId, peer } = await policed();
    await peer.send(spoken(peer, 'forgotten'));
    assert.equal(policy.asked.length, 1);
    const stored = (await storedIn(here, roomId)).find(({ type }) => type === 'm.room.message');
    const ofServer = Object.keys(stored?.signatures[policy.server.serverName] ?? {});
    assert.deepEqual(ofServer.toSorted(), [POLICY_KEY_ID, policy.server.signingKey.keyId].toSorted());
    assert.deepEqual(await shownTo(alice, roomId), ['forgotten']);
  });

  for (const [name, decide] of [
    ['refuses', () => refusal(400, 'M_FORBIDDEN', 'Spam')],
    ['signs with another key', (pdu: Pdu) => ({ status: 200, body: foreignSignature(pdu) })],
  ] as const) {
    test(`what it ${name} is soft-failed, and what follows is not`, async () => {
      const { roomId, peer } = await policed();
      policy.decide = (pdu) => (pdu.content['body'] === 'spam' ? decide(pdu) : policy.signed(pdu));
      await peer.send(spoken(peer, 'spam'), spoken(peer, 'fine'));
      assert.deepEqual(await messagesIn(here, roomId), [
        ['spam', false],
        ['fine', true],
      ]);
      assert.deepEqual(await shownTo(alice, roomId), ['fine']);
    });
  }

  test('a policy server that comes with an event is asked about the next one of the same transaction', async () => {
    const { roomId, peer } = await policed();
    await setPolicy(alice, roomId, {});
    await alice.ok('PUT', `/rooms/${encodeURIComponent(roomId)}/state/m.room.power_levels/`, {
      events: { 'm.room.policy': 0 },
    });
    await peer.learn();
    const { room, remote } = peer;
    policy.decide = (pdu) => (pdu.content['body'] === 'spam' ? refusal(400, 'M_FORBIDDEN', '') : policy.signed(pdu));
    const content = { via: policy.server.serverName, public_keys: { ed25519: policy.publicKey } };
    const named = room.add({ type: 'm.room.policy', stateKey: '', sender: remote.user('policy'), content });
    await peer.send(spoken(peer, 'before'), named, spoken(peer, 'spam'), spoken(peer, 'fine'));
    assert.deepEqual(await shownTo(alice, roomId), ['fine', 'before']);
  });

  test('one that does not answer is left alone for a while, and what bears its signature comes in all the same', async () => {
    const { roomId, peer } = await policed();
    policy.decide = () => Promise.reject(new Error('gone'));
    await peer.send(spoken(peer, 'first'));
    const { length } = policy.asked;
    await peer.send(spoken(peer, 'second'), spoken(peer, 'signed', policy.withSignature));
    assert.equal(policy.asked.length, length);
    assert.deepEqual(await shownTo(alice, roomId), ['signed']);
  });
});

test('this server is no policy server, and says so', async () => {
  const { status, body } = await alice.admin('POST', '/_matrix/policy/v1/sign');
  assert.deepEqual([status, at(body, 'errcode')], [404, 'M_UNRECOGNIZED']);
});

function foreignSignature(pdu: Pdu): JsonObject {
  const key = createSigningKey(secureRandom.bytes(32), 'policy_server');
  const name = policy.server.serverName;
  return { [name]: { [POLICY_KEY_ID]: key.sign(JSON.stringify(pdu)) } };
}

function renamed({ status, body }: PolicyAnswer): PolicyAnswer {
  return { status, body: { 'elsewhere.example': body[policy.server.serverName] } };
}
