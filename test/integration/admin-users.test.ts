/**
 * Create, list and update users: each sentence of the reference.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { sql } from '../../src/storage/sql.ts';
import { type AdminServer, PASSWORD, PSK, SERVICE_LOCALPART, startAdminServer } from '../support/admin-server.ts';
import { at, entriesAt, listAt } from '../support/json.ts';

const CREATE = '/_hammerhead/v0/admin/users/create';

describe('admin API: users', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const login = (user: string, password: string) =>
    server.request('POST', '/_matrix/client/v3/login', {
      body: { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password },
    });
  const whoami = (token: string) => server.request('GET', '/_matrix/client/v3/account/whoami', { token });
  const create = (body: unknown) => server.api('POST', '/users/create', body);
  const errorOf = (answer: { status: number; body: unknown }) => [answer.status, at(answer.body, 'errcode')];

  test('create: 201 with the numeric id of the account in the database', async () => {
    const answer = await create({ localpart: 'username.here', password: '$ecureP4sswordH3re!' });
    assert.equal(answer.status, 201);
    const [row] = await server.db.database.query(
      sql<{ account_id: number }>`select account_id from accounts where localpart = 'username.here'`,
    );
    assert.deepEqual(answer.body, { account_id: row?.account_id });
    assert.equal((await login('username.here', '$ecureP4sswordH3re!')).status, 200);
  });

  test('create: with the pre-shared secret', async () => {
    const body = { localpart: 'automation' };
    assert.equal((await server.request('POST', CREATE, { token: PSK, body })).status, 201);
  });

  test('create: the first account of a server can be made by the pre-shared secret, and administers it', async () => {
    await using fresh = await startAdminServer();
    await fresh.db.database.query({ name: 'empty', text: 'delete from accounts', values: [] });
    const body = { localpart: 'boss', password: PASSWORD };
    assert.equal((await fresh.request('POST', CREATE, { token: PSK, body })).status, 201);
    const [row] = await fresh.db.database.query(
      sql<{ admin: boolean }>`select admin from accounts where localpart = 'boss'`,
    );
    assert.equal(row?.admin, true);
  });

  test('create: passwords that registration would refuse are taken', async () => {
    assert.equal((await create({ localpart: 'short', password: '1' })).status, 201);
    assert.equal((await login('short', '1')).status, 200);
  });

  test('create: without a password nobody can log in', async () => {
    assert.equal((await create({ localpart: 'nopassword' })).status, 201);
    assert.equal((await create({ localpart: 'emptypassword', password: '' })).status, 201);
    for (const password of ['', ' ', 'null', 'undefined', PASSWORD]) {
      assert.equal((await login('nopassword', password)).status, 403);
      assert.equal((await login('emptypassword', password)).status, 403);
    }
  });

  test('create: an administrator makes access tokens for who has no password', async () => {
    await create({ localpart: 'tokenonly' });
    const made = await server.api('POST', '/users/tokenonly/access-token', { display_name: 'A script' });
    assert.equal(made.status, 201);
    const { body } = await whoami(String(at(made.body, 'access_token')));
    assert.deepEqual(
      [at(body, 'user_id'), at(body, 'device_id')],
      ['@tokenonly:test.example', at(made.body, 'device_id')],
    );
    await server.api('POST', '/users/tokenonly/deactivate');
    assert.deepEqual(errorOf(await server.api('POST', '/users/tokenonly/access-token')), [403, 'M_USER_DEACTIVATED']);
  });

  test('create: locked and suspended upon creation, false by default', async () => {
    await create({ localpart: 'islocked', password: PASSWORD, locked: true });
    await create({ localpart: 'issuspended', password: PASSWORD, suspended: true });
    await create({ localpart: 'isneither', password: PASSWORD });
    const flags = async (name: string) => {
      const { body } = await server.api('GET', `/users/${name}`);
      return [at(body, 'locked'), at(body, 'suspended')];
    };
    assert.deepEqual(await flags('islocked'), [true, false]);
    assert.deepEqual(await flags('issuspended'), [false, true]);
    assert.deepEqual(await flags('isneither'), [false, false]);
    assert.deepEqual(errorOf(await login('islocked', PASSWORD)), [401, 'M_USER_LOCKED']);
    assert.equal((await login('issuspended', PASSWORD)).status, 200);
  });

  test('create: what is no JSON is M_NOT_JSON', async () => {
    for (const raw of ['', '{', 'localpart=x', '{"localpart": "x",}']) {
      const answer = await server.request('POST', CREATE, { token: server.admin, raw });
      assert.deepEqual(errorOf(answer), [400, 'M_NOT_JSON'], raw);
    }
  });

  test('create: an empty or invalid localpart is M_INVALID_USERNAME', async () => {
    for (const localpart of [
      '',
      'Upper',
      'with space',
      'ü',
      'a:b',
      '@a',
      '@a:test.example',
      'a'.repeat(255),
      null,
      5,
    ]) {
      assert.deepEqual(errorOf(await create({ localpart })), [400, 'M_INVALID_USERNAME'], String(localpart));
    }
    assert.deepEqual(errorOf(await create({})), [400, 'M_INVALID_USERNAME']);
  });

  test('create: a localpart in use, once used, or reserved is M_USER_IN_USE', async () => {
    await create({ localpart: 'taken' });
    assert.deepEqual(errorOf(await create({ localpart: 'taken' })), [400, 'M_USER_IN_USE']);
    assert.deepEqual(errorOf(await create({ localpart: '_server' })), [400, 'M_USER_IN_USE']);
    assert.deepEqual(errorOf(await create({ localpart: SERVICE_LOCALPART })), [400, 'M_USER_IN_USE']);
    await create({ localpart: 'gone' });
    await server.api('POST', '/users/gone/deactivate', {});
    assert.deepEqual(errorOf(await create({ localpart: 'gone' })), [400, 'M_USER_IN_USE']);
  });

  test('E11: of many that create one user at the same time, one succeeds', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => create({ localpart: 'race' })));
    assert.equal(answers.filter(({ status }) => status === 201).length, 1);
    assert.equal(answers.filter(({ body }) => at(body, 'errcode') === 'M_USER_IN_USE').length, 19);
  });

  test('update: nothing that is not given changes', async () => {
    await create({ localpart: 'patched', password: 'first password' });
    assert.deepEqual(await server.api('PATCH', '/users/patched', {}).then(({ status, body }) => [status, body]), [
      200,
      {},
    ]);
    assert.equal((await login('patched', 'first password')).status, 200);
    assert.deepEqual((await server.api('PATCH', '/users/patched', { password: 'foobar' })).body, {});
    assert.deepEqual(errorOf(await login('patched', 'first password')), [403, 'M_FORBIDDEN']);
    assert.equal((await login('patched', 'foobar')).status, 200);
    await server.api('PATCH', '/users/patched', { admin: true });
    const { body } = await server.api('GET', '/users/patched');
    assert.deepEqual([at(body, 'admin'), at(body, 'locked'), at(body, 'suspended')], [true, false, false]);
    assert.equal((await login('patched', 'foobar')).status, 200);
    await server.api('PATCH', '/users/patched', { admin: null });
    assert.equal(at((await server.api('GET', '/users/patched')).body, 'admin'), true);
  });

  test('update: by user id or localpart, with the pre-shared secret too', async () => {
    await create({ localpart: 'byid' });
    const path = `/_hammerhead/v0/admin/users/${encodeURIComponent('@byid:test.example')}`;
    assert.equal((await server.request('PATCH', path, { token: PSK, body: { admin: true } })).status, 200);
    assert.equal(at((await server.api('GET', '/users/byid')).body, 'admin'), true);
  });

  test('update: who is not there, or of another server, is M_NOT_FOUND', async () => {
    for (const name of [
      'nobody',
      '@nobody:test.example',
      '@root:other.example',
      '@root',
      'root:test.example',
      'ROOT',
    ]) {
      const answer = await server.api('PATCH', `/users/${encodeURIComponent(name)}`, { admin: true });
      assert.deepEqual(errorOf(answer), [404, 'M_NOT_FOUND'], name);
    }
  });

  test('update: what is no JSON is M_NOT_JSON', async () => {
    const answer = await server.request('PATCH', '/_hammerhead/v0/admin/users/root', { token: server.admin, raw: '{' });
    assert.deepEqual(errorOf(answer), [400, 'M_NOT_JSON']);
  });

  test('update: locking and suspending act at once on live sessions', async () => {
    const { token } = await server.register('live');
    assert.equal((await whoami(token)).status, 200);
    await server.api('PATCH', '/users/live', { locked: true });
    assert.deepEqual(errorOf(await whoami(token)), [401, 'M_USER_LOCKED']);
    await server.api('PATCH', '/users/live', { locked: false });
    assert.equal((await whoami(token)).status, 200);
    const room = await server.user(token).createRoom();
    await server.api('PATCH', '/users/live', { suspended: true });
    assert.deepEqual(errorOf(await room.call('PUT', '/send/m.room.message/1', { body: 'x', msgtype: 'm.text' })), [
      403,
      'M_USER_SUSPENDED',
    ]);
    await server.api('PATCH', '/users/live', { suspended: false });
    await room.send('again');
  });

  test('E3: a password that an administrator sets does not open a deactivated account', async () => {
    await create({ localpart: 'dead', password: PASSWORD });
    await server.api('POST', '/users/dead/deactivate', {});
    await server.api('PATCH', '/users/dead', { password: 'new password', admin: true });
    assert.equal((await login('dead', 'new password')).status, 403);
    assert.equal((await login('dead', PASSWORD)).status, 403);
  });

  test('reset sessions logs every device out', async () => {
    const { token } = await server.register('loggedin');
    await login('loggedin', PASSWORD);
    assert.deepEqual((await server.api('POST', '/users/loggedin/reset-sessions')).body, { devices: 2 });
    assert.deepEqual(errorOf(await whoami(token)), [401, 'M_UNKNOWN_TOKEN']);
    assert.equal((await login('loggedin', PASSWORD)).status, 200);
  });

  test('get user: flags, profile, devices and rooms', async () => {
    const { token, userId, deviceId } = await server.register('looked');
    await server.request('PUT', `/_matrix/client/v3/profile/${userId}/displayname`, {
      token,
      body: { displayname: 'Looked At' },
    });
    const { roomId } = await server.user(token).createRoom();
    const { body } = await server.api('GET', '/users/looked');
    assert.deepEqual(
      [at(body, 'user_id'), at(body, 'profile'), at(body, 'rooms'), at(body, 'has_password')],
      [userId, { displayname: 'Looked At' }, { join: [roomId], invite: [], knock: [] }, true],
    );
    assert.equal(at(body, 'devices', 0, 'device_id'), deviceId);
  });

  test('no body makes the server fail', async () => {
    await create({ localpart: 'fuzzed' });
    const paths: readonly (readonly [string, string])[] = [
      ['POST', '/users/create'],
      ['PATCH', '/users/fuzzed'],
      ['POST', '/users/nobody/deactivate'],
      ['DELETE', '/rooms/nothing'],
      ['POST', '/media/purge'],
      ['POST', '/make-pdu'],
      ['POST', '/registration-tokens'],
    ];
    const keys = fc.constantFrom(
      'localpart',
      'password',
      'admin',
      'locked',
      'force',
      'pdu',
      'origin',
      'token',
      'expires_at',
    );
    const body = fc.oneof(fc.dictionary(keys, fc.jsonValue()), fc.jsonValue());
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), body, async ([method, path], value) => {
        const { status } = await server.api(method, path, value);
        assert.ok(status < 500, `${method} ${path} ${JSON.stringify(value)}: ${status}`);
      }),
      { numRuns: 150 },
    );
  });
});

describe('admin API: list users', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
    await server.db.database.query(sql`
      insert into accounts (localpart, created_at) select 'user' || n, 1000 + n from generate_series(2, 30) n`);
  });
  after(() => server[Symbol.asyncDispose]());

  const list = (query: string) => server.api('GET', `/users${query}`);

  test('one by default, the newest, and where the next page begins', async () => {
    const { status, body } = await list('');
    assert.equal(status, 200);
    assert.deepEqual(at(body, 'chunk'), [
      {
        entry_id: 30,
        localpart: 'user30',
        admin: false,
        locked: false,
        suspended: false,
        deactivated: false,
        erased: false,
        created_at: 1030,
      },
    ]);
    assert.equal(at(body, 'next_batch'), 30);
  });

  test('limit is at least 1 and at most 1000', async () => {
    for (const [limit, expected] of [
      ['0', 1],
      ['-5', 1],
      ['2', 2],
      ['1000', 30],
      ['1001', 30],
      ['99999999999999999999', 30],
    ] as const) {
      assert.equal(listAt((await list(`?limit=${limit}`)).body, 'chunk').length, expected, limit);
    }
    await server.db.database.query(sql`
      insert into accounts (localpart, created_at) select 'many' || n, 5000 from generate_series(1, 1500) n`);
    const { body } = await list('?limit=5000');
    assert.equal(listAt(body, 'chunk').length, 1000);
    await server.db.database.query(sql`delete from accounts where created_at = 5000`);
  });

  test('since or limit that are no numbers are M_INVALID_PARAM', async () => {
    for (const query of ['?limit=many', '?since=h1_1.5', '?limit=', '?since=1;', '?limit=NaN', '?since=Infinity']) {
      const { status, body } = await list(query);
      assert.deepEqual([status, at(body, 'errcode')], [400, 'M_INVALID_PARAM'], query);
    }
  });

  test('no next_batch where there are no more results, and an empty page beyond the end', async () => {
    const { body } = await list('?limit=100');
    assert.ok(!entriesAt(body).some(([key]) => key === 'next_batch'));
    assert.deepEqual((await list('?since=1&limit=10')).body, { chunk: [] });
  });

  test('property: pages of any size give every account once, newest to oldest', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 40 }), async (limit) => {
        const seen: unknown[] = [];
        for (let since = ''; ; ) {
          const { body } = await list(`?limit=${limit}${since}`);
          seen.push(...listAt(body, 'chunk').map((one) => at(one, 'entry_id')));
          const next = at(body, 'next_batch');
          if (next === undefined) break;
          since = `&since=${next}`;
        }
        assert.deepEqual(
          seen,
          Array.from({ length: 30 }, (_, index) => 30 - index),
        );
      }),
      { numRuns: 15 },
    );
  });

  test('deactivated, locked, suspended and erased accounts say so', async () => {
    await server.db.database.query(sql`
      update accounts set locked = true, suspended = true, deactivated = true, erased = true where localpart = 'user30'`);
    const entry = at((await list('')).body, 'chunk', 0);
    assert.deepEqual(
      ['locked', 'suspended', 'deactivated', 'erased'].map((key) => at(entry, key)),
      [true, true, true, true],
    );
  });
});
