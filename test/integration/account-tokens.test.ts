/**
 * Tokens of all kinds: what each is good for, how long, how often, and what ends it.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { sql } from '../../src/storage/sql.ts';
import { type AccountsServer, startAccountsServer, type TestAnswer } from '../support/accounts-server.ts';
import { at, listAt, textAt } from '../support/json.ts';

const V3 = '/_matrix/client/v3';
const PASSWORD = 'correct horse battery';

const brief = ({ status, body }: TestAnswer): readonly unknown[] => [status, at(body, 'errcode')];
const passwordOf = (user: string) => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user },
  password: PASSWORD,
});

function login(server: AccountsServer, body: object): Promise<TestAnswer> {
  return server.request('POST', `${V3}/login`, { body });
}

const whoami = (server: AccountsServer, token: string) => server.request('GET', `${V3}/account/whoami`, { token });

describe('login tokens', () => {
  let server: AccountsServer;
  before(async () => {
    server = await startAccountsServer({ loginTokens: true });
  });
  after(() => server[Symbol.asyncDispose]());

  const ask = (token: string, body: object = {}) =>
    server.request('POST', '/_matrix/client/v1/login/get_token', { token, body });
  const create = async (user: { userId: string; token: string }): Promise<string> =>
    textAt((await ask(user.token, { auth: passwordOf(user.userId) })).body, 'login_token');
  const use = (token: unknown, more: object = {}) => login(server, { type: 'm.login.token', token, ...more });

  test('are announced to everybody, and to those who are logged in', async () => {
    const { token } = await server.register('announced');
    const flows = listAt((await server.request('GET', `${V3}/login`)).body, 'flows');
    assert.deepEqual(flows[1], { type: 'm.login.token', get_login_token: true });
    const { body } = await server.request('GET', `${V3}/capabilities`, { token });
    assert.deepEqual(at(body, 'capabilities', 'm.get_login_token'), { enabled: true });
  });

  test('log in once, within two minutes', async () => {
    const user = await server.register('twice');
    const made = await ask(user.token, { auth: passwordOf('twice') });
    assert.deepEqual([made.status, at(made.body, 'expires_in_ms')], [200, 120_000]);
    const token = textAt(made.body, 'login_token');
    assert.match(token, /^hhl_[A-Za-z0-9]{32}$/, 'E1');
    const answers = await Promise.all(Array.from({ length: 10 }, () => use(token, { device_id: 'NEW' })));
    assert.deepEqual(
      answers.filter(({ status }) => status === 200).map(({ body }) => [at(body, 'user_id'), at(body, 'device_id')]),
      [[user.userId, 'NEW']],
    );
    for (const answer of answers) if (answer.status !== 200) assert.deepEqual(brief(answer), [403, 'M_FORBIDDEN']);
    const late = await create(user);
    server.clock.advance(121_000);
    assert.deepEqual(brief(await use(late)), [403, 'M_FORBIDDEN']);
  });

  test('need the password each time, however fresh the last proof is', async () => {
    const user = await server.register('careful');
    await create(user);
    const again = await ask(user.token);
    assert.equal(again.status, 401);
    assert.deepEqual(at(again.body, 'flows'), [{ stages: ['m.login.password'] }]);
    const wrong = await ask(user.token, { auth: { ...passwordOf('careful'), password: 'wrong' } });
    assert.deepEqual(brief(wrong), [401, 'M_FORBIDDEN']);
  });

  test('end with the session that asked for them', async () => {
    const user = await server.register('ended');
    const token = await create(user);
    await server.request('POST', `${V3}/logout`, { token: user.token });
    assert.deepEqual(brief(await use(token)), [403, 'M_FORBIDDEN']);
  });

  test('no other token is one, and they are no other token', async () => {
    const user = await server.register('confused');
    const token = await create(user);
    for (const shown of [user.token, '', 'made-up', 'x'.repeat(100_000)]) {
      assert.deepEqual(brief(await use(shown)), [403, 'M_FORBIDDEN']);
    }
    assert.deepEqual(brief(await use(undefined)), [400, 'M_MISSING_PARAM']);
    assert.deepEqual(brief(await use(7)), [400, 'M_BAD_JSON']);
    assert.deepEqual(brief(await whoami(server, token)), [401, 'M_UNKNOWN_TOKEN']);
    const refresh = await server.request('POST', `${V3}/refresh`, { body: { refresh_token: token } });
    assert.deepEqual(brief(refresh), [401, 'M_UNKNOWN_TOKEN']);
  });

  test('E3: do not open an account that was deactivated or locked in between', async () => {
    const user = await server.register('closed');
    const token = await create(user);
    const set = (flag: string) =>
      server.test.database.query({
        name: `set_${flag}`,
        text: `update accounts set ${flag} = true where localpart = 'closed'`,
        values: [],
      });
    await set('locked');
    const locked = await use(token);
    assert.deepEqual([...brief(locked), at(locked.body, 'soft_logout')], [401, 'M_USER_LOCKED', true]);
    await set('deactivated');
    assert.deepEqual(brief(await use(token)), [403, 'M_USER_DEACTIVATED']);
  });

  test('are off by default', async () => {
    await using plain = await startAccountsServer();
    const { token } = await plain.register('user');
    const asked = await plain.request('POST', '/_matrix/client/v1/login/get_token', { token, body: {} });
    assert.deepEqual(brief(asked), [404, 'M_UNRECOGNIZED']);
    const answer = await login(plain, { type: 'm.login.token', token: 'x' });
    assert.deepEqual(brief(answer), [400, 'M_UNKNOWN']);
    const { body } = await plain.request('GET', `${V3}/capabilities`, { token });
    assert.deepEqual(at(body, 'capabilities', 'm.get_login_token'), { enabled: false });
  });
});

describe('OpenID tokens', () => {
  let server: AccountsServer;
  before(async () => {
    server = await startAccountsServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const ask = (userId: string, token: string) =>
    server.request('POST', `${V3}/user/${encodeURIComponent(userId)}/openid/request_token`, { token, body: {} });

  test('26: tell who somebody is for an hour, and open nothing', async () => {
    const user = await server.register('proving');
    const { status, body } = await ask(user.userId, user.token);
    assert.equal(status, 200);
    const token = textAt(body, 'access_token');
    assert.match(token, /^hho_[A-Za-z0-9]{32}$/, 'E1');
    assert.deepEqual(body, { access_token: token, token_type: 'Bearer', matrix_server_name: 'hs1', expires_in: 3600 });
    const { openIdTokens } = server.accounts;
    assert.equal(await openIdTokens.findUser(token), user.userId);
    assert.deepEqual(brief(await whoami(server, token)), [401, 'M_UNKNOWN_TOKEN']);
    assert.deepEqual(brief(await ask(user.userId, token)), [401, 'M_UNKNOWN_TOKEN']);
    assert.equal(await openIdTokens.findUser(user.token), undefined, 'an access token is none');
    server.clock.advance(3_601_000);
    assert.equal(await openIdTokens.findUser(token), undefined);
  });

  test('are for oneself only, and end with the session', async () => {
    const [one, two] = [await server.register('one'), await server.register('two')];
    assert.deepEqual(brief(await ask(one.userId, two.token)), [403, 'M_FORBIDDEN']);
    const token = textAt((await ask(one.userId, one.token)).body, 'access_token');
    await server.request('POST', `${V3}/logout`, { token: one.token });
    assert.equal(await server.accounts.openIdTokens.findUser(token), undefined);
  });
});

describe('refresh tokens', () => {
  let server: AccountsServer;
  before(async () => {
    server = await startAccountsServer({ accounts: { accessTokenLifetimeMs: () => 30_000 } });
  });
  after(() => server[Symbol.asyncDispose]());

  const begin = async (name: string): Promise<unknown> => {
    await server.register(name);
    return (await login(server, { ...passwordOf(name), refresh_token: true })).body;
  };
  const refresh = (from: unknown) =>
    server.request('POST', `${V3}/refresh`, { body: { refresh_token: textAt(from, 'refresh_token') } });
  const open = (from: unknown) => whoami(server, textAt(from, 'access_token'));

  test('26: access tokens live as long as the configuration says, and then end softly', async () => {
    const session = await begin('configured');
    assert.match(textAt(session, 'refresh_token'), /^hhr_[A-Za-z0-9]{22}_[A-Za-z0-9]{32}$/, 'E1');
    assert.equal(at(session, 'expires_in_ms'), 30_000);
    server.clock.advance(30_001);
    const answer = await open(session);
    assert.deepEqual([...brief(answer), at(answer.body, 'soft_logout')], [401, 'M_UNKNOWN_TOKEN', true]);
    assert.equal((await open((await refresh(session)).body)).status, 200);
    const made = await server.register('endless');
    server.clock.advance(365 * 86_400_000);
    assert.equal((await whoami(server, made.token)).status, 200, 'without a refresh token it never ends');
  });

  test('26: an old one that comes back revokes the session, softly', async () => {
    const stolen = await begin('robbed');
    const second = (await refresh(stolen)).body;
    const third = (await refresh(second)).body;
    assert.equal((await open(third)).status, 200);
    server.clock.advance(20_000);
    const early = await refresh(stolen);
    assert.deepEqual([...brief(early), at(early.body, 'soft_logout')], [401, 'M_UNKNOWN_TOKEN', false]);
    assert.equal((await open(third)).status, 200, 'requests that cross are no theft');
    server.clock.advance(41_000);
    const late = await refresh(stolen);
    assert.deepEqual([...brief(late), at(late.body, 'soft_logout')], [401, 'M_UNKNOWN_TOKEN', true]);
    assert.equal((await open(third)).status, 401);
    assert.deepEqual(brief(await refresh(third)), [401, 'M_UNKNOWN_TOKEN']);
    const [row] = await server.test.database.query(sql<{ n: number }>`
      select count(*) as n from devices join accounts using (account_id)
      where localpart = 'robbed' and device_id = ${textAt(stolen, 'device_id')}`);
    assert.equal(row?.n, 1, 'the device and its keys stay');
  });

  test('26: nobody revokes the session of somebody else', async () => {
    const session = await begin('safe');
    server.clock.advance(61_000);
    for (const refresh_token of ['hhr_guess_guess', 'hhr__', '', `hhr_${'a'.repeat(22)}_${'b'.repeat(32)}`]) {
      const answer = await server.request('POST', `${V3}/refresh`, { body: { refresh_token } });
      assert.deepEqual([...brief(answer), at(answer.body, 'soft_logout')], [401, 'M_UNKNOWN_TOKEN', false]);
    }
    assert.equal((await refresh(session)).status, 200);
  });

  test('of many exchanges at once, exactly one pair of tokens is good', async () => {
    const session = await begin('crowded');
    const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(session)));
    assert.ok(answers.every(({ status }) => status === 200));
    const opened = await Promise.all(answers.map(({ body }) => open(body)));
    assert.equal(opened.filter(({ status }) => status === 200).length, 1);
  });

  test('E3: of an account that is locked or deactivated they are worth nothing', async () => {
    const session = await begin('shut');
    const set = (flag: string) =>
      server.test.database.query({
        name: `shut_${flag}`,
        text: `update accounts set ${flag} = true where localpart = 'shut'`,
        values: [],
      });
    await set('locked');
    const locked = await refresh(session);
    assert.deepEqual([...brief(locked), at(locked.body, 'soft_logout')], [401, 'M_USER_LOCKED', true]);
    await set('deactivated');
    assert.deepEqual(brief(await refresh(session)), [403, 'M_USER_DEACTIVATED']);
  });
});

test('E2: no token of any kind is at rest', async () => {
  await using server = await startAccountsServer({ loginTokens: true });
  const user = await server.register('canary');
  const session = (await login(server, { ...passwordOf('canary'), refresh_token: true })).body;
  const made = await server.request('POST', '/_matrix/client/v1/login/get_token', {
    token: user.token,
    body: { auth: passwordOf('canary') },
  });
  const openId = await server.request('POST', `${V3}/user/${user.userId}/openid/request_token`, {
    token: user.token,
    body: {},
  });
  const secrets = [
    user.token,
    textAt(session, 'refresh_token'),
    textAt(made.body, 'login_token'),
    textAt(openId.body, 'access_token'),
  ];
  const tables = await server.test.database.query(sql<{ name: string }>`
    select tablename as name from pg_tables where schemaname = 'public'`);
  const dumps = await Promise.all(
    tables.map(async ({ name }) =>
      JSON.stringify(
        await server.test.database.query({ name: `dump_${name}`, text: `select t::text from ${name} t`, values: [] }),
      ),
    ),
  );
  const dump = dumps.join();
  assert.ok(dump.includes('canary'), 'the dump holds the account');
  // A token's parts are secrets of their own.
  for (const part of secrets.flatMap((secret) => secret.split('_').filter((text) => text.length > 3))) {
    assert.ok(!dump.includes(part), part);
  }
});

test('B12: no token of any kind gets into the log', async () => {
  await using server = await startAccountsServer({ loginTokens: true });
  const user = await server.register('logged');
  const made = await server.request('POST', '/_matrix/client/v1/login/get_token', {
    token: user.token,
    body: { auth: passwordOf('logged') },
  });
  const openId = await server.request('POST', `${V3}/user/${user.userId}/openid/request_token`, {
    token: user.token,
    body: {},
  });
  const session = (await login(server, { type: 'm.login.token', token: textAt(made.body, 'login_token') })).body;
  const log = server.log.join('\n');
  const secrets = [made.body, openId.body, session].map(
    (body) => at(body, 'login_token') ?? textAt(body, 'access_token'),
  );
  for (const secret of secrets) assert.ok(!log.includes(String(secret)), String(secret));
});
