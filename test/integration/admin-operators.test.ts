/**
 * What operators do beyond the reference: find accounts, let people in and throw them out, erase, give a room an
 * administrator.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../../src/storage/sql.ts';
import { type AdminServer, PASSWORD, startAdminServer } from '../support/admin-server.ts';
import { at, listAt, textAt } from '../support/json.ts';
import type { TestRoom } from '../support/rooms-server.ts';

describe('admin API: accounts beyond the reference', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const errorOf = (answer: { status: number; body: unknown }) => [answer.status, at(answer.body, 'errcode')];
  const login = (user: string, password: string) =>
    server.request('POST', '/_matrix/client/v3/login', {
      body: { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password },
    });
  const whoami = (token: string) => server.request('GET', '/_matrix/client/v3/account/whoami', { token });
  const find = async (query: string): Promise<readonly unknown[]> =>
    listAt((await server.api('GET', `/user-search${query}`)).body, 'chunk').map((one) => at(one, 'localpart'));

  test('search: a part of the localpart or of the display name, and flags; devices and last seen come with it', async () => {
    const { token, userId } = await server.register('searchable');
    await server.api('POST', '/users/create', { localpart: 'searchlocked', locked: true });
    await server.api('POST', '/users/create', { localpart: 'searchsuspended', suspended: true });
    await server
      .user(token)
      .ok('PUT', `/profile/${encodeURIComponent(userId)}/displayname`, { displayname: 'Ünique Name' });
    assert.deepEqual(await find('?search=search'), ['searchsuspended', 'searchlocked', 'searchable']);
    assert.deepEqual(await find(`?search=${encodeURIComponent('ÜNIQUE nAME')}`), ['searchable']);
    assert.deepEqual(await find('?search=search&locked=true'), ['searchlocked']);
    assert.deepEqual(await find('?search=search&suspended=true'), ['searchsuspended']);
    assert.deepEqual(await find('?search=search&locked=false&suspended=false'), ['searchable']);
    assert.deepEqual(await find('?admin=true'), ['root']);
    assert.deepEqual(await find('?search=%25'), [], 'nothing is a pattern');
    const { body } = await server.api('GET', '/user-search?search=searchable');
    assert.deepEqual([at(body, 'chunk', 0, 'display_name'), at(body, 'chunk', 0, 'devices')], ['Ünique Name', 1]);
    assert.deepEqual(errorOf(await server.api('GET', '/user-search?admin=maybe')), [400, 'M_INVALID_PARAM']);
  });

  test('the list of users is not filtered, whatever is asked', async () => {
    const all = await server.api('GET', '/users?limit=1000');
    const filtered = await server.api('GET', '/users?limit=1000&search=nobody&admin=true&order_by=localpart');
    assert.deepEqual(filtered.body, all.body);
  });

  test('reset password: a random one comes back, a given one does not, and devices are logged out', async () => {
    const { token } = await server.register('forgetful');
    const random = await server.api('POST', '/users/forgetful/reset-password');
    assert.equal(at(random.body, 'devices'), 1);
    assert.equal((await whoami(token)).status, 401);
    assert.equal((await login('forgetful', PASSWORD)).status, 403);
    const second = await login('forgetful', textAt(random.body, 'password'));
    assert.equal(second.status, 200);
    const kept = { password: 'a given password', logout_devices: false };
    assert.deepEqual((await server.api('POST', '/users/forgetful/reset-password', kept)).body, { devices: 0 });
    assert.equal((await whoami(textAt(second.body, 'access_token'))).status, 200);
    assert.equal((await login('forgetful', 'a given password')).status, 200);
    const audit = JSON.stringify((await server.api('GET', '/audit?limit=20')).body);
    assert.ok(!audit.includes('a given password'));
  });

  test('E3: neither password nor token opens a deactivated account', async () => {
    await server.register('closed');
    await server.api('POST', '/users/closed/deactivate');
    for (const path of ['reset-password', 'access-token']) {
      assert.deepEqual(errorOf(await server.api('POST', `/users/closed/${path}`)), [403, 'M_USER_DEACTIVATED'], path);
    }
  });

  test('delete device: that one is logged out, the others are not', async () => {
    const { token, deviceId } = await server.register('twodevices');
    const second = await login('twodevices', PASSWORD);
    assert.deepEqual((await server.api('DELETE', `/users/twodevices/devices/${deviceId}`)).body, {});
    assert.equal((await whoami(token)).status, 401);
    assert.equal((await whoami(textAt(second.body, 'access_token'))).status, 200);
    assert.deepEqual(errorOf(await server.api('DELETE', `/users/twodevices/devices/${deviceId}`)), [
      404,
      'M_NOT_FOUND',
    ]);
    assert.deepEqual(errorOf(await server.api('DELETE', '/users/nobody/devices/X')), [404, 'M_NOT_FOUND']);
  });

  test('get user: media totals and numbers of rooms', async () => {
    const { userId } = await server.register('uploader');
    await server.db.database.query(sql`
      insert into media (origin, media_id, kind, user_id, sha256, size, created_at, last_access_at)
      select 'test.example', 'up' || n, 'local', ${userId}, 'x' || n, 1000, n, n from generate_series(1, 3) n`);
    const { body } = await server.api('GET', '/users/uploader');
    assert.deepEqual([at(body, 'media'), at(body, 'room_counts')], [{ files: 3, bytes: 3000 }, {}]);
  });

  test('erase: of a deactivated account alone, with redactions, and as often as one likes', async () => {
    const { token } = await server.register('toerase');
    const owner = await server.register('erasehost');
    const room = await server.user(owner.token).createRoom({ preset: 'public_chat' });
    const inside = server.user(token).room(room.roomId);
    await inside.join();
    await inside.send('to be forgotten');
    assert.deepEqual(errorOf(await server.api('POST', '/users/toerase/erase')), [400, 'M_BAD_STATE']);
    await server.api('POST', '/users/toerase/deactivate', {});
    assert.equal(at((await server.api('GET', '/users/toerase')).body, 'erased'), false);
    assert.deepEqual((await server.api('POST', '/users/toerase/erase', { redact: true })).body, {});
    assert.deepEqual((await server.api('POST', '/users/toerase/erase')).body, {});
    assert.equal(at((await server.api('GET', '/users/toerase')).body, 'erased'), true);
    const history = listAt(await room.ok('GET', '/messages?dir=b&limit=100'), 'chunk');
    assert.ok(!JSON.stringify(history).includes('to be forgotten'));
  });

  test('locking, suspending and deactivating end long polls at once', async () => {
    const { token } = await server.register('polling');
    const sync = (query = '') => server.request('GET', `/_matrix/client/v3/sync${query}`, { token });
    for (const [method, path, body] of [
      ['PATCH', '/users/polling', { suspended: true }],
      ['PATCH', '/users/polling', { locked: true }],
      ['PATCH', '/users/polling', { locked: false }],
      ['POST', '/users/polling/deactivate', {}],
    ] as const) {
      const first = await sync();
      if (first.status !== 200) {
        await server.api(method, path, body);
        continue;
      }
      const started = Date.now();
      const waiting = sync(`?since=${textAt(first.body, 'next_batch')}&timeout=25000`);
      await sleep(100);
      await server.api(method, path, body);
      await waiting;
      assert.ok(Date.now() - started < 20_000, `${method} ${JSON.stringify(body)}`);
    }
    assert.equal((await sync()).status, 401);
  });

  test('locking by the endpoints of the specification is in the audit log, refused attempts of users are not', async () => {
    const { token, userId } = await server.register('speclocked');
    const path = `/_matrix/client/v1/admin/lock/${encodeURIComponent(userId)}`;
    await server.request('PUT', path, { token, body: { locked: true } });
    await server.request('PUT', path, { token: server.admin, body: { locked: true } });
    const entries = listAt((await server.api('GET', '/audit?limit=100')).body, 'chunk').filter((entry) =>
      String(at(entry, 'path')).startsWith('/_matrix/'),
    );
    assert.deepEqual(
      entries.map((entry) => [at(entry, 'actor'), at(entry, 'params'), at(entry, 'status')]),
      [['@root:test.example', [userId], 200]],
    );
  });
});

describe('admin API: make room admin', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const makeAdmin = (roomId: string, userId: string) =>
    server.api('POST', `/rooms/${encodeURIComponent(roomId)}/make-admin`, { user_id: userId });
  const levelOf = async (room: TestRoom, userId: string) =>
    at(await room.state('m.room.power_levels', ''), 'users', userId);
  let count = 0;
  const people = async () => {
    count += 1;
    return { owner: await server.register(`owner${count}`), other: await server.register(`other${count}`) };
  };

  test('a stranger is invited, joins and gets the creator’s level, in rooms of every kind of version', async () => {
    for (const version of ['1', '9', '11', '12']) {
      const { owner, other } = await people();
      const room = await server.user(owner.token).createRoom({ preset: 'private_chat', room_version: version });
      const { status, body } = await makeAdmin(room.roomId, other.userId);
      assert.deepEqual([status, body], [200, { power_level: 100, granted_by: owner.userId }], version);
      assert.equal(await levelOf(room, other.userId), 100);
      await server.user(other.token).room(room.roomId).send('I am in');
      assert.deepEqual((await makeAdmin(room.roomId, other.userId)).body, {
        power_level: 100,
        granted_by: other.userId,
      });
      const creator = await makeAdmin(room.roomId, owner.userId);
      assert.equal(at(creator.body, 'power_level'), version === '12' ? null : 100);
    }
  });

  test('no more than the highest local level is given, and who is banned is let in again', async () => {
    const { owner, other } = await people();
    const { token, userId } = await server.register(`helper${count}`);
    const room = await server.user(owner.token).createRoom({ preset: 'public_chat', room_version: '11' });
    await server.user(token).room(room.roomId).join();
    const levels = { users: { [owner.userId]: 100, [userId]: 60 }, state_default: 50, events: {} };
    await room.ok('PUT', '/state/m.room.power_levels/', levels);
    await room.ok('POST', '/ban', { user_id: other.userId });
    await room.ok('POST', '/leave', {});
    const { body } = await makeAdmin(room.roomId, other.userId);
    assert.deepEqual(body, { power_level: 60, granted_by: userId });
    const left = server.user(token).room(room.roomId);
    assert.equal(await levelOf(left, other.userId), 60);
    assert.equal(at(await left.state('m.room.member', other.userId), 'membership'), 'join');
  });

  test('where nobody can give anything: M_BAD_STATE; unknown rooms and users: M_NOT_FOUND', async () => {
    const { owner, other } = await people();
    const { token } = await server.register(`powerless${count}`);
    const room = await server.user(owner.token).createRoom({ preset: 'public_chat' });
    await server.user(token).room(room.roomId).join();
    await room.ok('POST', '/leave', {});
    const refused = await makeAdmin(room.roomId, other.userId);
    assert.deepEqual([refused.status, at(refused.body, 'errcode')], [400, 'M_BAD_STATE']);
    assert.equal((await makeAdmin('!unknown:test.example', other.userId)).status, 404);
    assert.equal((await makeAdmin(room.roomId, 'nobody')).status, 404);
  });
});
