/**
 * Invites by address that an identity server has found the users of, between whole servers of ours.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { secureRandom } from '../../src/lib/random.ts';
import type { JsonObject } from '../../src/protocol/pdu.ts';
import { createSigningKey, signJson } from '../../src/protocol/signing.ts';
import {
  call,
  type ScriptedServer,
  startScriptedServer,
  type TestClient,
  type TestHomeserver,
} from '../support/federation.ts';
import { at, textAt } from '../support/json.ts';
import { startPair } from '../support/pair.ts';
import { askAs } from '../support/signed-requests.ts';

const stack = new AsyncDisposableStack();
const identity = createSigningKey(secureRandom.bytes(32), '0');
let here: TestHomeserver;
let there: TestHomeserver;
let peer: ScriptedServer;
let identityServer: ScriptedServer;
let alice: TestClient;
let bob: TestClient;

before(async () => {
  const pair = await startPair(stack);
  ({ here, there, peer, alice, bob } = pair);
  identityServer = stack.use(await startScriptedServer(pair.authority));
  identityServer.handle = (_request, response) => void response.writeHead(200).end('{"valid":true}');
});

after(() => stack.disposeAsync());

const TOKEN = 'token';

/** A room of Alice's in which somebody is invited by address. */
async function createRoom(fields: JsonObject = {}): Promise<string> {
  const room = textAt(await alice.ok('POST', '/createRoom', {}), 'room_id');
  const content = {
    display_name: 'b...@example.org',
    key_validity_url: `https://${identityServer.serverName}/isvalid`,
    public_key: identity.publicKey,
    ...fields,
  };
  await alice.ok('PUT', `/rooms/${encodeURIComponent(room)}/state/m.room.third_party_invite/${TOKEN}`, content);
  return room;
}

const sign = (userId: string, fields: JsonObject = {}): JsonObject =>
  signJson({ mxid: userId, sender: alice.userId, token: TOKEN, ...fields }, 'identity.example', identity);

const member = async (room: string, userId: string): Promise<unknown> =>
  (await alice.call('GET', `/rooms/${encodeURIComponent(room)}/state/m.room.member/${userId}`)).body;

const bind = (server: TestHomeserver, room: string, { userId }: Pick<TestClient, 'userId'>) => {
  const address = { medium: 'email', address: 'b@example.org', mxid: userId };
  const invites = [{ ...address, room_id: room, sender: alice.userId, signed: sign(userId) }];
  const path = '/_matrix/federation/v1/3pid/onbind';
  return call(server.url, { method: 'PUT', path, body: { ...address, invites } });
};

test('a user whose address was invited is invited by the server of the inviter, wherever they are', async () => {
  const room = await createRoom();
  assert.deepEqual(await bind(there, room, bob), { status: 200, body: {} });
  const content = await member(room, bob.userId);
  assert.deepEqual(content, {
    membership: 'invite',
    third_party_invite: { display_name: 'b...@example.org', signed: sign(bob.userId) },
  });
  assert.ok(at(await bob.ok('GET', '/sync'), 'rooms', 'invite', room));
  await bob.ok('POST', `/rooms/${encodeURIComponent(room)}/join`, {});
  assert.equal(at(await member(room, bob.userId), 'membership'), 'join');

  const carol = await here.register('carol');
  const other = await createRoom();
  assert.equal((await bind(here, other, carol)).status, 200);
  assert.equal(at(await member(other, carol.userId), 'membership'), 'invite');
});

test('the key of the identity server is asked for, and an invite by one that was revoked is not made', async () => {
  const bound = async (fields?: JsonObject): Promise<unknown> => {
    const room = await createRoom(fields);
    identityServer.requests.length = 0;
    await bind(there, room, bob);
    return at(await member(room, bob.userId), 'membership');
  };
  assert.equal(await bound(), 'invite');
  const asked = identityServer.requests.map(
    (request) => new URL(request.slice('GET '.length), 'https://x').searchParams,
  );
  assert.deepEqual(
    asked.map((query) => query.get('public_key')),
    [identity.publicKey],
  );
  const { handle } = identityServer;
  for (const text of ['{"valid":false}', '{}', '<html>']) {
    identityServer.handle = (_request, response) => void response.writeHead(200).end(text);
    assert.equal(await bound(), undefined, text);
  }
  identityServer.handle = handle;
  const url = `https://${identityServer.serverName}/isvalid`;
  for (const key_validity_url of ['x', url.replace('https', 'http'), 'https://10.0.0.1/']) {
    assert.equal(await bound({ key_validity_url }), undefined, key_validity_url);
  }
  // A key that names no place to ask is good for ever.
  const keys = { public_key: 'other', public_keys: [{ public_key: identity.publicKey }] };
  assert.equal(await bound(keys), 'invite');
  assert.deepEqual(identityServer.requests, []);
});

test('users who are not here are not bound', async () => {
  const room = await createRoom();
  assert.equal((await bind(there, room, { userId: `@nobody:${there.serverName}` })).status, 404);
  assert.equal((await bind(there, room, { userId: alice.userId })).status, 404);
});

test('A1, A4, A6: an invite is exchanged for the user of the server that asks, and by the word of the identity server', async () => {
  const room = await createRoom();
  const mallory = `@mallory:${peer.serverName}`;
  const ask = ({
    signed = sign(mallory),
    path = room,
    ...fields
  }: { signed?: JsonObject; path?: string } & JsonObject) => {
    const third_party_invite = { display_name: 'm', signed };
    const body = {
      type: 'm.room.member',
      room_id: room,
      sender: alice.userId,
      state_key: mallory,
      content: { membership: 'invite', third_party_invite },
      ...fields,
    };
    const url = `/_matrix/federation/v1/exchange_third_party_invite/${encodeURIComponent(path)}`;
    return askAs(peer, here, { method: 'PUT', path: url, body });
  };
  const elsewhere = await createRoom();
  const unsigned = { mxid: mallory, token: TOKEN, signatures: {} };
  const bad: readonly Parameters<typeof ask>[0][] = [
    { type: 'm.room.power_levels' },
    { state_key: bob.userId },
    { sender: mallory },
    { sender: bob.userId },
    { room_id: elsewhere },
    { path: elsewhere },
    { content: { membership: 'join', third_party_invite: { display_name: 'm', signed: sign(mallory) } } },
    { signed: unsigned },
    { signed: sign(bob.userId) },
    { signed: { ...sign(mallory), mxid: 'x' } },
    { signed: sign(mallory, { token: 'other' }) },
    { signed: signJson({ mxid: mallory, token: TOKEN }, 'x', createSigningKey(secureRandom.bytes(32), '0')) },
    { signed: sign(mallory, { more: true }) },
  ];
  for (const fields of bad) {
    const { status, body } = await ask(fields);
    assert.ok(status === 400 || status === 403, `${status} ${JSON.stringify([fields, body])}`);
  }
  assert.deepEqual(
    peer.requests.filter((request) => request.includes('/invite/')),
    [],
  );
  // With all that right the invite is offered to the server, which here does not sign it.
  assert.equal((await ask({})).status, 502);
  assert.equal(peer.requests.filter((request) => request.includes('/invite/')).length, 1);
  assert.equal(at(await member(room, mallory), 'membership'), undefined);
});
