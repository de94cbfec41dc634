/**
 * What must not be possible with accounts.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../../src/storage/sql.ts';
import { startAccountsServer, type TestAnswer } from '../support/accounts-server.ts';
import { at, textAt } from '../support/json.ts';
import { type Registered, startWholeServer, type WholeServer } from '../support/whole-server.ts';

const V3 = '/_matrix/client/v3';
const PASSWORD = 'correct horse battery';
const DUMMY = { type: 'm.login.dummy' };

const brief = ({ status, body }: TestAnswer): readonly unknown[] => [status, at(body, 'errcode')];
const passwordOf = (user: string, password = PASSWORD) => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user },
  password,
});

async function until(check: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 1200; attempt++) {
    if (await check()) return;
    await sleep(25);
  }
  assert.fail('it did not come to be');
}

describe('the whole server', () => {
  let server: WholeServer;
  let root: Registered;
  before(async () => {
    server = await startWholeServer();
    root = await server.register('root');
  });
  after(() => server[Symbol.asyncDispose]());

  const as = (user: { token: string }) => (method: string, path: string, body?: unknown) =>
    server.request(method, path, body === undefined ? { token: user.token } : { token: user.token, body });
  const setFlag = (user: Registered, flag: 'lock' | 'suspend', value: boolean) =>
    as(root)('PUT', `/_matrix/client/v1/admin/${flag}/${encodeURIComponent(user.userId)}`, {
      [flag === 'lock' ? 'locked' : 'suspended']: value,
    });
  /** The answer to a sync that has nothing to say. */
  const waitInSync = async (user: Registered): Promise<TestAnswer> => {
    const { body } = await as(user)('GET', `${V3}/sync?timeout=0`);
    return as(user)('GET', `${V3}/sync?timeout=30000&since=${textAt(body, 'next_batch')}`);
  };

  test('E12: an own deactivation leaves nothing to be used', async () => {
    const [owner, user] = [await server.register('e12-owner'), await server.register('e12')];
    const room = await owner.client.createRoom({ preset: 'public_chat' });
    const invited = await owner.client.createRoom({ invite: [user.userId] });
    await user.client.room(room.roomId).join();
    await as(user)('PUT', `${V3}/user/${user.userId}/account_data/a.b`, { secret: 'data' });
    await as(user)('PUT', `${V3}/profile/${user.userId}/displayname`, { displayname: 'Gone' });
    const session = await server.request('POST', `${V3}/login`, {
      body: { ...passwordOf('e12'), refresh_token: true },
    });
    const wrong = await as(user)('POST', `${V3}/account/deactivate`, { auth: passwordOf('e12', 'wrong') });
    assert.deepEqual(brief(wrong), [401, 'M_FORBIDDEN']);
    const done = await as(user)('POST', `${V3}/account/deactivate`, { auth: passwordOf('e12'), erase: true });
    assert.deepEqual([done.status, done.body], [200, { id_server_unbind_result: 'success' }]);
    for (const token of [user.token, textAt(session.body, 'access_token')]) {
      assert.deepEqual(brief(await as({ token })('GET', `${V3}/account/whoami`)), [401, 'M_UNKNOWN_TOKEN']);
    }
    const refresh = { refresh_token: textAt(session.body, 'refresh_token') };
    assert.ok([401, 403].includes((await server.request('POST', `${V3}/refresh`, { body: refresh })).status));
    const left = async (roomId: string) =>
      at(await owner.client.room(roomId).state('m.room.member', user.userId), 'membership') === 'leave';
    await until(async () => (await left(room.roomId)) && (await left(invited.roomId)));
    const counts = await server.test.database.query(sql<{ n: number }>`
      select count(*) as n from account_data where user_id = ${user.userId}
      union all select count(*) from profiles where user_id = ${user.userId}
      union all select count(*) from devices join accounts using (account_id) where localpart = 'e12'`);
    assert.deepEqual(
      counts.map(({ n }) => n),
      [0, 0, 0],
    );
    assert.deepEqual(brief(await server.request('POST', `${V3}/login`, { body: passwordOf('e12') })), [
      403,
      'M_FORBIDDEN',
    ]);
    assert.equal((await server.request('GET', `${V3}/profile/${user.userId}`)).status, 404);
  });

  test('a locked account is locked at once, also for who waits in a sync', async () => {
    const user = await server.register('lockable');
    const [answer] = await Promise.all([waitInSync(user), sleep(300).then(() => setFlag(user, 'lock', true))]);
    assert.deepEqual([...brief(answer), at(answer.body, 'soft_logout')], [401, 'M_USER_LOCKED', true]);
    const next = await as(user)('GET', `${V3}/account/whoami`);
    assert.deepEqual([...brief(next), at(next.body, 'soft_logout')], [401, 'M_USER_LOCKED', true]);
    assert.deepEqual(brief(await server.request('POST', `${V3}/login`, { body: passwordOf('lockable') })), [
      401,
      'M_USER_LOCKED',
    ]);
    await setFlag(user, 'lock', false);
    assert.equal((await as(user)('GET', `${V3}/account/whoami`)).status, 200, 'the session is still there');
    await setFlag(user, 'lock', true);
    assert.equal((await as(user)('POST', `${V3}/logout`)).status, 200);
  });

  test('who logs out hears nothing more in a sync that waits', async () => {
    const user = await server.register('leaving');
    const logOut = () => as(user)('POST', `${V3}/logout`);
    const [answer] = await Promise.all([waitInSync(user), sleep(300).then(logOut)]);
    assert.deepEqual([...brief(answer), at(answer.body, 'soft_logout')], [401, 'M_UNKNOWN_TOKEN', false]);
  });

  test('a suspended account may read, leave and take back its own words, and nothing else in rooms', async () => {
    const [owner, user] = [await server.register('s-owner'), await server.register('suspended')];
    const room = await owner.client.createRoom({ preset: 'public_chat' });
    const other = await owner.client.createRoom({ preset: 'public_chat' });
    const pending = await owner.client.createRoom({ invite: [user.userId] });
    const inside = user.client.room(room.roomId);
    await inside.join();
    const own = await inside.send('my words');
    const foreign = await room.send('your words');
    await room.setState('m.room.power_levels', {
      ...Object(await room.state('m.room.power_levels')),
      users: { [user.userId]: 50 },
    });
    await setFlag(user, 'suspend', true);
    const refused = [403, 'M_USER_SUSPENDED'];
    const message = { msgtype: 'm.text', body: 'x' };
    for (const [method, path, body] of [
      ['PUT', `${inside.path}/send/m.room.message/1`, message],
      ['PUT', `${inside.path}/state/m.room.topic/`, { topic: 'x' }],
      ['POST', `/rooms/${encodeURIComponent(other.roomId)}/join`, {}],
      ['POST', `/rooms/${encodeURIComponent(pending.roomId)}/join`, {}],
      ['POST', `/knock/${encodeURIComponent(other.roomId)}`, {}],
      ['POST', `${inside.path}/invite`, { user_id: root.userId }],
      ['POST', '/createRoom', {}],
      ['PUT', `${inside.path}/redact/${foreign}/2`, {}],
      ['PUT', `/profile/${user.userId}/displayname`, { displayname: 'x' }],
      ['PUT', `/profile/${user.userId}/avatar_url`, { avatar_url: 'mxc://test.example/x' }],
      ['DELETE', `/profile/${user.userId}/displayname`, undefined],
    ] as const) {
      assert.deepEqual(brief(await as(user)(method, V3 + path, body)), refused, `${method} ${path}`);
    }
    for (const [method, path, body] of [
      ['GET', '/sync?timeout=0', undefined],
      ['GET', `${inside.path}/messages?dir=b`, undefined],
      ['PUT', `${inside.path}/redact/${own}/3`, {}],
      ['POST', `/rooms/${encodeURIComponent(pending.roomId)}/leave`, {}],
      ['POST', `${inside.path}/leave`, {}],
      ['POST', '/logout', undefined],
    ] as const) {
      assert.equal((await as(user)(method, V3 + path, body)).status, 200, `${method} ${path}`);
    }
    const login = await server.request('POST', `${V3}/login`, { body: passwordOf('suspended') });
    assert.equal(login.status, 200, 'and log in');
    const token = textAt(login.body, 'access_token');
    assert.deepEqual(brief(await as({ token })('POST', `${V3}/createRoom`, {})), refused, 'suspended again');
    const gone = await as({ token })('POST', `${V3}/account/deactivate`, { auth: passwordOf('suspended') });
    assert.equal(gone.status, 200);
  });

  test('24: a storm of log-ins keeps no message waiting', async () => {
    const user = await server.register('storm');
    const room = await user.client.createRoom();
    let finished = 0;
    const logins = Array.from({ length: 50 }, async () => {
      const answer = await server.request('POST', `${V3}/login`, { body: passwordOf('storm') });
      finished += 1;
      return answer.status;
    });
    await until(async () => finished > 0);
    const before = finished;
    await room.send('through the storm');
    assert.ok(finished < 50, `${finished} of 50 log-ins were done, ${before} before the message`);
    assert.deepEqual([...new Set(await Promise.all(logins))], [200]);
  });

  test('nothing failed', () => assert.deepEqual(server.faults, []));
});

describe('single requests', () => {
  test('E5: no proof stands for another request, user or device', async () => {
    await using server = await startAccountsServer({ loginTokens: true });
    const [alice, bob] = [await server.register('alice'), await server.register('bob')];
    const second = await server.request('POST', `${V3}/login`, { body: passwordOf('alice') });
    const open = async (token: string, path: string, body: object = {}) =>
      textAt((await server.request('POST', path, { token, body })).body, 'session');
    const deletion = { devices: [alice.deviceId] };
    const session = await open(alice.token, `${V3}/delete_devices`, deletion);
    const attempt = (token: string, path: string, body: object, auth: unknown) =>
      server.request('POST', path, { token, body: { ...body, auth } });
    const proof = { ...passwordOf('alice'), session };
    const other = textAt(second.body, 'access_token');
    for (const [token, path, body] of [
      [alice.token, `${V3}/account/deactivate`, {}],
      [alice.token, `${V3}/account/password`, { new_password: 'another password' }],
      [alice.token, '/_matrix/client/v1/login/get_token', {}],
      [alice.token, `${V3}/delete_devices`, { devices: [at(second.body, 'device_id')] }],
      [bob.token, `${V3}/delete_devices`, deletion],
      [other, `${V3}/delete_devices`, deletion],
    ] as const) {
      assert.deepEqual(brief(await attempt(token, path, body, proof)), [403, 'M_FORBIDDEN'], path);
    }
    for (const auth of [
      null,
      {},
      { session },
      { type: 'm.login.dummy', session },
      { type: 'm.login.sso', session },
      'x',
    ]) {
      const answer = await attempt(alice.token, `${V3}/delete_devices`, deletion, auth);
      assert.ok([400, 401].includes(answer.status), JSON.stringify(auth));
    }
    const foreign = await attempt(alice.token, `${V3}/delete_devices`, deletion, { ...passwordOf('bob'), session });
    assert.deepEqual(brief(foreign), [403, 'M_FORBIDDEN'], "another user's password proves nothing");
    assert.equal((await attempt(alice.token, `${V3}/delete_devices`, deletion, proof)).status, 200);
    assert.deepEqual(brief(await server.request('GET', `${V3}/devices`, { token: alice.token })), [
      401,
      'M_UNKNOWN_TOKEN',
    ]);
  });

  test('E15: what cannot be taken back needs the password, and a token alone does not do', async () => {
    await using server = await startAccountsServer({ loginTokens: true });
    const { token, deviceId } = await server.register('careful');
    for (const [method, path, body] of [
      ['POST', `${V3}/account/password`, { new_password: 'another password' }],
      ['POST', `${V3}/account/deactivate`, {}],
      ['POST', `${V3}/delete_devices`, { devices: [deviceId] }],
      ['DELETE', `${V3}/devices/${deviceId}`, {}],
      ['POST', '/_matrix/client/v1/login/get_token', {}],
    ] as const) {
      const answer = await server.request(method, path, { token, body });
      assert.equal(answer.status, 401, path);
      assert.deepEqual(at(answer.body, 'flows'), [{ stages: ['m.login.password'] }], path);
      assert.equal(typeof at(answer.body, 'session'), 'string');
    }
    assert.equal((await server.request('GET', `${V3}/account/whoami`, { token })).status, 200, 'nothing was done');
    assert.equal((await server.request('POST', `${V3}/login`, { body: passwordOf('careful') })).status, 200);
  });

  test('E8: an empty password opens nothing, with or without a stored one', async () => {
    await using server = await startAccountsServer();
    await server.register('somebody');
    await server.test.database.query(sql`
      insert into accounts (localpart, password_hash, created_at) values ('nopassword', null, 0)`);
    for (const user of ['somebody', 'nopassword', 'nobody']) {
      for (const password of ['', '*)(uid=*', '\u0000']) {
        const answer = await server.request('POST', `${V3}/login`, { body: passwordOf(user, password) });
        assert.ok([400, 403].includes(answer.status), `${user} ${password}`);
      }
    }
  });

  test('25: nobody learns from an answer who has an account', async () => {
    await using server = await startAccountsServer();
    await server.register('known');
    const gone = await server.register('gone');
    await server.request('POST', `${V3}/account/deactivate`, {
      token: gone.token,
      body: { auth: passwordOf('gone'), erase: true },
    });
    const answers = await Promise.all(
      ['known', 'unknown', 'gone', '@known:elsewhere'].map((user) =>
        server.request('POST', `${V3}/login`, { body: passwordOf(user, 'a wrong password') }),
      ),
    );
    for (const answer of answers) assert.deepEqual([answer.status, answer.body], [403, answers[0]?.body]);
    const request = { client_secret: 's', send_attempt: 1 };
    const mails = await Promise.all(
      ['known@hs1', 'unknown@hs1'].map((email) =>
        server.request('POST', `${V3}/account/password/email/requestToken`, { body: { ...request, email } }),
      ),
    );
    for (const answer of mails) assert.deepEqual([answer.status, answer.body], [403, mails[0]?.body]);
  });

  test('24: too many attempts are told when to come back, before a password is hashed', async () => {
    const limits = { login: { perSecond: 0.001, burst: 3 }, registration: { perSecond: 0.001, burst: 4 } };
    await using server = await startAccountsServer({ limits });
    await server.register('limited');
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => server.request('POST', `${V3}/login`, { body: passwordOf('limited') })),
    );
    const refused = answers.filter(({ status }) => status === 429);
    assert.equal(refused.length, 7);
    for (const { body, headers } of refused) {
      assert.equal(at(body, 'errcode'), 'M_LIMIT_EXCEEDED');
      assert.equal(typeof at(body, 'retry_after_ms'), 'number');
      assert.match(headers.get('retry-after') ?? '', /^[0-9]+$/);
    }
    const register = (index: number) =>
      server.request('POST', `${V3}/register`, { body: { username: `n${index}`, password: PASSWORD, auth: DUMMY } });
    const made = await Promise.all(Array.from({ length: 6 }, (_, index) => register(index)));
    assert.equal(made.filter(({ status }) => status === 429).length, 3);
  });

  test('27: proof of identity is bound, expires, and is used once', async () => {
    await using server = await startAccountsServer();
    const { token, deviceId } = await server.register('bound');
    const remove = (body: object) => server.request('DELETE', `${V3}/devices/${deviceId}`, { token, body });
    const session = textAt((await remove({})).body, 'session');
    server.clock.advance(61 * 60 * 1000);
    const late = await remove({ auth: { ...passwordOf('bound'), session } });
    assert.equal(late.status, 401);
    assert.notEqual(at(late.body, 'session'), session, 'a new one is offered');
    const fresh = textAt(late.body, 'session');
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => remove({ auth: { ...passwordOf('bound'), session: fresh } })),
    );
    assert.equal(answers.filter(({ status }) => status === 200).length, 1);
  });
});
