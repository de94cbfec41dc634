/**
 * Two whole servers that ask each other: profiles, aliases, the directory, keys; and what is answered to strangers.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { signRequest } from '../../src/protocol/request-signing.ts';
import { verifyJson } from '../../src/protocol/signing.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import {
  call,
  type ScriptedServer,
  startHomeserver,
  startScriptedServer,
  type TestHomeserver,
} from '../support/federation.ts';
import { at, entriesAt, listAt, textAt } from '../support/json.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let here: TestHomeserver;
let there: TestHomeserver;
let peer: ScriptedServer;

before(async () => {
  authority = stack.use(await createTestAuthority());
  here = stack.use(await startHomeserver({ authority }));
  there = stack.use(await startHomeserver({ authority, federation: { deny: ['127.*.*.250'] } }));
  peer = stack.use(await startScriptedServer(authority));
});

after(() => stack.disposeAsync());

interface Asking {
  readonly path: string;
  readonly method?: string;
  readonly body?: object;
  readonly from?: string;
  readonly destination?: string;
}

/** Asks `here` as the scripted server would. */
function ask({ path, method = 'GET', body, from = peer.serverName, destination = here.serverName }: Asking) {
  const content = body === undefined ? undefined : JSON.stringify(body);
  const authorization = signRequest({ method, uri: path, origin: from, destination, content }, peer.signingKey);
  return call(here.url, { method, path, body, headers: { authorization } });
}

test('a profile of another server is asked of that server', async () => {
  const bob = await there.register('bob');
  await bob.ok('PUT', `/profile/${bob.userId}/displayname`, { displayname: 'Bob There' });
  const { status, body } = await call(here.url, { method: 'GET', path: `/_matrix/client/v3/profile/${bob.userId}` });
  assert.equal(status, 200);
  assert.deepEqual(body, { displayname: 'Bob There' });
  const nobody = await call(here.url, {
    method: 'GET',
    path: `/_matrix/client/v3/profile/@nobody:${there.serverName}/displayname`,
  });
  assert.equal(nobody.status, 404);
});

test('a server that does not answer is a 502, and one on a denied network is not asked', async () => {
  const dead = await call(here.url, { method: 'GET', path: '/_matrix/client/v3/profile/@a:127.0.0.1:1' });
  assert.deepEqual([dead.status, at(dead.body, 'errcode')], [502, 'M_UNKNOWN']);
  const denied = await call(here.url, { method: 'GET', path: '/_matrix/client/v3/profile/@a:10.0.0.1:1' });
  assert.equal(denied.status, 404);
});

test('profiles are answered to signed requests, field by field', async () => {
  const alice = await here.register('alice');
  await alice.ok('PUT', `/profile/${alice.userId}/displayname`, { displayname: 'Alice' });
  const path = `/_matrix/federation/v1/query/profile?user_id=${encodeURIComponent(alice.userId)}`;
  assert.deepEqual(await ask({ path }), { status: 200, body: { displayname: 'Alice' } });
  assert.deepEqual(await ask({ path: `${path}&field=avatar_url` }), { status: 200, body: {} });
  assert.equal((await ask({ path: `/_matrix/federation/v1/query/profile?user_id=@x:${here.serverName}` })).status, 404);
});

test('B9: of users of other servers nothing is said', async () => {
  for (const userId of [`@a:${there.serverName}`, '@user1:localhost:http', 'a', '', '@:x', `@a:${here.serverName}:`]) {
    const path = `/_matrix/federation/v1/query/profile?user_id=${encodeURIComponent(userId)}`;
    assert.equal((await ask({ path })).status, 400, userId);
  }
});

test('aliases of this server lead to a room and the servers in it; others do not', async () => {
  const carol = await here.register('carol');
  const room = await carol.ok('POST', '/createRoom', {
    room_alias_name: 'kitchen',
    visibility: 'public',
    name: 'Kitchen',
  });
  const alias = encodeURIComponent(`#kitchen:${here.serverName}`);
  const { status, body } = await ask({ path: `/_matrix/federation/v1/query/directory?room_alias=${alias}` });
  assert.equal(status, 200);
  assert.deepEqual(body, { room_id: textAt(room, 'room_id'), servers: [here.serverName] });
  for (const other of [`#nothing:${here.serverName}`, `#kitchen:${there.serverName}`]) {
    const path = `/_matrix/federation/v1/query/directory?room_alias=${encodeURIComponent(other)}`;
    assert.equal((await ask({ path })).status, 404, other);
  }
  const listed = await ask({ path: '/_matrix/federation/v1/publicRooms?limit=10' });
  assert.equal(at(listed.body, 'chunk', 0, 'name'), 'Kitchen');
  const path = '/_matrix/federation/v1/publicRooms';
  const found = await ask({ path, method: 'POST', body: { filter: { generic_search_term: 'kitch' }, limit: 3 } });
  assert.equal(listAt(found.body, 'chunk').length, 1);
  const none = await ask({ path, method: 'POST', body: { filter: { generic_search_term: 'cellar' } } });
  assert.deepEqual(listAt(none.body, 'chunk'), []);
});

test('aliases and the directory of another server are asked of that server', async () => {
  const dave = await there.register('dave');
  const room = await dave.ok('POST', '/createRoom', {
    room_alias_name: 'garden',
    visibility: 'public',
    name: 'Garden',
  });
  const alias = (name: string): string => encodeURIComponent(`#${name}:${there.serverName}`);
  const path = (name: string): string => `/_matrix/client/v3/directory/room/${alias(name)}`;
  const found = await call(here.url, { method: 'GET', path: path('garden') });
  assert.deepEqual(found, { status: 200, body: { room_id: textAt(room, 'room_id'), servers: [there.serverName] } });
  assert.equal((await call(here.url, { method: 'GET', path: path('desert') })).status, 404);
  const erin = await here.register('erin');
  const rooms = await erin.ok('GET', `/publicRooms?server=${there.serverName}&limit=5`);
  assert.deepEqual(
    listAt(rooms, 'chunk').map((entry) => at(entry, 'name')),
    ['Garden'],
  );
  const filter = { generic_search_term: 'gard' };
  const searched = await erin.ok('POST', `/publicRooms?server=${there.serverName}`, { filter });
  assert.equal(listAt(searched, 'chunk').length, 1);
  assert.equal((await erin.call('GET', '/publicRooms?server=127.0.0.1:1')).status, 502);
  assert.equal((await erin.call('GET', '/publicRooms?server=a%20b')).status, 400);
});

test('what a server says of its directory is read with care', async () => {
  const frank = await here.register('frank');
  const answerWith = (body: unknown): void => {
    peer.handle = (request, response) => {
      const isKeys = request.url === '/_matrix/key/v2/server';
      response.writeHead(200).end(JSON.stringify(isKeys ? peer.keyDocument() : body));
    };
  };
  const list = async (): Promise<unknown> => frank.ok('GET', `/publicRooms?server=${peer.serverName}`);
  answerWith({
    chunk: [null, 5, { room_id: 'x' }, { room_id: '!a:b', name: 'A' }],
    next_batch: {},
    total_room_count_estimate: 'x',
  });
  assert.deepEqual(await list(), { chunk: [{ room_id: '!a:b', name: 'A' }] });
  answerWith({ chunk: 'none' });
  assert.deepEqual(await list(), { chunk: [] });
  const alias = `/directory/room/${encodeURIComponent(`#a:${peer.serverName}`)}`;
  answerWith({ room_id: '!a:b', servers: [5, 'a b', 'ok.example', null] });
  assert.deepEqual(await frank.ok('GET', alias), { room_id: '!a:b', servers: ['ok.example'] });
  answerWith({ room_id: 'none' });
  assert.equal((await frank.call('GET', alias)).status, 404);
});

test('G2: without a signature, and with a wrong one, everything but version and keys is 401', async () => {
  const paths = ['query/profile?user_id=@a:b', 'query/directory?room_alias=%23a:b', 'publicRooms'];
  for (const path of paths.map((name) => `/_matrix/federation/v1/${name}`)) {
    const bare = await call(here.url, { method: 'GET', path });
    assert.deepEqual([bare.status, at(bare.body, 'errcode')], [401, 'M_UNAUTHORIZED'], path);
    const elsewhere = await ask({ path, destination: there.serverName });
    assert.deepEqual([elsewhere.status, at(elsewhere.body, 'errcode')], [401, 'M_UNAUTHORIZED'], path);
    const spoofed = await ask({ path, from: there.serverName });
    assert.deepEqual([spoofed.status, at(spoofed.body, 'errcode')], [401, 'M_UNAUTHORIZED'], path);
    const forged = await call(here.url, { method: 'GET', path, headers: { 'x-matrix-origin': peer.serverName } });
    assert.equal(forged.status, 401, path);
  }
});

test('a signature covers path, query and body', async () => {
  const path = '/_matrix/federation/v1/publicRooms';
  const signed = { method: 'POST', uri: path, origin: peer.serverName, destination: here.serverName };
  const authorization = signRequest({ ...signed, content: '{"limit":1}' }, peer.signingKey);
  const send = (to: string, body: unknown) =>
    call(here.url, { method: 'POST', path: to, body, headers: { authorization } });
  assert.equal((await send(path, { limit: 1 })).status, 200);
  assert.equal((await send(path, { limit: 2 })).status, 401);
  assert.equal((await send(`${path}?a=b`, { limit: 1 })).status, 401);
});

test('G1: the published keys are signed, and hold no seed', async () => {
  const { status, body } = await call(here.url, { method: 'GET', path: '/_matrix/key/v2/server' });
  assert.equal(status, 200);
  const [[keyId = '', key] = []] = entriesAt(body, 'verify_keys');
  const publicKey = textAt(key, 'key');
  const verifying = { serverName: here.serverName, keyId, publicKey };
  assert.ok(verifyJson(Object.fromEntries(Object.entries(body ?? {})), verifying));
  assert.equal(Buffer.from(publicKey, 'base64').length, 32);
  assert.ok(Number(at(body, 'valid_until_ts')) > Date.now() + 60 * 60 * 1000);
  assert.deepEqual(at(body, 'old_verify_keys'), {});
});

test('as a notary it signs what others say of their keys, and remembers it when they are gone', async () => {
  await using gone = await startScriptedServer(authority);
  const query = (serverName: string) => call(here.url, { method: 'GET', path: `/_matrix/key/v2/query/${serverName}` });
  const first = await query(gone.serverName);
  assert.equal(first.status, 200);
  const document = at(first.body, 'server_keys', 0);
  assert.deepEqual(
    entriesAt(document, 'signatures')
      .map(([name]) => name)
      .sort(),
    [gone.serverName, here.serverName].sort(),
  );
  await gone[Symbol.asyncDispose]();
  const body = { server_keys: { [gone.serverName]: {}, [here.serverName]: {}, '127.0.0.1:1': {}, 'not a name': {} } };
  const later = await call(here.url, { method: 'POST', path: '/_matrix/key/v2/query', body });
  assert.deepEqual(
    listAt(later.body, 'server_keys')
      .map((entry) => textAt(entry, 'server_name'))
      .sort(),
    [gone.serverName, here.serverName].sort(),
  );
  assert.deepEqual((await query('127.0.0.1:1')).body, { server_keys: [] });
});

test('the version is told to everybody', async () => {
  const { status, body } = await call(here.url, { method: 'GET', path: '/_matrix/federation/v1/version' });
  assert.equal(status, 200);
  assert.equal(textAt(body, 'server', 'name'), 'Hammerhead');
});

test('a service learns whose OpenID token it was given, and of any other token nothing', async () => {
  const olga = await here.register('olga');
  const given = await olga.ok('POST', `/user/${olga.userId}/openid/request_token`, {});
  const lookUp = (query: string) =>
    call(here.url, { method: 'GET', path: `/_matrix/federation/v1/openid/userinfo${query}` });
  const found = await lookUp(`?access_token=${textAt(given, 'access_token')}`);
  assert.deepEqual(found, { status: 200, body: { sub: olga.userId } });
  for (const token of [olga.token, 'guessed', '']) {
    const { status, body } = await lookUp(`?access_token=${token}`);
    assert.deepEqual([status, at(body, 'errcode')], [401, 'M_UNKNOWN_TOKEN']);
  }
  const { status, body } = await lookUp('');
  assert.deepEqual([status, at(body, 'errcode')], [401, 'M_MISSING_TOKEN']);
});
