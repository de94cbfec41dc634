import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { withClient } from '../../src/storage/connection.ts';
import { type AccountsServer, startAccountsServer, type TestAnswer } from '../support/accounts-server.ts';
import { at, listAt, textAt } from '../support/json.ts';

const V3 = '/_matrix/client/v3';
const PASSWORD = 'correct horse battery';
const DUMMY = { type: 'm.login.dummy' };

const brief = ({ status, body }: TestAnswer): readonly unknown[] => [status, at(body, 'errcode')];

function login(
  server: AccountsServer,
  user: string,
  options: Readonly<Record<string, unknown>> = {},
): Promise<TestAnswer> {
  const identifier = { type: 'm.id.user', user };
  const body = { type: 'm.login.password', identifier, password: PASSWORD, ...options };
  return server.request('POST', `${V3}/login`, { body });
}

describe('registration', () => {
  let server: AccountsServer;
  before(async () => {
    server = await startAccountsServer();
  });
  after(() => server[Symbol.asyncDispose]());
  const register = (body: object, query = '') => server.request('POST', `${V3}/register${query}`, { body });

  test('in two steps', async () => {
    const wanted = {
      username: 'two-steps',
      password: PASSWORD,
      device_id: 'xyzzy',
      initial_device_display_name: 'name',
    };
    const first = await register(wanted);
    assert.equal(first.status, 401);
    assert.deepEqual(at(first.body, 'flows'), [{ stages: ['m.login.dummy'] }]);
    assert.deepEqual(at(first.body, 'params'), {});
    assert.deepEqual(at(first.body, 'completed'), []);
    assert.equal(at(first.body, 'errcode'), undefined);
    const session = textAt(first.body, 'session');
    const { status, body } = await register({ ...wanted, auth: { ...DUMMY, session } });
    assert.equal(status, 200);
    assert.equal(at(body, 'user_id'), '@two-steps:hs1');
    assert.equal(at(body, 'device_id'), 'xyzzy');
    const whoami = await server.request('GET', `${V3}/account/whoami`, { token: textAt(body, 'access_token') });
    assert.deepEqual(whoami.body, { user_id: '@two-steps:hs1', device_id: 'xyzzy', is_guest: false });
  });

  test('in two steps when the first only asked for the flows', async () => {
    const first = await register({});
    assert.equal(first.status, 401);
    const auth = { ...DUMMY, session: textAt(first.body, 'session') };
    assert.equal((await register({ username: 'asked-first', password: PASSWORD, auth })).status, 200);
  });

  test('in one step, in lower case', async () => {
    const { status, body } = await register({ username: 'One-STEP', password: PASSWORD, auth: DUMMY });
    assert.equal(status, 200);
    assert.equal(at(body, 'user_id'), '@one-step:hs1');
  });

  test('without a user name or a session', async () => {
    const { status, body } = await register({ password: PASSWORD, auth: DUMMY, inhibit_login: true });
    assert.equal(status, 200);
    assert.deepEqual(Object.keys(Object(body)), ['user_id']);
    assert.match(textAt(body, 'user_id'), /^@[a-z0-9]+:hs1$/);
  });

  for (const username of [
    'a!',
    'a"',
    'a:',
    'a?',
    'a\\',
    'a@',
    'a[',
    '£',
    'é',
    'a\n',
    "a'",
    '',
    '_a',
    'x'.repeat(252),
    '\u212a',
  ]) {
    test(`refuses the user name ${JSON.stringify(username).slice(0, 20)}`, async () => {
      assert.deepEqual(brief(await register({ username, password: PASSWORD, auth: DUMMY })), [
        400,
        'M_INVALID_USERNAME',
      ]);
    });
  }

  for (const username of ['q', '3', 'a.b', 'a_b', 'a=b', 'a-b', 'a/b', 'a+b']) {
    test(`takes the user name ${username}`, async () => {
      assert.equal((await register({ username, password: PASSWORD, auth: DUMMY })).status, 200);
    });
  }

  test('asks for a password, and a good one', async () => {
    assert.deepEqual(brief(await register({ username: 'nopw', auth: DUMMY })), [400, 'M_MISSING_PARAM']);
    assert.deepEqual(brief(await register({ username: 'pw', password: 'short', auth: DUMMY })), [
      400,
      'M_WEAK_PASSWORD',
    ]);
    assert.equal((await register({ username: 'pw', password: 'übers3kr1t', auth: DUMMY })).status, 200);
  });

  test('E11: fifty at once for one name, in two spellings, give one account', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        register({ username: index % 2 === 0 ? 'wanted' : 'WANTED', password: `${PASSWORD} ${index}`, auth: DUMMY }),
      ),
    );
    assert.equal(answers.filter(({ status }) => status === 200).length, 1);
    assert.equal(answers.filter(({ body }) => at(body, 'errcode') === 'M_USER_IN_USE').length, 49);
  });

  test('tells which names are free', async () => {
    await server.register('taken');
    const ask = (name: string) => server.request('GET', `${V3}/register/available?username=${name}`);
    assert.deepEqual((await ask('free')).body, { available: true });
    assert.deepEqual(brief(await ask('taken')), [400, 'M_USER_IN_USE']);
    assert.deepEqual(brief(await ask('not,valid')), [400, 'M_INVALID_USERNAME']);
    assert.deepEqual(brief(await server.request('GET', `${V3}/register/available`)), [400, 'M_MISSING_PARAM']);
  });

  test('guests only where they are allowed', async () => {
    assert.deepEqual(brief(await register({}, '?kind=guest')), [403, 'M_GUEST_ACCESS_FORBIDDEN']);
    assert.deepEqual(brief(await register({}, '?kind=cat')), [400, 'M_INVALID_PARAM']);
  });

  test('only the first account is an administrator', async () => {
    const rows = await withClient(server.test.connection, (client) =>
      client.query('select localpart from accounts where admin order by account_id'),
    );
    assert.equal(rows.rowCount, 1);
  });

  test('E5: a session is good for the request it was opened for, and once', async () => {
    const wanted = { username: 'bound', password: PASSWORD };
    const session = textAt((await register(wanted)).body, 'session');
    const auth = { ...DUMMY, session };
    assert.deepEqual(brief(await register({ ...wanted, username: 'other', auth })), [403, 'M_FORBIDDEN']);
    const { token } = await server.register('e5');
    const other = await server.request('POST', `${V3}/account/deactivate`, { token, body: { auth } });
    assert.deepEqual(brief(other), [403, 'M_FORBIDDEN']);
    for (const type of ['m.login.sso', 'org.example', '__proto__', 'constructor', '', 7]) {
      const { status, body } = await register({ ...wanted, auth: { type, session } });
      assert.equal(status, 401, String(type));
      assert.deepEqual(at(body, 'completed'), []);
    }
    assert.equal((await register({ ...wanted, auth: null })).status, 401);
    assert.equal((await register({ ...wanted, auth: {} })).status, 401);
    assert.equal((await register({ ...wanted, auth })).status, 200);
    assert.equal((await register({ username: 'again', password: PASSWORD, auth })).status, 401);
    server.clock.advance(0);
  });

  test('E5: an expired session is unknown', async () => {
    const wanted = { username: 'late', password: PASSWORD };
    const session = textAt((await register(wanted)).body, 'session');
    server.clock.advance(61 * 60 * 1000);
    const { status, body } = await register({ ...wanted, auth: { ...DUMMY, session } });
    assert.equal(status, 401);
    assert.notEqual(at(body, 'session'), session);
  });

  test('E2: no password, session id or token is at rest', async () => {
    const password = 'canary-of-the-password';
    const { token } = await server.register('canary', password);
    const open = await server.request('POST', `${V3}/account/password`, {
      token,
      body: { new_password: 'canary-of-the-new-one' },
    });
    const session = textAt(open.body, 'session');
    const dump = await withClient(server.test.connection, async (client) => {
      const texts = [];
      for (const table of [
        'accounts',
        'devices',
        'access_tokens',
        'refresh_tokens',
        'uia_sessions',
        'registration_tokens',
        'profiles',
      ]) {
        texts.push(JSON.stringify((await client.query(`select * from ${table}`)).rows));
      }
      return texts.join();
    });
    assert.ok(dump.includes('@') || dump.includes('canary'), 'the dump holds the account');
    for (const secret of [password, 'canary-of-the-new-one', token, session]) assert.ok(!dump.includes(secret), secret);
  });

  test('E1: tokens are long, and different', async () => {
    const tokens = await Promise.all(
      Array.from({ length: 5 }, async (_, index) => (await server.register(`e1-${index}`)).token),
    );
    assert.equal(new Set(tokens).size, 5);
    for (const token of tokens) assert.match(token, /^hha_[A-Za-z0-9]{32}$/);
  });

  test('C9: oversized strings are refused', async () => {
    const huge = 'x'.repeat(400_000);
    for (const key of ['username', 'password', 'device_id', 'initial_device_display_name']) {
      const { status } = await register({
        username: `c9-${key.slice(0, 3)}`,
        password: PASSWORD,
        auth: DUMMY,
        [key]: huge,
      });
      assert.equal(status, 400, key);
    }
    assert.equal((await register({ username: 'c9', password: 'x'.repeat(1_000_000) })).status, 413);
    const { token, userId, deviceId } = await server.register('c9');
    const profile = await server.request('PUT', `${V3}/profile/${userId}/displayname`, {
      token,
      body: { displayname: 'x'.repeat(100_000) },
    });
    assert.equal(profile.status, 400);
    const device = await server.request('PUT', `${V3}/devices/${deviceId}`, { token, body: { display_name: huge } });
    assert.equal(device.status, 400);
  });
});

describe('closed registration', () => {
  test('a bootstrap token makes the first account, an administrator, once', async () => {
    await using server = await startAccountsServer({ accounts: { policy: { enabled: false, requiresToken: true } } });
    const { registration } = server.accounts;
    const body = { username: 'first', password: PASSWORD };
    assert.deepEqual(brief(await server.request('POST', `${V3}/register`, { body })), [403, 'M_FORBIDDEN']);
    const stale = await registration.createBootstrapToken();
    const token = await registration.createBootstrapToken();
    const register = (username: string, shown: unknown) =>
      server.request('POST', `${V3}/register`, {
        body: { username, password: PASSWORD, auth: { type: 'm.login.registration_token', token: shown } },
      });
    const flows = await server.request('POST', `${V3}/register`, { body });
    assert.deepEqual(at(flows.body, 'flows'), [{ stages: ['m.login.registration_token'] }]);
    assert.deepEqual(brief(await register('first', stale)), [401, 'M_UNAUTHORIZED']);
    assert.deepEqual(brief(await register('first', undefined)), [401, 'M_MISSING_PARAM']);
    assert.equal((await server.request('POST', `${V3}/register`, { body: { ...body, auth: DUMMY } })).status, 401);
    const valid = await server.request(
      'GET',
      `/_matrix/client/v1/register/m.login.registration_token/validity?token=${token}`,
    );
    assert.deepEqual(valid.body, { valid: true });
    const answers = await Promise.all([register('first', token), register('second', token), register('third', token)]);
    assert.equal(answers.filter(({ status }) => status === 200).length, 1);
    const { rows } = await withClient(server.test.connection, (client) => client.query('select admin from accounts'));
    assert.deepEqual(rows, [{ admin: true }]);
    assert.equal(await registration.createBootstrapToken(), undefined);
    assert.deepEqual(brief(await register('fourth', token)), [403, 'M_FORBIDDEN']);
  });

  test('a token of the configuration is good for any number of accounts', async () => {
    const policy = { enabled: true, requiresToken: true, token: 'sesame' };
    await using server = await startAccountsServer({ accounts: { policy } });
    for (const username of ['a', 'b']) {
      const auth = { type: 'm.login.registration_token', token: 'sesame' };
      const { status } = await server.request('POST', `${V3}/register`, {
        body: { username, password: PASSWORD, auth },
      });
      assert.equal(status, 200);
    }
  });

  test('guests get a device of our choice, and reach only what is for guests', async () => {
    const policy = { enabled: true, requiresToken: false, guests: true };
    await using server = await startAccountsServer({ accounts: { policy } });
    const { status, body } = await server.request('POST', `${V3}/register?kind=guest`, {
      body: { device_id: 'mine', username: 'x' },
    });
    assert.equal(status, 200);
    assert.notEqual(at(body, 'device_id'), 'mine');
    const token = textAt(body, 'access_token');
    assert.equal(at((await server.request('GET', `${V3}/account/whoami`, { token })).body, 'is_guest'), true);
    assert.equal((await server.request('GET', `${V3}/devices`, { token })).status, 200);
    assert.deepEqual(brief(await server.request('GET', `${V3}/capabilities`, { token })), [
      403,
      'M_GUEST_ACCESS_FORBIDDEN',
    ]);
    assert.equal((await server.register('admin')).userId, '@admin:hs1');
    const { rows } = await withClient(server.test.connection, (client) =>
      client.query('select is_guest, admin from accounts order by 1'),
    );
    assert.deepEqual(rows, [
      { is_guest: false, admin: true },
      { is_guest: true, admin: false },
    ]);
  });

  test('the shared secret of scripts for Synapse', async () => {
    const { createHmac } = await import('node:crypto');
    await using server = await startAccountsServer({
      sharedSecret: 'complement',
      accounts: { policy: { enabled: false, requiresToken: true } },
    });
    const path = '/_synapse/admin/v1/register';
    const register = async (username: string, options: { admin?: boolean; secret?: string; nonce?: string } = {}) => {
      const nonce = options.nonce ?? textAt((await server.request('GET', path)).body, 'nonce');
      const parts = [nonce, username, PASSWORD, options.admin === true ? 'admin' : 'notadmin'];
      const mac = createHmac('sha1', options.secret ?? 'complement')
        .update(parts.join('\0'))
        .digest('hex');
      return server.request('POST', path, {
        body: { nonce, username, password: PASSWORD, mac, admin: options.admin === true },
      });
    };
    const made = await register('Admin-User', { admin: true });
    assert.equal(made.status, 200);
    assert.equal(at(made.body, 'user_id'), '@admin-user:hs1');
    assert.equal((await register('user')).status, 200);
    assert.deepEqual(brief(await register('us,er')), [400, 'M_INVALID_USERNAME']);
    assert.deepEqual(brief(await register('forged', { secret: 'guess' })), [403, 'M_FORBIDDEN']);
    assert.equal((await register('replayed', { nonce: 'made up' })).status, 400);
  });
});

describe('log-in', () => {
  let server: AccountsServer;
  before(async () => {
    server = await startAccountsServer({ limits: { login_failed: { perSecond: 0.01, burst: 8 } } });
  });
  after(() => server[Symbol.asyncDispose]());

  test('offers passwords', async () => {
    const { body, headers } = await server.request('GET', `${V3}/login`);
    assert.deepEqual(body, { flows: [{ type: 'm.login.password' }] });
    assert.equal(headers.get('content-type'), 'application/json');
  });

  test('by user id, localpart, capitals and the older key', async () => {
    await server.register('ways');
    for (const user of ['@ways:hs1', 'ways', '@WAYS:hs1', 'Ways']) {
      const { status, body } = await login(server, user);
      assert.equal(status, 200, user);
      assert.equal(at(body, 'user_id'), '@ways:hs1');
    }
    const older = await server.request('POST', `${V3}/login`, {
      body: { type: 'm.login.password', user: 'ways', password: PASSWORD },
    });
    assert.equal(older.status, 200);
  });

  test('refuses everything else in the same words', async () => {
    await server.register('refused');
    const answers = await Promise.all([
      login(server, 'refused', { password: 'wrong' }),
      login(server, 'nobody'),
      login(server, '@refused:elsewhere'),
      login(server, '@refused'),
      login(server, 'refused', { password: '' }),
      login(server, 'refused', { identifier: { type: 'm.id.thirdparty', medium: 'email', address: 'a@b' } }),
    ]);
    for (const answer of answers) {
      assert.deepEqual(brief(answer), [403, 'M_FORBIDDEN']);
      assert.deepEqual(answer.body, answers[0]?.body);
    }
    assert.deepEqual(brief(await login(server, 'refused', { type: 'm.login.sso' })), [400, 'M_UNKNOWN']);
    assert.deepEqual(brief(await login(server, 'refused', { password: null })), [400, 'M_MISSING_PARAM']);
    assert.deepEqual(brief(await server.request('POST', `${V3}/login`, { body: {} })), [400, 'M_MISSING_PARAM']);
  });

  test('an unknown user costs as much as a wrong password', async () => {
    await server.register('timed');
    const time = async (user: string): Promise<number> => {
      const started = performance.now();
      await login(server, user, { password: 'wrong' });
      return performance.now() - started;
    };
    let [known, unknown] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    // The best of some rounds in turn: what else the machine does slows both down.
    for (let round = 0; round < 6; round++) {
      known = Math.min(known, await time('timed'));
      unknown = Math.min(unknown, await time('untimed'));
    }
    assert.ok(unknown > known / 3, `${unknown} ms against ${known} ms`);
  });

  test('too many failures lock the account out for a while, and nobody else', async () => {
    await server.register('attacked');
    await server.register('bystander');
    for (let count = 0; count < 8; count++) await login(server, 'attacked', { password: 'guess' });
    assert.deepEqual(brief(await login(server, '@ATTACKED:hs1')), [429, 'M_LIMIT_EXCEEDED']);
    assert.equal((await login(server, 'bystander')).status, 200);
    server.clock.advance(101_000);
    assert.equal((await login(server, 'attacked')).status, 200);
  });

  test('on a known device ends the former session', async () => {
    const { token, deviceId } = await server.register('reuse');
    assert.equal((await server.request('GET', `${V3}/account/whoami`, { token })).status, 200);
    const { body } = await login(server, 'reuse', { device_id: deviceId, initial_device_display_name: 'new name' });
    assert.equal(at(body, 'device_id'), deviceId);
    assert.deepEqual(brief(await server.request('GET', `${V3}/account/whoami`, { token })), [401, 'M_UNKNOWN_TOKEN']);
    const devices = await server.request('GET', `${V3}/devices`, { token: textAt(body, 'access_token') });
    assert.equal(listAt(devices.body, 'devices').length, 1);
  });

  test('logging out ends one session, or all', async () => {
    const { token } = await server.register('leaving');
    const second = textAt((await login(server, 'leaving')).body, 'access_token');
    const third = textAt((await login(server, 'leaving')).body, 'access_token');
    assert.equal((await server.request('POST', `${V3}/logout`, { token: second })).status, 200);
    assert.deepEqual(brief(await server.request('GET', `${V3}/devices`, { token: second })), [401, 'M_UNKNOWN_TOKEN']);
    assert.equal(listAt((await server.request('GET', `${V3}/devices`, { token })).body, 'devices').length, 2);
    assert.equal((await server.request('POST', `${V3}/logout/all`, { token })).status, 200);
    for (const ended of [token, third]) {
      assert.deepEqual(brief(await server.request('GET', `${V3}/devices`, { token: ended })), [401, 'M_UNKNOWN_TOKEN']);
    }
    assert.deepEqual(brief(await server.request('POST', `${V3}/logout`, { token: 'made-up' })), [
      401,
      'M_UNKNOWN_TOKEN',
    ]);
    assert.deepEqual(brief(await server.request('POST', `${V3}/logout`)), [401, 'M_MISSING_TOKEN']);
  });

  test('E3: an empty token is none, and a deactivated account logs in by no way', async () => {
    for (const authorization of ['Bearer ', 'Bearer', 'Basic eDp5', '']) {
      const { status } = await server.request('GET', `${V3}/account/whoami`, { headers: { authorization } });
      assert.equal(status, 401, authorization);
    }
    const { token } = await server.register('gone');
    const refreshing = await login(server, 'gone', { refresh_token: true });
    const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'gone' }, password: PASSWORD };
    const wrong = await server.request('POST', `${V3}/account/deactivate`, {
      token,
      body: { auth: { ...auth, password: 'wrong' } },
    });
    assert.deepEqual(brief(wrong), [401, 'M_FORBIDDEN']);
    assert.equal((await server.request('POST', `${V3}/account/deactivate`, { token, body: { auth } })).status, 200);
    assert.deepEqual(brief(await login(server, 'gone')), [403, 'M_USER_DEACTIVATED']);
    assert.deepEqual(brief(await login(server, 'gone', { password: 'wrong' })), [403, 'M_FORBIDDEN']);
    const refresh = { refresh_token: textAt(refreshing.body, 'refresh_token') };
    assert.equal((await server.request('POST', `${V3}/refresh`, { body: refresh })).status, 401);
    assert.equal((await server.request('GET', `${V3}/account/whoami`, { token })).status, 401);
    const again = { username: 'gone', password: PASSWORD, auth: DUMMY };
    assert.deepEqual(brief(await server.request('POST', `${V3}/register`, { body: again })), [400, 'M_USER_IN_USE']);
  });

  test('refresh tokens: the old one lives until the new ones are used', async () => {
    await server.register('refresher');
    const first = (await login(server, 'refresher', { refresh_token: true })).body;
    assert.equal(at(first, 'expires_in_ms'), 300_000);
    const refresh = (from: unknown) =>
      server.request('POST', `${V3}/refresh`, { body: { refresh_token: textAt(from, 'refresh_token') } });
    const whoami = (from: unknown) =>
      server.request('GET', `${V3}/account/whoami`, { token: textAt(from, 'access_token') });
    const lost = (await refresh(first)).body;
    const second = (await refresh(first)).body;
    assert.deepEqual(Object.keys(Object(second)).sort(), ['access_token', 'expires_in_ms', 'refresh_token']);
    assert.equal((await whoami(lost)).status, 401, 'a repeated exchange replaces the tokens of the lost answer');
    assert.equal((await whoami(first)).status, 200);
    assert.equal((await whoami(second)).status, 200);
    assert.equal((await whoami(first)).status, 401, 'use of the new token revokes the old one');
    assert.deepEqual(brief(await refresh(first)), [401, 'M_UNKNOWN_TOKEN']);
    server.clock.advance(301_000);
    const expired = await whoami(second);
    assert.deepEqual(brief(expired), [401, 'M_UNKNOWN_TOKEN']);
    assert.equal(at(expired.body, 'soft_logout'), true);
    const third = (await refresh(second)).body;
    const fourth = (await refresh(third)).body;
    assert.deepEqual(
      brief(await refresh(second)),
      [401, 'M_UNKNOWN_TOKEN'],
      'use of the new refresh token revokes it too',
    );
    assert.equal((await whoami(fourth)).status, 200);
  });

  test('locked accounts may only log out', async () => {
    const { token } = await server.register('locked');
    await withClient(server.test.connection, (client) =>
      client.query("update accounts set locked = true where localpart = 'locked'"),
    );
    server.clock.advance(61_000);
    const { status, body } = await server.request('GET', `${V3}/account/whoami`, { token });
    assert.deepEqual([status, at(body, 'errcode'), at(body, 'soft_logout')], [401, 'M_USER_LOCKED', true]);
    assert.deepEqual(brief(await login(server, 'locked')), [401, 'M_USER_LOCKED']);
    assert.equal((await server.request('POST', `${V3}/logout`, { token })).status, 200);
  });
});

describe('own account', () => {
  let server: AccountsServer;
  before(async () => {
    server = await startAccountsServer();
  });
  after(() => server[Symbol.asyncDispose]());
  const auth = (user: string, password = PASSWORD) => ({
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user },
    password,
  });

  test('devices are listed and named', async () => {
    const { token, userId } = await server.register('owner');
    await login(server, userId, { device_id: 'login_device', initial_device_display_name: 'device display' });
    const get = (id: string) => server.request('GET', `${V3}/devices/${id}`, { token });
    assert.deepEqual((await get('login_device')).body, { device_id: 'login_device', display_name: 'device display' });
    assert.deepEqual(brief(await get('unknown')), [404, 'M_NOT_FOUND']);
    const rename = (id: string) =>
      server.request('PUT', `${V3}/devices/${id}`, { token, body: { display_name: 'renamed' } });
    assert.equal((await rename('login_device')).status, 200);
    assert.equal(at((await get('login_device')).body, 'display_name'), 'renamed');
    assert.deepEqual(brief(await rename('unknown')), [404, 'M_NOT_FOUND']);
    assert.deepEqual(
      brief(
        await server.request('GET', `${V3}/devices/login_device`, { token: (await server.register('stranger')).token }),
      ),
      [404, 'M_NOT_FOUND'],
    );
  });

  test('when a device was last seen is written later', async () => {
    const { token, deviceId } = await server.register('seen');
    await server.request('GET', `${V3}/account/whoami`, { token });
    await server.lastSeen.flush();
    const { body } = await server.request('GET', `${V3}/devices/${deviceId}`, { token });
    assert.equal(at(body, 'last_seen_ip'), '127.0.0.1');
    assert.ok(Number(at(body, 'last_seen_ts')) > 1_600_000_000_000);
  });

  test('devices are deleted with the password of their owner', async () => {
    const { token, userId } = await server.register('deleter');
    const bob = await server.register('deleter-bob');
    const session = (await login(server, userId, { device_id: 'old/one' })).body;
    const remove = (body?: object) =>
      server.request('DELETE', `${V3}/devices/old%2Fone`, body === undefined ? { token } : { token, body });
    const asked = await remove();
    assert.equal(asked.status, 401);
    assert.deepEqual(at(asked.body, 'flows'), [{ stages: ['m.login.password'] }]);
    const wrong = await remove({ auth: auth(userId, 'wrong') });
    assert.deepEqual(brief(wrong), [401, 'M_FORBIDDEN']);
    assert.ok(textAt(wrong.body, 'session').length > 20);
    assert.deepEqual(brief(await remove({ auth: auth(bob.userId) })), [403, 'M_FORBIDDEN']);
    assert.equal((await remove({ auth: { ...auth(userId), session: textAt(asked.body, 'session') } })).status, 200);
    assert.equal(
      (await server.request('GET', `${V3}/account/whoami`, { token: textAt(session, 'access_token') })).status,
      401,
    );
    assert.equal((await server.request('GET', `${V3}/devices/old%2Fone`, { token })).status, 404);
  });

  test('several devices are deleted at once, and the hook hears of it', async () => {
    const deleted: unknown[] = [];
    await using other = await startAccountsServer({
      accounts: { onDevicesDeleted: async (userId, ids) => void deleted.push([userId, [...ids].sort()]) },
    });
    const { token, userId } = await other.register('many');
    await login(other, userId, { device_id: 'A' });
    await login(other, userId, { device_id: 'B' });
    const body = { devices: ['A', 'B', 'unknown'] };
    const asked = await other.request('POST', `${V3}/delete_devices`, { token, body });
    const proof = { ...auth(userId), session: textAt(asked.body, 'session') };
    const swapped = await other.request('POST', `${V3}/delete_devices`, {
      token,
      body: { devices: ['A'], auth: proof },
    });
    assert.deepEqual(brief(swapped), [403, 'M_FORBIDDEN'], 'E5: another body');
    assert.equal(
      (await other.request('POST', `${V3}/delete_devices`, { token, body: { ...body, auth: proof } })).status,
      200,
    );
    assert.deepEqual(deleted, [['@many:hs1', ['A', 'B']]]);
  });

  test('a new password ends the other sessions, unless they are to be kept', async () => {
    const { token, userId } = await server.register('changer');
    const other = textAt((await login(server, userId)).body, 'access_token');
    const change = (old: string, body: object) =>
      server.request('POST', `${V3}/account/password`, { token, body: { ...body, auth: auth(userId, old) } });
    assert.deepEqual(brief(await change(PASSWORD, { new_password: 'short' })), [400, 'M_WEAK_PASSWORD']);
    assert.deepEqual(brief(await change('wrong', { new_password: 'my_new_password' })), [401, 'M_FORBIDDEN']);
    assert.equal((await change(PASSWORD, { new_password: 'my_new_password' })).status, 200);
    assert.deepEqual(brief(await login(server, userId)), [403, 'M_FORBIDDEN']);
    const kept = await login(server, userId, { password: 'my_new_password' });
    assert.equal(kept.status, 200);
    const whoami = (shown: string) => server.request('GET', `${V3}/account/whoami`, { token: shown });
    assert.equal((await whoami(token)).status, 200);
    assert.equal((await whoami(other)).status, 401);
    assert.equal(
      (await change('my_new_password', { new_password: 'another one of them', logout_devices: false })).status,
      200,
    );
    assert.equal((await whoami(textAt(kept.body, 'access_token'))).status, 200);
  });

  test('profiles are public, and written by their owner', async () => {
    const shown: unknown[] = [];
    await using other = await startAccountsServer({ onProfileShown: (userId) => void shown.push(userId) });
    const { token, userId } = await other.register('profile');
    const path = `${V3}/profile/${encodeURIComponent(userId)}`;
    const put = (field: string, value: unknown, by = token) =>
      other.request('PUT', `${path}/${field}`, { token: by, body: { [field]: value } });
    assert.deepEqual((await other.request('GET', path)).body, {});
    assert.equal((await other.request('GET', `${path}/displayname`)).status, 404);
    assert.equal((await put('displayname', 'my name')).status, 200);
    assert.equal((await put('avatar_url', 'mxc://hs1/x')).status, 200);
    assert.equal((await put('m.tz', 'Europe/London')).status, 200);
    assert.deepEqual((await other.request('GET', `${path}/displayname`)).body, { displayname: 'my name' });
    assert.deepEqual((await other.request('GET', path)).body, {
      avatar_url: 'mxc://hs1/x',
      displayname: 'my name',
      'm.tz': 'Europe/London',
    });
    assert.deepEqual(shown, [userId, userId], 'rooms are shown names and avatars only');
    const stranger = await other.register('stranger');
    assert.deepEqual(brief(await put('displayname', 'x', stranger.token)), [403, 'M_FORBIDDEN']);
    assert.deepEqual(brief(await put('displayname', 7)), [400, 'M_BAD_JSON']);
    assert.equal((await put('displayname', 'x'.repeat(257))).status, 400);
    assert.equal((await put('avatar_url', 'x'.repeat(1001))).status, 400);
    assert.equal((await put('__proto__', 'x')).status, 400);
    assert.equal((await put('org.example.big', 'x'.repeat(66_000))).status, 400);
    assert.deepEqual(brief(await other.request('PUT', `${path}/displayname`, { token, body: {} })), [
      400,
      'M_MISSING_PARAM',
    ]);
    assert.equal((await other.request('DELETE', `${path}/displayname`, { token })).status, 200);
    assert.equal((await other.request('GET', `${path}/displayname`)).status, 404);
    for (const unknown of ['@nobody:hs1', '@profile:elsewhere', 'nonsense']) {
      assert.deepEqual(brief(await other.request('GET', `${V3}/profile/${unknown}`)), [404, 'M_NOT_FOUND']);
    }
  });

  test('capabilities, versions and the like', async () => {
    const { token } = await server.register('curious');
    const { body } = await server.request('GET', `${V3}/capabilities`, { token });
    assert.equal(Object.keys(Object(at(body, 'capabilities', 'm.room_versions', 'available'))).length, 12);
    assert.equal(at(body, 'capabilities', 'm.change_password', 'enabled'), true);
    assert.deepEqual(brief(await server.request('GET', `${V3}/capabilities`)), [401, 'M_MISSING_TOKEN']);
    const versions = listAt((await server.request('GET', '/_matrix/client/versions')).body, 'versions');
    assert.deepEqual([versions[0], versions.at(-1)], ['v1.1', 'v1.19']);
    assert.deepEqual((await server.request('GET', '/.well-known/matrix/client')).body, {
      'm.homeserver': { base_url: 'https://hs1' },
    });
    assert.deepEqual(brief(await server.request('GET', '/.well-known/matrix/server')), [404, 'M_NOT_FOUND']);
    assert.equal((await server.request('GET', '/_hammerhead/health/ready')).status, 200);
    const uptime = await server.request('GET', '/_hammerhead/v0/uptime');
    assert.equal(at(uptime.body, 'started_at'), server.http.startedAt);
    const version = await server.request('GET', '/_hammerhead/v0/version');
    assert.equal(at(version.body, 'full'), 'v0.1.0+gabcdef0+node26.10.0@linux/x64');
  });
});

test('B12: neither passwords nor tokens get into the log', async () => {
  await using server = await startAccountsServer();
  const { token, userId } = await server.register('secretive');
  const refreshing = (await login(server, userId, { refresh_token: true })).body;
  await server.request('GET', `${V3}/account/whoami?access_token=${token}`);
  await server.request('GET', `${V3}/account/whoami?access_token=canary-unknown`);
  await server.request('POST', `${V3}/refresh`, { body: { refresh_token: 'canary-refresh' } });
  await server.request('POST', `${V3}/login`, { raw: '{"password":"canary-broken' });
  await withClient(server.test.connection, (client) => client.query('drop table access_tokens'));
  assert.equal((await login(server, userId)).status, 500);
  const log = server.log.join('\n');
  assert.ok(log.includes('access_tokens'), 'the fault was logged');
  for (const secret of [
    PASSWORD,
    token,
    textAt(refreshing, 'access_token'),
    textAt(refreshing, 'refresh_token'),
    'canary',
  ]) {
    assert.ok(!log.includes(secret), secret);
  }
});
