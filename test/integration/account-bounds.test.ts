/**
 * The bounds of what requests about accounts may hold, and third-party identifiers, of which there are none.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startAccountsServer, type TestAnswer } from '../support/accounts-server.ts';
import { at, listAt } from '../support/json.ts';

const V3 = '/_matrix/client/v3';

const brief = ({ status, body }: TestAnswer): readonly unknown[] => [status, at(body, 'errcode')];

describe('bounds', () => {
  test('21: bodies that are no JSON, the wrong JSON or incomplete get the errcode for it', async () => {
    await using server = await startAccountsServer();
    const { token, userId } = await server.register('typed');
    for (const [raw, errcode] of [
      ['{"type":', 'M_NOT_JSON'],
      ['', 'M_NOT_JSON'],
      ['[]', 'M_BAD_JSON'],
      ['"text"', 'M_BAD_JSON'],
      ['null', 'M_BAD_JSON'],
      ['{"type":7}', 'M_BAD_JSON'],
      ['{}', 'M_MISSING_PARAM'],
      ['{"type":"m.login.password"}', 'M_MISSING_PARAM'],
      ['{"type":"m.login.password","password":"x","identifier":"y"}', 'M_BAD_JSON'],
      ['{"type":"m.login.password","password":"a\\u0000b","user":"x"}', 'M_BAD_JSON'],
      ['{"type":"m.login.password","password":"\\ud800","user":"x"}', 'M_BAD_JSON'],
    ] as const) {
      const answer = await server.request('POST', `${V3}/login`, { raw });
      assert.deepEqual(brief(answer), [400, errcode], raw);
    }
    const nul = await server.request('GET', `${V3}/profile/${encodeURIComponent('@a\u0000b:hs1')}`);
    assert.deepEqual(brief(nul), [400, 'M_INVALID_PARAM']);
    for (const key of ['__proto__', 'constructor', 'hasOwnProperty', 'toString']) {
      const path = `${V3}/profile/${encodeURIComponent(userId)}/${key}`;
      const put = await server.request('PUT', path, { token, raw: `{"${key}":{"polluted":true}}` });
      const isName = /^[a-z]+$/.test(key);
      assert.equal(put.status, isName ? 200 : 400, key);
      const got = await server.request('GET', path);
      assert.equal(got.status, isName ? 200 : 404, key);
    }
    assert.equal(Reflect.get({}, 'polluted'), undefined);
  });

  test('22: profile fields have names, and values of a bounded size', async () => {
    await using server = await startAccountsServer();
    const { token, userId } = await server.register('fielded');
    const path = `${V3}/profile/${encodeURIComponent(userId)}`;
    const put = async (field: string, value: unknown): Promise<readonly unknown[]> => {
      const body = Object.fromEntries([[field, value]]);
      const answer = await server.request('PUT', `${path}/${encodeURIComponent(field)}`, { token, body });
      return answer.status === 200 ? [200] : brief(answer);
    };
    for (const field of ['m.tz', 'org.example.a-b_c', 'a', 'x.9', `a${'.b'.repeat(127)}`]) {
      assert.deepEqual(await put(field, { any: ['json', 1, null] }), [200], field);
    }
    for (const field of ['9a', '.a', 'A.b', 'a b', 'ä', '-a', '_a', 'a/b']) {
      assert.deepEqual(await put(field, 1), [400, 'M_INVALID_PARAM'], field);
      const removed = await server.request('DELETE', `${path}/${encodeURIComponent(field)}`, { token });
      assert.deepEqual(brief(removed), [400, 'M_INVALID_PARAM'], field);
    }
    assert.deepEqual(await put(`a${'.b'.repeat(127)}c`, 1), [400, 'M_KEY_TOO_LARGE']);
    assert.deepEqual(await put('displayname', 'x'.repeat(256)), [200]);
    assert.deepEqual(await put('displayname', 'x'.repeat(257)), [400, 'M_INVALID_PARAM']);
    assert.deepEqual(await put('avatar_url', `mxc://hs1/${'x'.repeat(990)}`), [200]);
    assert.deepEqual(await put('avatar_url', `mxc://hs1/${'x'.repeat(991)}`), [400, 'M_INVALID_PARAM']);
    const known = Buffer.byteLength(JSON.stringify((await server.request('GET', path)).body));
    const room = 64 * 1024 - known - '"big.one":"",'.length;
    assert.deepEqual(await put('big.one', 'x'.repeat(room)), [400, 'M_PROFILE_TOO_LARGE']);
    assert.deepEqual(await put('big.one', 'x'.repeat(room - 1)), [200]);
    assert.deepEqual(await put('one.more', 1), [400, 'M_PROFILE_TOO_LARGE']);
    assert.deepEqual(await put('big.one', 'x'.repeat(room - 100)), [200], 'a field that is replaced counts once');
    assert.deepEqual(await put('big.one', null), [200], 'null is a value like another');
    assert.deepEqual(at((await server.request('GET', path)).body, 'big.one'), null);
    await Promise.all(Array.from({ length: 8 }, (_, index) => put(`p.${index}`, 'x'.repeat(12_000))));
    assert.ok(
      Buffer.byteLength(JSON.stringify((await server.request('GET', path)).body)) < 64 * 1024,
      'all at once too',
    );
  });

  test('C9: a megabyte, or what is merely too long, is refused wherever a string is taken', async () => {
    await using server = await startAccountsServer();
    const { token } = await server.register('long');
    const mail = { client_secret: 's', send_attempt: 1, email: 'a@b' };
    const phone = { client_secret: 's', send_attempt: 1, country: 'GB', phone_number: '1' };
    for (const [path, valid] of [
      ['/register/email/requestToken', mail],
      ['/register/msisdn/requestToken', phone],
      ['/account/password/email/requestToken', mail],
      ['/account/password/msisdn/requestToken', phone],
      ['/account/3pid/email/requestToken', mail],
      ['/account/3pid/msisdn/requestToken', phone],
      ['/account/3pid/add', { client_secret: 's', sid: 's' }],
      ['/account/3pid/bind', { client_secret: 's', sid: 's', id_server: 'x', id_access_token: 'y' }],
      ['/account/3pid/delete', { medium: 'email', address: 'a@b' }],
      ['/account/3pid/unbind', { medium: 'email', address: 'a@b' }],
    ] as const) {
      for (const [key, value] of Object.entries(valid)) {
        if (typeof value !== 'string') continue;
        for (const length of [5_000, 1_048_576]) {
          const body = { ...valid, [key]: 'x'.repeat(length) };
          const { status } = await server.request('POST', V3 + path, { token, body });
          assert.equal(status, length > 512 * 1024 ? 413 : 400, `${path} ${key}`);
        }
      }
    }
  });
});

test('addresses: a server that has none answers as the spec says', async () => {
  await using server = await startAccountsServer();
  const { token } = await server.register('addressed');
  const ask = (path: string, body: object) => server.request('POST', `${V3}/account/3pid${path}`, { token, body });
  const list = await server.request('GET', `${V3}/account/3pid`, { token });
  assert.deepEqual(listAt(list.body, 'threepids'), []);
  const session = { client_secret: 'abc', sid: 'def' };
  const binding = { ...session, id_server: 'id.example', id_access_token: 'x' };
  assert.deepEqual(brief(await ask('', { three_pid_creds: binding })), [403, 'M_THREEPID_AUTH_FAILED']);
  assert.deepEqual(brief(await ask('/add', session)), [403, 'M_THREEPID_AUTH_FAILED']);
  assert.deepEqual(brief(await ask('/bind', binding)), [400, 'M_SERVER_NOT_TRUSTED']);
  assert.deepEqual(brief(await ask('/add', { client_secret: 'abc' })), [400, 'M_MISSING_PARAM']);
  assert.deepEqual(brief(await ask('/delete', { medium: 'pigeon', address: 'x' })), [400, 'M_BAD_JSON']);
  for (const action of ['/delete', '/unbind']) {
    const answer = await ask(action, { medium: 'email', address: 'a@b.example' });
    assert.deepEqual([answer.status, answer.body], [200, { id_server_unbind_result: 'no-support' }]);
  }
  const capabilities = await server.request('GET', `${V3}/capabilities`, { token });
  assert.deepEqual(at(capabilities.body, 'capabilities', 'm.3pid_changes'), { enabled: false });
});
