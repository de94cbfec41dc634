/**
 * Uptime, version, configuration, media and the OpenAPI document: each sentence of the reference.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { MediaCriteria } from '../../src/api/admin/media.ts';
import { parseConfig } from '../../src/config/load.ts';
import { loadBuildInfo } from '../../src/lib/build-info.ts';
import { MatrixError } from '../../src/protocol/errors.ts';
import { sql } from '../../src/storage/sql.ts';
import { BUILD, startAdminServer } from '../support/admin-server.ts';
import { at, entriesAt } from '../support/json.ts';

describe('admin API: uptime and version', () => {
  test('uptime: without authentication, when the listeners were opened, in unix milliseconds', async () => {
    const before = Date.now();
    await using server = await startAdminServer();
    const { status, body } = await server.request('GET', '/_hammerhead/v0/uptime');
    assert.equal(status, 200);
    assert.deepEqual(
      entriesAt(body).map(([key]) => key),
      ['started_at'],
    );
    const startedAt = Number(at(body, 'started_at'));
    assert.ok(Number.isInteger(startedAt) && startedAt >= before && startedAt <= Date.now());
    assert.deepEqual((await server.request('GET', '/_hammerhead/v0/uptime')).body, body, 'it does not change');
  });

  test('version: without authentication, nine keys', async () => {
    await using server = await startAdminServer();
    const { status, body } = await server.request('GET', '/_hammerhead/v0/version');
    assert.equal(status, 200);
    assert.deepEqual(body, {
      build_date: BUILD.buildDate,
      commit_hash: 'c6a5ea0',
      dirty: true,
      full: BUILD.full,
      go_version: 'node26.10.0',
      latest_tag: 'v0.0.0',
      os_arch: 'linux/amd64',
      short: BUILD.short,
      tagged_version: '',
    });
  });

  test('version: what runs here says so', async () => {
    const build = await loadBuildInfo();
    assert.equal(build.runtime, `node${process.versions.node}`);
    assert.match(build.osArch, /^[a-z0-9]+\/[a-z0-9]+$/);
    assert.ok(build.full.startsWith(build.short) && build.full.endsWith(`${build.runtime}@${build.osArch}`));
    assert.equal(build.full.includes('+dirty'), build.dirty);
    assert.ok(build.short.startsWith(`v${build.version}`));
    assert.ok(Number.isInteger(build.buildDate) && build.buildDate > 1_700_000_000_000);
  });
});

describe('admin API: reload configuration', () => {
  const reload = '/reload-config';

  test('answers the fresh configuration as JSON with the file’s keys, and without its secrets', async () => {
    const config = parseConfig(
      'server_name: test.example\nregistration: {shared_secret: canary-shared-secret}\n',
      '/etc/h.yaml',
    );
    await using server = await startAdminServer({ reloadConfig: async () => config });
    const { status, body } = await server.api('POST', reload);
    assert.equal(status, 200);
    assert.equal(at(body, 'server_name'), 'test.example');
    assert.equal(at(body, 'registration', 'password_requirements', 'min_length'), 10);
    assert.equal(at(body, 'registration', 'shared_secret'), '[redacted]');
    assert.ok(!JSON.stringify(body).includes('canary-shared-secret'));
  });

  test('what was changed with SQL counts at once after a reload', async () => {
    await using server = await startAdminServer();
    const { token } = await server.register('cached');
    const whoami = async () => (await server.request('GET', '/_matrix/client/v3/account/whoami', { token })).status;
    assert.equal(await whoami(), 200);
    await server.db.database.query(sql`update accounts set locked = true where localpart = 'cached'`);
    assert.equal(await whoami(), 200, 'tokens are remembered for a minute');
    assert.equal((await server.api('POST', reload)).status, 200);
    assert.equal(await whoami(), 401);
  });

  test('the request body is ignored', async () => {
    await using server = await startAdminServer();
    for (const raw of ['', 'no JSON', '{"server_name":"other"}']) {
      const path = `/_hammerhead/v0/admin${reload}`;
      assert.equal((await server.request('POST', path, { token: server.admin, raw })).status, 200);
    }
  });

  test('a broken or missing file is 500 M_UNKNOWN with the reason', async () => {
    await using server = await startAdminServer({
      reloadConfig: async () => parseConfig('server_nam: x\n', '/etc/hammerhead.yaml'),
    });
    const { status, body } = await server.api('POST', reload);
    assert.deepEqual([status, at(body, 'errcode')], [500, 'M_UNKNOWN']);
    assert.match(String(at(body, 'error')), /server_nam/);
  });
});

describe('admin API: media', () => {
  test('delete: the origin and the id as given, _ for this server, and what was deleted', async () => {
    const asked: unknown[] = [];
    await using server = await startAdminServer({
      media: {
        async deleteOne(...ids) {
          asked.push(ids);
          return { ok: 1, fail: 0 };
        },
      },
    });
    for (const path of ['/media/_/abc', '/media/other.example/a%2Fb', '/media/other.example%3A8448/purge']) {
      const { status, body } = await server.api('DELETE', path);
      assert.deepEqual([status, body], [200, { ok: 1, fail: 0 }]);
    }
    assert.deepEqual(asked, [
      ['test.example', 'abc'],
      ['other.example', 'a/b'],
      ['other.example:8448', 'purge'],
    ]);
  });

  test('delete: a missing or empty origin or id is M_MISSING_PARAM', async () => {
    await using server = await startAdminServer();
    for (const path of ['/media/_/', '/media//abc', '/media//', '/media/_', '/media/', '/media']) {
      const { status, body } = await server.api('DELETE', path);
      assert.deepEqual([status, at(body, 'errcode')], [400, 'M_MISSING_PARAM'], path);
    }
  });

  test('delete and purge: what cannot be done is 500 M_UNKNOWN', async () => {
    const broken = () => Promise.reject(new Error('EACCES'));
    await using server = await startAdminServer({ media: { deleteOne: broken, purge: broken } });
    for (const answer of [await server.api('DELETE', '/media/_/abc'), await server.api('POST', '/media/purge', {})]) {
      assert.deepEqual([answer.status, at(answer.body, 'errcode')], [500, 'M_UNKNOWN']);
    }
  });

  test('purge: criteria are off by default, and each is passed on; counts come back', async () => {
    const asked: MediaCriteria[] = [];
    await using server = await startAdminServer({
      media: {
        async purge(criteria) {
          asked.push(criteria);
          return { ok: 420, fail: 69 };
        },
      },
    });
    const none = {
      allRemoteMedia: false,
      allLocalMedia: false,
      allCaches: false,
      allSparse: false,
      origin: undefined,
      user: undefined,
    };
    for (const [body, expected] of [
      [{}, none],
      [{ origin: '', user: '' }, none],
      [{ all_remote_media: true }, { ...none, allRemoteMedia: true }],
      [{ all_local_media: true }, { ...none, allLocalMedia: true }],
      [
        { all_caches: true, all_sparse: true },
        { ...none, allCaches: true, allSparse: true },
      ],
      [
        { origin: '_', all_remote_media: true },
        { ...none, origin: 'test.example', allRemoteMedia: true },
      ],
      [{ origin: 'other.example' }, { ...none, origin: 'other.example' }],
      [{ user: '@baduser:example.com' }, { ...none, user: '@baduser:example.com' }],
    ] as const) {
      const answer = await server.api('POST', '/media/purge', body);
      assert.deepEqual([answer.status, answer.body], [200, { ok: 420, fail: 69 }]);
      assert.deepEqual(asked.at(-1), expected);
    }
  });

  test('purge: what is no JSON is M_NOT_JSON', async () => {
    await using server = await startAdminServer();
    for (const raw of ['', 'all=true']) {
      const answer = await server.request('POST', '/_hammerhead/v0/admin/media/purge', { token: server.admin, raw });
      assert.deepEqual([answer.status, at(answer.body, 'errcode')], [400, 'M_NOT_JSON']);
    }
  });

  test('errors of the media repository that are meant for clients pass', async () => {
    await using server = await startAdminServer({
      media: { deleteOne: () => Promise.reject(new MatrixError('M_INVALID_PARAM', 'no server name')) },
    });
    assert.equal((await server.api('DELETE', '/media/x/abc')).status, 400);
  });
});

describe('admin API: OpenAPI document', () => {
  test('describes every endpoint, and itself', async () => {
    await using server = await startAdminServer();
    const { status, body } = await server.request('GET', '/_hammerhead/v0/openapi.json');
    assert.equal(status, 200);
    assert.equal(at(body, 'openapi'), '3.1.0');
    const operationIds = new Set<unknown>();
    for (const { method, paths, auth, doc } of server.endpoints) {
      const operation = at(body, 'paths', paths[0] ?? '', method.toLowerCase());
      assert.equal(at(operation, 'summary'), doc.summary);
      assert.equal(
        entriesAt(operation, 'security').length,
        { none: 0, admin: 1, 'admin-or-psk': 2, user: 1, optional: 0, server: 0 }[auth],
      );
      assert.ok(!operationIds.has(at(operation, 'operationId')), String(at(operation, 'operationId')));
      operationIds.add(at(operation, 'operationId'));
    }
    const create = at(body, 'paths', '/_hammerhead/v0/admin/users/create', 'post');
    assert.ok(at(create, 'responses', '201', 'content', 'application/json', 'schema', 'properties', 'account_id'));
    assert.ok(at(create, 'requestBody', 'content', 'application/json', 'schema', 'properties', 'localpart'));
    const update = at(body, 'paths', '/_hammerhead/v0/admin/users/{user_id}', 'patch');
    assert.equal(at(update, 'parameters', 0, 'name'), 'user_id');
  });
});
