/**
 * What administrators see of other servers, with a real server that has somebody to send to.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCli } from '../../src/cli/program.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import {
  call,
  startHomeserver,
  startScriptedServer,
  type TestClient,
  type TestHomeserver,
} from '../support/federation.ts';
import { at, entriesAt, listAt } from '../support/json.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let server: TestHomeserver;
let admin: TestClient;

before(async () => {
  authority = stack.use(await createTestAuthority());
  server = stack.use(await startHomeserver({ authority }));
  admin = await server.register('admin');
  await admin.ok('POST', '/createRoom', {});
});

after(() => stack.disposeAsync());

const PATH = '/_hammerhead/v0/admin/federation';

test('destinations are listed with what is wrong, and tried again when asked', async () => {
  const rows = [
    ['dead.example', 3],
    ['fine.example', 0],
  ] as const;
  await server.stop();
  for (const [name, failures] of rows) {
    await server.test.database.query({
      name: `insert ${name}`,
      text: `insert into destinations values ($1, $2, $3, 1, $4, 'no connection', null)`,
      values: [name, failures > 0 ? 1 : null, failures, Date.now() + 3_600_000],
    });
  }
  await server.start();
  const all = await admin.admin('GET', `${PATH}/destinations`);
  assert.deepEqual(
    listAt(all.body, 'chunk').map((entry) => at(entry, 'server_name')),
    ['dead.example', 'fine.example'],
  );
  const failing = await admin.admin('GET', `${PATH}/destinations?failing=true&limit=1`);
  const [entry] = listAt(failing.body, 'chunk');
  assert.deepEqual([at(entry, 'failures'), at(entry, 'last_error')], [3, 'no connection']);
  assert.ok(Number(at(entry, 'lag')) > 0);
  assert.equal(at(failing.body, 'next_batch'), 'dead.example');
  const retried = await admin.admin('POST', `${PATH}/destinations/dead.example/retry`);
  assert.deepEqual(retried.body, { waiting: true });
  // Nothing in any room is owed to it: it is settled without a request.
  for (let waited = 0; waited < 5_000; waited += 50) {
    const { body } = await admin.admin('GET', `${PATH}/destinations`);
    if (at(body, 'chunk', 0, 'lag') === undefined) break;
    await sleep(50);
  }
  const after = await admin.admin('GET', `${PATH}/destinations`);
  assert.equal(at(after.body, 'chunk', 0, 'lag'), undefined);
});

test('a name is resolved, and one that is none is refused', async () => {
  const found = await admin.admin('GET', `${PATH}/resolve/example.org:443`);
  assert.deepEqual(found.body, { targets: [{ host: 'example.org', port: 443, host_header: 'example.org:443' }] });
  assert.equal((await admin.admin('GET', `${PATH}/resolve/a%20b`)).status, 400);
  assert.equal((await admin.admin('GET', `${PATH}/resolve/a:0`)).status, 404);
  const user = await server.register('user');
  assert.equal((await user.admin('GET', `${PATH}/destinations`)).status, 403);
});

test('the keys of a server are asked of it, and shown with what was known before', async () => {
  await using other = await startScriptedServer(authority);
  const expired = { key: 'b3Vycw', expired_ts: 1_000 };
  other.handle = (_request, response) => {
    const document = other.keyDocument({ old_verify_keys: { 'ed25519:old': expired } });
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
  };
  const { status, body } = await admin.admin('GET', `${PATH}/keys/${other.serverName}`);
  assert.equal(status, 200);
  const [newest] = listAt(body, 'keys');
  assert.deepEqual(
    [at(newest, 'key_id'), at(newest, 'public_key')],
    [other.signingKey.keyId, other.signingKey.publicKey],
  );
  assert.ok(Number(at(newest, 'valid_until')) > Date.now());
  const own = await admin.admin('GET', `${PATH}/keys/${server.serverName}`);
  const document = await call(server.url, { method: 'GET', path: '/_matrix/key/v2/server' });
  const [[keyId] = []] = entriesAt(document.body, 'verify_keys');
  assert.equal(at(own.body, 'keys', 0, 'key_id'), keyId);
  assert.equal((await admin.admin('GET', `${PATH}/keys/127.0.0.1:1`)).status, 404);
  assert.equal((await admin.admin('GET', `${PATH}/keys/a%20b`)).status, 400);
});

test('the command line asks the same', async (context) => {
  const printed: string[] = [];
  context.mock.method(console, 'log', (line: string) => printed.push(line));
  const say = async (...given: readonly string[]): Promise<readonly string[]> => {
    printed.length = 0;
    const options = ['--url', server.url, '--token', admin.token];
    assert.equal(await runCli(['admin', 'federation', ...given, ...options]), 0);
    return [...printed];
  };
  assert.deepEqual(await say('resolve', '1.2.3.4'), ['HOST     PORT  NAME', '1.2.3.4  8448  1.2.3.4']);
  assert.deepEqual(JSON.parse((await say('resolve', '1.2.3.4', '--json')).join('\n')), {
    targets: [{ host: '1.2.3.4', port: 8448, host_header: '1.2.3.4' }],
  });
  const [head = '', key = ''] = await say('keys', server.serverName);
  assert.match(head, /^ID +KEY +VALID UNTIL +EXPIRED/);
  assert.match(key, /^ed25519:/);
  context.mock.method(console, 'error', () => undefined);
  const refused: readonly (readonly [readonly string[], number])[] = [
    [['resolve'], 2],
    [['resolve', 'a b'], 1],
    [['resolve', 'a:0'], 1],
    [['keys', '127.0.0.1:1'], 1],
    [['resolve', 'a.example', '--token', 'nobody'], 4],
    [['resolve', 'a.example', '--url', 'http://127.0.0.1:1'], 3],
  ];
  for (const [[command = '', ...given], code] of refused) {
    const options = ['--url', server.url, '--token', admin.token];
    assert.equal(await runCli(['admin', 'federation', command, ...options, ...given]), code, given.join(' '));
  }
  const [title = '', ...rows] = await say('destinations', '--failing');
  assert.match(title, /^SERVER +FAILURES/);
  assert.match(rows[0] ?? '', /^dead\.example +3 +\d{4}-/);
  assert.equal(rows.length, 1);
  assert.deepEqual(await say('retry', 'nobody.example'), ['nothing waits for this server']);
  assert.deepEqual(JSON.parse((await say('retry', 'nobody.example', '--json')).join('\n')), { waiting: false });
});
