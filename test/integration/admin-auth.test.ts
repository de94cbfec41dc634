/**
 * Who may use the admin API: every endpoint that is declared, asked by everybody there is.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { AdminEndpoint } from '../../src/api/admin/admin-endpoint.ts';
import { defineEndpoint } from '../../src/http/endpoint.ts';
import { sql } from '../../src/storage/sql.ts';
import { startAccountsServer } from '../support/accounts-server.ts';
import { type AdminServer, PASSWORD, PSK, SHARED_SECRET, startAdminServer } from '../support/admin-server.ts';
import { at, listAt, textAt } from '../support/json.ts';

const V0 = '/_hammerhead/v0';

/** The endpoints of the reference, with what it says about their authentication. */
const REFERENCE: readonly (readonly [method: string, path: string, auth: AdminEndpoint['auth']])[] = [
  ['GET', '/uptime', 'none'],
  ['GET', '/version', 'none'],
  ['POST', '/admin/make-pdu', 'admin'],
  ['POST', '/admin/reload-config', 'admin'],
  ['DELETE', '/admin/media/{origin}/{media_id}', 'admin'],
  ['POST', '/admin/media/purge', 'admin'],
  ['DELETE', '/admin/rooms/{room_id}', 'admin'],
  ['POST', '/admin/users/create', 'admin-or-psk'],
  ['POST', '/admin/users/{user_id}/deactivate', 'admin-or-psk'],
  ['GET', '/admin/users', 'admin'],
  ['PATCH', '/admin/users/{user_id}', 'admin-or-psk'],
];

describe('authentication of the admin API', () => {
  let server: AdminServer;
  let tokens: Readonly<Record<string, string | undefined>>;

  before(async () => {
    server = await startAdminServer();
    const accounts: Record<string, string> = {};
    for (const name of ['user', 'lockedadmin', 'goneadmin', 'suspendedadmin']) {
      accounts[name] = (await server.register(name)).token;
    }
    await server.db.database.query({
      name: 'flags',
      text: `update accounts set admin = localpart <> 'user', locked = localpart = 'lockedadmin',
        deactivated = localpart = 'goneadmin', suspended = localpart = 'suspendedadmin' where localpart <> 'root'`,
      values: [],
    });
    tokens = {
      'no token': undefined,
      'wrong token': 'hha_wrong',
      user: accounts['user'],
      'locked admin': accounts['lockedadmin'],
      'deactivated admin': accounts['goneadmin'],
      admin: server.admin,
      PSK,
      'wrong PSK': `${PSK}x`,
    };
  });
  after(() => server[Symbol.asyncDispose]());

  test('every endpoint of the reference is there, with the authentication that it states', () => {
    for (const [method, path, auth] of REFERENCE) {
      const found = server.endpoints.find((one) => one.method === method && one.paths.includes(V0 + path));
      assert.equal(found?.auth, auth, `${method} ${path}`);
    }
  });

  test('B12, E6: the table of rights, made from the declarations', async () => {
    const admitted: Readonly<Record<string, readonly string[]>> = {
      none: Object.keys(tokens),
      admin: ['admin'],
      'admin-or-psk': ['admin', 'PSK'],
    };
    const routes = server.endpoints.flatMap((endpoint) => endpoint.paths.map((declared) => ({ endpoint, declared })));
    for (const { endpoint, declared } of routes) {
      const path = declared.replaceAll(/\{[^}]+\}/g, 'nothing');
      for (const [who, token] of Object.entries(tokens)) {
        const answer = await server.request(endpoint.method, path, {
          ...(token === undefined ? {} : { token }),
          ...(endpoint.method === 'GET' || endpoint.method === 'DELETE' ? {} : { body: {} }),
        });
        const isForbidden = answer.status === 403 && at(answer.body, 'errcode') === 'M_FORBIDDEN';
        const mayPass = admitted[endpoint.auth]?.includes(who) === true;
        assert.equal(isForbidden, !mayPass, `${who}: ${endpoint.method} ${path} gave ${answer.status}`);
        if (mayPass) assert.ok(answer.status < 500, `${who}: ${endpoint.method} ${path} gave ${answer.status}`);
      }
    }
  });

  test('B12, E6: the table of rights of the specification’s own administration endpoints', async () => {
    const expected: Readonly<Record<string, readonly [status: number, errcode: string | undefined]>> = {
      'no token': [401, 'M_MISSING_TOKEN'],
      'wrong token': [401, 'M_UNKNOWN_TOKEN'],
      user: [403, 'M_FORBIDDEN'],
      'locked admin': [401, 'M_USER_LOCKED'],
      'deactivated admin': [401, 'M_UNKNOWN_TOKEN'],
      admin: [200, undefined],
      PSK: [401, 'M_UNKNOWN_TOKEN'],
      'wrong PSK': [401, 'M_UNKNOWN_TOKEN'],
    };
    await server.register('plain');
    assert.ok(server.specEndpoints.length >= 5);
    for (const { method, paths } of server.specEndpoints) {
      const path = (paths[0] ?? '').replace('{userId}', encodeURIComponent('@plain:test.example'));
      const flag = path.includes('/lock/') ? 'locked' : 'suspended';
      for (const [who, token] of Object.entries(tokens)) {
        const answer = await server.request(method, path, {
          ...(token === undefined ? {} : { token }),
          ...(method === 'PUT' ? { body: { [flag]: false } } : {}),
        });
        assert.deepEqual([answer.status, at(answer.body, 'errcode')], expected[who], `${who}: ${method} ${path}`);
      }
    }
  });

  test('the administrator flag is read from the database, so documented SQL works at once', async () => {
    const { token } = await server.register('foo');
    const list = () => server.request('GET', `${V0}/admin/users`, { token });
    assert.equal((await list()).status, 403);
    await server.db.database.query({
      name: 'promote',
      text: "UPDATE accounts SET admin=true WHERE localpart='foo';",
      values: [],
    });
    assert.equal((await list()).status, 200);
    await server.db.database.query({
      name: 'demote',
      text: "UPDATE accounts SET admin=false WHERE localpart='foo';",
      values: [],
    });
    assert.equal((await list()).status, 403);
  });

  test('the first account that registers is an administrator, the second is none', async () => {
    await using fresh = await startAdminServer();
    const users = await fresh.api('GET', '/users?limit=10');
    assert.deepEqual(
      listAt(users.body, 'chunk').map((one) => [at(one, 'localpart'), at(one, 'admin')]),
      [['root', true]],
    );
    const { token } = await fresh.register('second');
    assert.equal((await fresh.request('GET', `${V0}/admin/users`, { token })).status, 403);
  });

  test('an administrator makes another by update user', async () => {
    const { token } = await server.register('promoted');
    assert.deepEqual((await server.api('PATCH', '/users/promoted', { admin: true })).body, {});
    assert.equal((await server.request('GET', `${V0}/admin/users`, { token })).status, 200);
    await server.api('PATCH', '/users/promoted', { admin: false });
    assert.equal((await server.request('GET', `${V0}/admin/users`, { token })).status, 403);
  });

  test('a token in the query string works as with any other Matrix request; the pre-shared secret does not', async () => {
    assert.equal((await server.request('GET', `${V0}/admin/users?access_token=${server.admin}`)).status, 200);
    const body = { localpart: 'fromquery' };
    assert.equal((await server.request('POST', `${V0}/admin/users/create?access_token=${PSK}`, { body })).status, 403);
  });

  test('E3: an empty bearer token is nobody, also where an account has no token', async () => {
    for (const authorization of ['Bearer ', 'Bearer', '', 'Basic abc', `Basic ${PSK}`]) {
      const answer = await server.request('POST', `${V0}/admin/users/create`, {
        headers: { authorization },
        body: { localpart: 'nobody' },
      });
      assert.deepEqual([answer.status, at(answer.body, 'errcode')], [403, 'M_FORBIDDEN'], authorization);
    }
  });

  test('without a configured secret nothing passes for it', async () => {
    await using bare = await startAdminServer({ psk: undefined });
    for (const token of [PSK, '', 'undefined', 'null']) {
      const answer = await bare.request('POST', `${V0}/admin/users/create`, { token, body: { localpart: 'x' } });
      assert.deepEqual([answer.status, at(answer.body, 'errcode')], [403, 'M_FORBIDDEN']);
    }
    await using empty = await startAdminServer({ psk: '' });
    assert.equal((await empty.request('POST', `${V0}/admin/users/create`, { token: '', body: {} })).status, 403);
  });

  test('guessing the pre-shared secret is limited for each address, and administrators are not in its way', async () => {
    await using limited = await startAdminServer({ limits: { login_failed: { perSecond: 0.001, burst: 3 } } });
    const create = (token: string, localpart: string) =>
      limited.request('POST', `${V0}/admin/users/create`, { token, body: { localpart } });
    for (let guess = 0; guess < 3; guess++) assert.equal((await create(`guess${guess}`, 'a')).status, 403);
    const refused = await create('guess4', 'a');
    assert.deepEqual([refused.status, at(refused.body, 'errcode')], [429, 'M_LIMIT_EXCEEDED']);
    assert.equal((await create(PSK, 'a')).status, 429, 'even the right one has to wait');
    assert.equal((await create(limited.admin, 'a')).status, 201);
  });

  test('an unknown version, an unknown route and a wrong method are M_UNRECOGNIZED', async () => {
    for (const [method, path, status] of [
      ['GET', '/_hammerhead/v1/uptime', 404],
      ['GET', '/_hammerhead/v9007199254740991/hello-world', 404],
      ['GET', `${V0}/nothing`, 404],
      ['GET', `${V0}/admin/nothing`, 404],
      ['GET', '/_hammerhead', 404],
      ['PUT', `${V0}/uptime`, 405],
      ['PATCH', `${V0}/admin/users`, 405],
    ] as const) {
      const answer = await server.request(method, path, { token: server.admin });
      assert.deepEqual([answer.status, at(answer.body, 'errcode')], [status, 'M_UNRECOGNIZED'], `${method} ${path}`);
    }
  });

  test('several versions of a route can be there side by side', async () => {
    const define = (version: string) =>
      defineEndpoint({
        method: 'GET',
        path: `/_hammerhead/${version}/foo`,
        auth: 'none',
        spec: '',
        handle: () => ({ version }),
      });
    await using two = await startAccountsServer({ endpoints: [define('v0'), define('v1')] });
    assert.deepEqual((await two.request('GET', '/_hammerhead/v0/foo')).body, { version: 'v0' });
    assert.deepEqual((await two.request('GET', '/_hammerhead/v1/foo')).body, { version: 'v1' });
    assert.equal((await two.request('GET', '/_hammerhead/v2/foo')).status, 404);
  });

  test('browsers may send PATCH', async () => {
    const { headers } = await server.request('OPTIONS', `${V0}/admin/users/foo`);
    assert.match(headers.get('access-control-allow-methods') ?? '', /PATCH/);
  });
});

/** Every row of every table, but for the hashes of passwords that are theirs to be. */
async function dump({ db }: AdminServer): Promise<readonly string[]> {
  const tables = await db.database.query(sql<{ name: string }>`
    select relname::text as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`);
  const dumps = await Promise.all(
    tables.map(async ({ name }) => {
      const text = `select t::text as row from ${name} t`;
      return db.database.query<{ row: string }>({ name: `dump_${name}`, text, values: [] });
    }),
  );
  return dumps.flat().map(({ row }) => row.replaceAll(/\$argon2[^,]*,[^,]*,[^,)"]*/g, ''));
}

describe('audit log', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
  });
  after(() => server[Symbol.asyncDispose]());

  test('says who did what, when, from where, and with what result', async () => {
    const started = Date.now();
    await server.request('POST', `${V0}/admin/users/create`, {
      token: PSK,
      body: { localpart: 'made', password: 'a-secret-password' },
      headers: { 'user-agent': 'the tests' },
    });
    await server.api('PATCH', '/users/nobody', { admin: true });
    const { body } = await server.api('GET', '/audit?limit=2');
    const [update, create] = listAt(body, 'chunk');
    assert.deepEqual(
      [at(create, 'actor'), at(create, 'method'), at(create, 'path'), at(create, 'status'), at(create, 'user_agent')],
      ['pre-shared secret', 'POST', `${V0}/admin/users/create`, 201, 'the tests'],
    );
    assert.equal(textAt(create, 'body'), '{"localpart":"made","password":"[redacted]"}');
    assert.match(textAt(create, 'ip'), /127\.0\.0\.1/);
    assert.ok(Number(at(create, 'at')) >= started && Number(at(create, 'at')) <= Date.now());
    assert.deepEqual(
      [at(update, 'actor'), at(update, 'params'), at(update, 'status'), at(update, 'errcode')],
      ['@root:test.example', ['nobody'], 404, 'M_NOT_FOUND'],
    );
    const older = await server.api('GET', `/audit?limit=1&since=${at(body, 'next_batch')}`);
    assert.ok(Number(at(older.body, 'chunk', 0, 'entry_id') ?? 0) < Number(at(create, 'entry_id')));
    const ofPsk = await server.api('GET', `/audit?actor=${encodeURIComponent('pre-shared secret')}`);
    assert.deepEqual(
      listAt(ofPsk.body, 'chunk').map((entry) => at(entry, 'status')),
      [201],
    );
  });

  test('keeps refused requests, as nobody’s, and no more than a flood needs', async () => {
    for (let request = 0; request < 80; request++) await server.request('GET', `${V0}/admin/users`);
    const { body } = await server.api('GET', '/audit?limit=200');
    const refused = listAt(body, 'chunk').filter((entry) => at(entry, 'actor') === undefined);
    assert.equal(refused.length, 60);
    assert.ok(refused.every((entry) => at(entry, 'status') === 403));
  });

  test('only grows: neither change nor deletion is possible', async () => {
    for (const text of ["update audit_log set actor = 'x'", 'delete from audit_log', 'truncate audit_log']) {
      await assert.rejects(server.db.database.query({ name: text, text, values: [] }), /only grows/);
    }
  });

  test('B12, E2: neither log nor audit nor answers nor tables hold secrets', async () => {
    const { userId } = await server.register('canary', 'canary-password-one');
    await server.api('PATCH', '/users/canary', { password: 'canary-password-two' });
    await server.api('POST', '/users/canary/reset-password', { password: 'canary-password-three' });
    await server.api('POST', '/users/create', { localpart: 'canary2', password: { nested: 'canary-wrong-type' } });
    await server.api('PATCH', '/users/canary', { old_passwords: ['canary-in-a-list'], admin: false });
    await server.request('POST', `${V0}/admin/users/create`, { token: 'canary-guess', body: { localpart: 'x' } });
    await server.request('GET', `${V0}/admin/users?access_token=${server.admin}`);
    const made = [
      at((await server.api('POST', '/users/canary/access-token')).body, 'access_token'),
      at((await server.api('POST', '/users/canary/reset-password')).body, 'password'),
    ];
    const answers: unknown[] = [];
    for (const { method, paths } of server.endpoints) {
      if (method !== 'GET') continue;
      const path = (paths[0] ?? '').replace('{user_id}', encodeURIComponent(userId)).replaceAll(/\{[^}]+\}/g, '1');
      answers.push((await server.request('GET', `${path}?limit=1000`, { token: server.admin })).body);
    }
    const all = JSON.stringify([answers, server.log, await dump(server)]);
    assert.ok(all.includes(userId), 'there was something to be found in');
    for (const secret of [
      'canary-password-one',
      'canary-password-two',
      'canary-password-three',
      'canary-wrong-type',
      'canary-in-a-list',
      'canary-guess',
      PSK,
      SHARED_SECRET,
      server.admin,
      PASSWORD,
      '$argon2',
      ...made.map(String),
    ]) {
      assert.ok(!all.includes(secret), secret);
    }
  });
});
