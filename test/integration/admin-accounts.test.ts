/**
 * Accounts beyond the reference: the administration endpoints of the specification, and registration tokens.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type AdminServer, startAdminServer } from '../support/admin-server.ts';
import { at, entriesAt, listAt } from '../support/json.ts';

describe('the administration endpoints of the specification', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
  });
  after(() => server[Symbol.asyncDispose]());

  test('lock and suspend: only by administrators, not oneself, not another administrator', async () => {
    const { token, userId } = await server.register('target');
    await server.register('other');
    await server.api('PATCH', '/users/other', { admin: true });
    for (const [verb, key] of [
      ['lock', 'locked'],
      ['suspend', 'suspended'],
    ] as const) {
      const call = (method: string, id: string, options: { token?: string; value?: unknown } = {}) =>
        server.request(method, `/_matrix/client/v1/admin/${verb}/${encodeURIComponent(id)}`, {
          token: options.token ?? server.admin,
          ...(method === 'PUT' ? { body: { [key]: 'value' in options ? options.value : true } } : {}),
        });
      assert.deepEqual((await call('GET', userId)).body, { [key]: false });
      assert.deepEqual((await call('PUT', userId)).body, { [key]: true });
      assert.deepEqual((await call('GET', userId)).body, { [key]: true });
      assert.deepEqual((await call('PUT', userId, { value: false })).body, { [key]: false });
      for (const [id, status, errcode] of [
        ['@target:other.example', 400, 'M_INVALID_PARAM'],
        ['target', 400, 'M_INVALID_PARAM'],
        ['@nobody:test.example', 404, 'M_NOT_FOUND'],
        ['@root:test.example', 403, 'M_FORBIDDEN'],
        ['@other:test.example', 403, 'M_FORBIDDEN'],
      ] as const) {
        const answer = await call('PUT', id);
        assert.deepEqual([answer.status, at(answer.body, 'errcode')], [status, errcode], `${verb} ${id}`);
      }
      const byUser = await call('PUT', '@nobody:test.example', { token });
      assert.deepEqual([byUser.status, at(byUser.body, 'errcode')], [403, 'M_FORBIDDEN']);
      assert.equal(at((await call('PUT', userId, { value: 'yes' })).body, 'errcode'), 'M_BAD_JSON');
    }
  });

  test('whois: about oneself, or by an administrator', async () => {
    const { token, userId, deviceId } = await server.register('who');
    const whois = (asking: string, id: string) =>
      server.request('GET', `/_matrix/client/v3/admin/whois/${encodeURIComponent(id)}`, { token: asking });
    for (const asking of [token, server.admin]) {
      const { body } = await whois(asking, userId);
      assert.equal(at(body, 'user_id'), userId);
      assert.deepEqual(
        entriesAt(body, 'devices').map(([id]) => id),
        [deviceId],
      );
      assert.ok(Array.isArray(at(body, 'devices', deviceId, 'sessions', 0, 'connections')));
    }
    assert.equal((await whois(token, '@root:test.example')).status, 403);
    assert.equal((await whois(token, '@nobody:test.example')).status, 403);
    assert.equal((await whois(server.admin, '@nobody:test.example')).status, 404);
  });
});

describe('admin API: registration tokens', () => {
  test('are made, listed, changed and deleted', async () => {
    await using server = await startAdminServer();
    const made = await server.api('POST', '/registration-tokens', { token: 'welcome', uses_allowed: 3 });
    assert.equal(made.status, 201);
    assert.deepEqual(
      [at(made.body, 'token'), at(made.body, 'uses_allowed'), at(made.body, 'completed')],
      ['welcome', 3, 0],
    );
    const random = await server.api('POST', '/registration-tokens');
    assert.match(String(at(random.body, 'token')), /^[A-Za-z0-9]{16}$/);
    assert.equal(listAt((await server.api('GET', '/registration-tokens')).body, 'chunk').length, 2);
    const changed = await server.api('PATCH', '/registration-tokens/welcome', { uses_allowed: null, expires_at: 5 });
    assert.deepEqual([at(changed.body, 'uses_allowed'), at(changed.body, 'expires_at')], [null, 5]);
    assert.equal(at((await server.api('PATCH', '/registration-tokens/welcome', {})).body, 'expires_at'), 5);
    for (const token of ['welcome', 'not a token', '', 'x'.repeat(65)]) {
      assert.equal(
        at((await server.api('POST', '/registration-tokens', { token })).body, 'errcode'),
        'M_INVALID_PARAM',
      );
    }
    assert.deepEqual((await server.api('DELETE', '/registration-tokens/welcome')).body, {});
    assert.equal((await server.api('GET', '/registration-tokens/welcome')).status, 404);
    assert.equal((await server.api('DELETE', '/registration-tokens/welcome')).status, 404);
  });
});
