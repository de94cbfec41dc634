/**
 * Guests: what they reach, the rooms that they may be in, and how they become ordinary users.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Endpoint } from '../../src/http/endpoint.ts';
import { EVICT_GUESTS } from '../../src/rooms/guest-access.ts';
import { sql } from '../../src/storage/sql.ts';
import { startAdminServer } from '../support/admin-server.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { startWholeServer, type WholeServer } from '../support/whole-server.ts';

const V3 = '/_matrix/client/v3';
const FORBIDDEN = [403, 'M_GUEST_ACCESS_FORBIDDEN'];

const brief = ({ status, body }: { readonly status: number; readonly body: unknown }): readonly unknown[] => [
  status,
  at(body, 'errcode'),
];

/** https://spec.matrix.org/v1.19/client-server-api/#guest-access */
const FOR_GUESTS: ReadonlySet<string> = new Set([
  'GET /v3/rooms/{}/state',
  'GET /v3/rooms/{}/context/{}',
  'GET /v3/rooms/{}/event/{}',
  'GET /v3/rooms/{}/state/{}/{}',
  'GET /v3/rooms/{}/messages',
  'GET /v3/rooms/{}/members',
  'GET /v3/rooms/{}/initialSync',
  'GET /v3/sync',
  'GET /v3/events',
  'GET /v1/media/download/{}/{}',
  'GET /v1/media/download/{}/{}/{}',
  'GET /v1/media/thumbnail/{}/{}',
  'POST /v3/rooms/{}/join',
  'POST /v3/rooms/{}/leave',
  'PUT /v3/rooms/{}/send/{}/{}',
  'PUT /v3/rooms/{}/state/{}/{}',
  'PUT /v3/sendToDevice/{}/{}',
  'PUT /v3/profile/{}/{}',
  'DELETE /v3/profile/{}/{}',
  'GET /v3/devices',
  'GET /v3/devices/{}',
  'PUT /v3/devices/{}',
  'GET /v3/account/whoami',
  'POST /v3/keys/upload',
  'POST /v3/keys/query',
  'POST /v3/keys/claim',
]);

interface Route {
  readonly endpoint: Endpoint;
  readonly path: string;
}

function isForGuests({ endpoint, path }: Route): boolean {
  const shape = path
    .replace('/_matrix/client', '')
    .replace('/r0/', '/v3/')
    .replaceAll(/\{[^}]*\}/g, '{}')
    // The state key may be left out where it is empty.
    .replace(/\/state\/\{\}\/?$/, '/state/{}/{}');
  return FOR_GUESTS.has(`${endpoint.method} ${shape}`);
}

const EXAMPLES: Readonly<Record<string, string>> = {
  userId: '@somebody:test.example',
  roomId: '!room:test.example',
  roomIdOrAlias: '!room:test.example',
  serverName: 'test.example',
};

function fill(path: string): string {
  return path.replaceAll(/\{([^}]*)\}/g, (_all, name) => encodeURIComponent(EXAMPLES[name] ?? 'x'));
}

async function until(check: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 1200; attempt++) {
    if (await check()) return;
    await sleep(25);
  }
  assert.fail('it did not come to be');
}

describe('guests', () => {
  let server: WholeServer;
  before(async () => {
    server = await startWholeServer();
    await server.register('owner');
  });
  after(() => server[Symbol.asyncDispose]());

  test('E13: guests reach the endpoints of the list in the spec, and no other', async () => {
    const { token } = await server.registerGuest();
    const routes = server.running.endpoints
      .filter(({ auth }) => auth === 'user')
      .flatMap((endpoint) => endpoint.paths.map((path) => ({ endpoint, path })))
      .filter(({ path }) => path.startsWith('/_matrix/'));
    assert.ok(routes.length > 100, 'the routes were found');
    for (const route of routes) {
      const { endpoint, path } = route;
      const name = `${endpoint.method} ${path}`;
      assert.equal(endpoint.guests, isForGuests(route), name);
      if (endpoint.guests) continue;
      const options = endpoint.readBody === undefined ? { token } : { token, body: {} };
      assert.deepEqual(brief(await server.request(endpoint.method, fill(path), options)), FORBIDDEN, name);
    }
  });

  test('E13: of their profile guests change the display name only', async () => {
    const { token, userId } = await server.registerGuest();
    const path = `${V3}/profile/${encodeURIComponent(userId)}`;
    const put = (field: string) =>
      server.request('PUT', `${path}/${field}`, { token, body: { [field]: 'mxc://test.example/a' } });
    assert.equal((await put('displayname')).status, 200);
    assert.deepEqual(brief(await put('avatar_url')), FORBIDDEN);
    assert.deepEqual(brief(await put('m.tz')), FORBIDDEN);
    assert.deepEqual(brief(await server.request('DELETE', `${path}/avatar_url`, { token })), FORBIDDEN);
    assert.equal((await server.request('DELETE', `${path}/displayname`, { token })).status, 200);
  });

  test('the server chooses everything about a guest but the name of its device', async () => {
    const body = { username: 'chosen', device_id: 'MINE', password: 'x', initial_device_display_name: 'Browser' };
    const answer = await server.request('POST', `${V3}/register?kind=guest`, { body });
    assert.equal(answer.status, 200);
    assert.notEqual(at(answer.body, 'user_id'), '@chosen:test.example');
    const deviceId = textAt(answer.body, 'device_id');
    assert.notEqual(deviceId, 'MINE');
    const token = textAt(answer.body, 'access_token');
    const device = await server.request('GET', `${V3}/devices/${deviceId}`, { token });
    assert.equal(at(device.body, 'display_name'), 'Browser');
  });

  test('28: guests join only rooms that say so, and leave when they stop saying so', async () => {
    const owner = await server.register('host28');
    const member = await server.register('member28');
    const [first, second] = [await server.registerGuest(), await server.registerGuest()];
    const room = await owner.client.createRoom({ preset: 'public_chat' });
    const as = (user: typeof first) => user.client.room(room.roomId);
    const membership = async (userId: string) => at(await room.state('m.room.member', userId), 'membership');
    await as(member).join();
    assert.deepEqual(brief(await as(first).call('POST', '/join', {})), FORBIDDEN, 'a room that forbids it');
    const asState = { membership: 'join' };
    const memberPath = `/state/m.room.member/${encodeURIComponent(first.userId)}`;
    assert.deepEqual(brief(await as(first).call('PUT', memberPath, asState)), FORBIDDEN, 'by the state either');
    const knock = { membership: 'knock' };
    assert.deepEqual(brief(await as(first).call('PUT', memberPath, knock)), FORBIDDEN, 'nor do they knock');

    await room.setState('m.room.guest_access', { guest_access: 'can_join' });
    await as(first).join();
    await as(second).join();
    await as(first).send('hello');
    await room.setState('m.room.guest_access', { guest_access: 'forbidden' });
    await until(
      async () => (await membership(first.userId)) === 'leave' && (await membership(second.userId)) === 'leave',
    );
    assert.equal(await membership(member.userId), 'join');
    assert.equal(await membership(owner.userId), 'join');
    assert.deepEqual(brief(await as(first).call('POST', '/join', {})), FORBIDDEN);
  });

  test('28: a redacted permission is none', async () => {
    const owner = await server.register('redactor28');
    const guest = await server.registerGuest();
    const room = await owner.client.createRoom({ preset: 'public_chat' });
    const permission = await room.setState('m.room.guest_access', { guest_access: 'can_join' });
    await guest.client.room(room.roomId).join();
    await room.ok('PUT', `/redact/${permission}/t1`, {});
    await until(async () => at(await room.state('m.room.member', guest.userId), 'membership') === 'leave');
  });

  test('a guest becomes an ordinary user, with the same name and rooms', async () => {
    const owner = await server.register('promoter');
    const guest = await server.registerGuest();
    const room = await owner.client.createRoom({
      preset: 'public_chat',
      initial_state: [{ type: 'm.room.guest_access', state_key: '', content: { guest_access: 'can_join' } }],
    });
    await guest.client.room(room.roomId).join();
    const localpart = guest.userId.slice(1, guest.userId.indexOf(':'));
    const register = (body: object) =>
      server.request('POST', `${V3}/register`, {
        body: { password: 'correct horse battery', auth: { type: 'm.login.dummy' }, ...body },
      });
    const upgrade = { username: localpart, guest_access_token: guest.token };
    assert.deepEqual(brief(await register({ guest_access_token: guest.token })), [400, 'M_MISSING_PARAM']);
    assert.deepEqual(brief(await register({ ...upgrade, username: 'other' })), [400, 'M_INVALID_PARAM']);
    assert.deepEqual(brief(await register({ ...upgrade, guest_access_token: 'made-up' })), [403, 'M_FORBIDDEN']);
    assert.deepEqual(brief(await register({ ...upgrade, guest_access_token: owner.token })), [403, 'M_FORBIDDEN']);
    assert.deepEqual(brief(await register({ username: localpart })), [400, 'M_USER_IN_USE']);
    const answers = await Promise.all(Array.from({ length: 5 }, () => register(upgrade)));
    const [promoted, ...more] = answers.filter(({ status }) => status === 200);
    assert.ok(promoted);
    assert.deepEqual(more, [], 'once');
    assert.equal(at(promoted.body, 'user_id'), guest.userId);
    const token = textAt(promoted.body, 'access_token');
    const whoami = await server.request('GET', `${V3}/account/whoami`, { token });
    assert.equal(at(whoami.body, 'is_guest'), false);
    const rooms = await server.request('GET', `${V3}/joined_rooms`, { token });
    assert.deepEqual(listAt(rooms.body, 'joined_rooms'), [room.roomId]);
    const former = await server.request('GET', `${V3}/account/whoami`, { token: guest.token });
    assert.equal(former.status, 401, 'a token of the guest is no token of the user');
    assert.deepEqual(brief(await register(upgrade)), [403, 'M_FORBIDDEN']);
    const login = await server.request('POST', `${V3}/login`, {
      body: { type: 'm.login.password', user: localpart, password: 'correct horse battery' },
    });
    assert.equal(login.status, 200);
    await room.setState('m.room.guest_access', { guest_access: 'forbidden' });
    await sleep(200);
    assert.equal(at(await room.state('m.room.member', guest.userId), 'membership'), 'join', 'no guest any more');
  });

  test('nothing failed', () => assert.deepEqual(server.faults, []));
});

test('28: guests who should have left before a crash leave after it', async () => {
  const gate = Promise.withResolvers<void>();
  let server = await startAdminServer({
    wrapKind: (kind, name) => ({
      ...kind,
      async step(job) {
        if (name === EVICT_GUESTS) await gate.promise;
        return kind.step(job);
      },
    }),
  });
  try {
    const owner = await server.register('owner');
    const room = await server.user(owner.token).createRoom({
      preset: 'public_chat',
      initial_state: [{ type: 'm.room.guest_access', state_key: '', content: { guest_access: 'can_join' } }],
    });
    const registered = await server.request('POST', `${V3}/register?kind=guest`, { body: {} });
    const guestId = textAt(registered.body, 'user_id');
    await server.user(textAt(registered.body, 'access_token')).room(room.roomId).join();
    await room.setState('m.room.guest_access', { guest_access: 'forbidden' });
    const { database } = server.db;
    const rows = () => database.query(sql<{ job_id: number }>`select job_id from jobs where kind = 'evict_guests'`);
    await until(async () => (await rows()).length === 1);
    // As when the process ends before the job is written.
    await database.query(sql`delete from jobs where kind = 'evict_guests'`);
    server = await server.crash({ wrapKind: (kind) => kind });
    const after = server.user(owner.token).room(room.roomId);
    await until(async () => at(await after.state('m.room.member', guestId), 'membership') === 'leave');
  } finally {
    gate.resolve();
    await server[Symbol.asyncDispose]();
  }
});

test('guests are off by default', async () => {
  await using server = await startWholeServer({ registration: { enabled: true, requires_token: false } });
  assert.deepEqual(brief(await server.request('POST', `${V3}/register?kind=guest`, { body: {} })), FORBIDDEN);
});
