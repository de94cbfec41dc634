/**
 * Invites between whole servers of ours, and how they end: accepted, rejected, taken back.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import type { TestClient, TestHomeserver } from '../support/federation.ts';
import { at, entriesAt, listAt, textAt } from '../support/json.ts';
import { inRoom, memberIn, sectionsOf, startPair, sync } from '../support/pair.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let here: TestHomeserver;
let there: TestHomeserver;
let alice: TestClient;
let bob: TestClient;
let carol: TestClient;

before(async () => {
  const push = { allow_http: true, allowed_networks: ['127.0.0.0/8'] };
  ({ here, there, alice, bob } = await startPair(stack, { there: { push } }));
  carol = await here.register('carol');
});

after(() => stack.disposeAsync());

const createRoom = async (client: TestClient, body: object = {}): Promise<string> =>
  textAt(await client.ok('POST', '/createRoom', body), 'room_id');

const invite = (client: TestClient, room: string, { userId }: TestClient) =>
  client.call('POST', inRoom(room, '/invite'), { user_id: userId });

const strippedIn = (body: unknown, room: string): readonly unknown[] =>
  listAt(body, 'rooms', 'invite', room, 'invite_state', 'events');

for (const version of ROOM_VERSIONS.keys()) {
  test(`an invite to a room of version ${version} reaches its user, who accepts it`, async () => {
    const since = textAt(await sync(bob), 'next_batch');
    const room = await createRoom(alice, { room_version: version, name: `Room ${version}` });
    assert.equal((await invite(alice, room, bob)).status, 200);
    for (const body of [await sync(bob, since), await sync(bob)]) {
      assert.deepEqual(sectionsOf(body, room), ['invite']);
      const events = strippedIn(body, room);
      for (const event of events) {
        const isCreate = at(event, 'type') === 'm.room.create';
        const keys = entriesAt(event).map(([key]) => key);
        const shown = ['content', ...(isCreate ? ['origin_server_ts'] : []), 'sender', 'state_key', 'type'];
        assert.deepEqual(keys.toSorted(), shown);
      }
      const types = events.map((event) => at(event, 'type'));
      for (const type of ['m.room.create', 'm.room.name', 'm.room.join_rules']) assert.ok(types.includes(type), type);
      assert.deepEqual(at(events.at(-1)), {
        type: 'm.room.member',
        state_key: bob.userId,
        sender: alice.userId,
        content: { membership: 'invite' },
      });
    }
    assert.equal(await memberIn(alice, room, bob.userId), 'invite');
    await bob.ok('POST', inRoom(room, '/join'), {});
    // Until its members are here, syncs without lazy loading leave the room out.
    await bob.ok('GET', inRoom(room, '/members'));
    assert.equal(await memberIn(alice, room, bob.userId), 'join');
    const joined = await sync(bob);
    assert.deepEqual(sectionsOf(joined, room), ['join']);
  });
}

/** Bob is invited to a room of Alice's, and has synced so far. */
async function invited(body: object = {}): Promise<{ readonly room: string; readonly since: string }> {
  const room = await createRoom(alice, { invite: [bob.userId], ...body });
  const synced = await sync(bob);
  assert.deepEqual(sectionsOf(synced, room), ['invite']);
  return { room, since: textAt(synced, 'next_batch') };
}

/** The room has left the invites of Bob, in syncs of both kinds. */
async function assertOver(room: string, since: string): Promise<unknown> {
  const next = await sync(bob, since);
  assert.deepEqual(sectionsOf(next, room), ['leave']);
  assert.deepEqual(sectionsOf(await sync(bob), room), []);
  return at(next, 'rooms', 'leave', room);
}

test('a room that is created with invites has them signed by the servers of those invited', async () => {
  const { room } = await invited({ is_direct: true, preset: 'trusted_private_chat' });
  const events = strippedIn(await sync(bob), room);
  assert.deepEqual(at(events.at(-1), 'content'), { membership: 'invite', is_direct: true });
  assert.equal(await memberIn(alice, room, bob.userId), 'invite');
});

test('a rejected invite is taken back in the room as well', async () => {
  const { room, since } = await invited();
  await bob.ok('POST', inRoom(room, '/leave'), { reason: 'busy' });
  assert.equal(await memberIn(alice, room, bob.userId), 'leave');
  const left = await assertOver(room, since);
  const [event] = listAt(left, 'timeline', 'events');
  assert.deepEqual(at(event, 'content'), { membership: 'leave', reason: 'busy' });
  // Once more changes nothing, and then the room can be forgotten.
  await bob.ok('POST', inRoom(room, '/leave'), {});
  await bob.ok('POST', inRoom(room, '/forget'), {});
  assert.deepEqual(sectionsOf(await bob.ok('GET', `/sync?filter=${INCLUDE_LEAVE}`), room), []);
});

const INCLUDE_LEAVE = encodeURIComponent(JSON.stringify({ room: { include_leave: true } }));

test('who rejected an invite can be invited again, and accept', async () => {
  const { room } = await invited();
  await bob.ok('POST', inRoom(room, '/leave'), {});
  assert.equal((await invite(alice, room, bob)).status, 200);
  assert.deepEqual(sectionsOf(await sync(bob), room), ['invite']);
  await bob.ok('POST', inRoom(room, '/join'), {});
  await bob.ok('GET', inRoom(room, '/members'));
  assert.deepEqual(sectionsOf(await sync(bob), room), ['join']);
});

for (const [how, membership] of [
  ['kick', 'leave'],
  ['ban', 'ban'],
]) {
  test(`an inviter takes an invite back with a ${how}`, async () => {
    const { room, since } = await invited();
    await alice.ok('POST', inRoom(room, `/${how}`), { user_id: bob.userId });
    const left = await assertOver(room, since);
    const [event] = listAt(left, 'timeline', 'events');
    assert.deepEqual([at(event, 'sender'), at(event, 'content', 'membership')], [alice.userId, membership]);
    assert.equal((await bob.call('POST', inRoom(room, '/join'), {})).status, 403);
  });
}

test('an invite cannot be forgotten before it is rejected', async () => {
  const { room } = await invited();
  assert.equal((await bob.call('POST', inRoom(room, '/forget'), {})).status, 400);
  assert.deepEqual(sectionsOf(await sync(bob), room), ['invite']);
});

test('invites outlive a restart of the server', async () => {
  const { room, since } = await invited();
  await there.stop();
  await there.start();
  assert.deepEqual(sectionsOf(await sync(bob), room), ['invite']);
  await bob.ok('POST', inRoom(room, '/leave'), {});
  await assertOver(room, since);
  assert.equal(await memberIn(alice, room, bob.userId), 'leave');
});

test('an invite whose server is gone is rejected all the same, also a second time', async () => {
  const { room, since } = await invited();
  await here.stop();
  try {
    await bob.ok('POST', inRoom(room, '/leave'), {});
    const left = await assertOver(room, since);
    assert.equal(at(listAt(left, 'timeline', 'events')[0], 'content', 'membership'), 'leave');
    await bob.ok('POST', inRoom(room, '/leave'), {});
  } finally {
    await here.start();
  }
});

test('an invite to a server that does not answer is an error, and leaves nothing behind', async () => {
  const room = await createRoom(alice);
  await there.stop();
  try {
    const { status, body } = await invite(alice, room, bob);
    assert.deepEqual([status, at(body, 'errcode')], [502, 'M_UNKNOWN']);
    assert.equal(await memberIn(alice, room, bob.userId), undefined);
    const created = await alice.call('POST', '/createRoom', { name: 'None', invite: [bob.userId] });
    assert.equal(created.status, 502);
  } finally {
    await there.start();
  }
  const nobody = { ...bob, userId: `@nobody:${there.serverName}` };
  assert.equal((await invite(alice, room, nobody)).status, 403);
  assert.equal(await memberIn(alice, room, nobody.userId), undefined);
  assert.equal((await invite(alice, room, bob)).status, 200);
});

test('of two who are invited one joins; the other keeps the invite, and can accept or reject it', async () => {
  const dave = await there.register('dave');
  const erin = await there.register('erin');
  const room = await createRoom(alice, { invite: [bob.userId, dave.userId, erin.userId] });
  await bob.ok('POST', inRoom(room, '/join'), {});
  await bob.ok('GET', inRoom(room, '/members'));
  for (const client of [dave, erin]) assert.deepEqual(sectionsOf(await sync(client), room), ['invite']);
  const since = textAt(await sync(erin), 'next_batch');
  await dave.ok('POST', inRoom(room, '/join'), {});
  await erin.ok('POST', inRoom(room, '/leave'), {});
  assert.deepEqual(sectionsOf(await sync(dave), room), ['join']);
  assert.deepEqual(sectionsOf(await sync(erin, since), room), ['leave']);
  await until(async () => (await memberIn(alice, room, erin.userId)) === 'leave');
  await until(async () => (await memberIn(alice, room, dave.userId)) === 'join');
});

test('an invite to a room that the server is in already comes as an event of the room', async () => {
  const frank = await there.register('frank');
  const room = await createRoom(alice, { invite: [bob.userId] });
  await bob.ok('POST', inRoom(room, '/join'), {});
  await bob.ok('GET', inRoom(room, '/members'));
  assert.equal((await invite(alice, room, frank)).status, 200);
  assert.equal(await memberIn(bob, room, frank.userId), 'invite');
  assert.deepEqual(sectionsOf(await sync(frank), room), ['invite']);
  await frank.ok('POST', inRoom(room, '/join'), {});
  await until(async () => (await memberIn(alice, room, frank.userId)) === 'join');
});

test('an invite that its server took in before the last of its users left ends like any other', async () => {
  const grace = await there.register('grace');
  const room = await createRoom(alice, { invite: [bob.userId] });
  await bob.ok('POST', inRoom(room, '/join'), {});
  await bob.ok('GET', inRoom(room, '/members'));
  assert.equal((await invite(alice, room, grace)).status, 200);
  await bob.ok('POST', inRoom(room, '/leave'), {});
  await until(async () => (await memberIn(alice, room, bob.userId)) === 'leave');
  const synced = await sync(grace);
  assert.deepEqual(sectionsOf(synced, room), ['invite']);
  await alice.ok('POST', inRoom(room, '/kick'), { user_id: grace.userId });
  assert.deepEqual(sectionsOf(await sync(grace, textAt(synced, 'next_batch')), room), ['leave']);
  assert.equal((await grace.call('POST', inRoom(room, '/join'), {})).status, 403);
});

test('invites by somebody whom the user ignores are not shown', async () => {
  const heidi = await there.register('heidi');
  const body = { ignored_users: { [carol.userId]: {} } };
  await heidi.ok('PUT', `/user/${heidi.userId}/account_data/m.ignored_user_list`, body);
  const room = await createRoom(carol, { invite: [heidi.userId] });
  const shown = await createRoom(alice, { invite: [heidi.userId] });
  const synced = await sync(heidi);
  assert.deepEqual([sectionsOf(synced, room), sectionsOf(synced, shown)], [[], ['invite']]);
});

test('a user who takes no invites gets none, from near or far', async () => {
  const kim = await there.register('kim');
  const near = await there.register('near');
  const config = `/user/${kim.userId}/account_data/m.invite_permission_config`;
  await kim.ok('PUT', config, { default_action: 'block' });
  for (const inviter of [alice, near]) {
    const room = await createRoom(inviter);
    const { status, body } = await invite(inviter, room, kim);
    assert.deepEqual([status, at(body, 'errcode')], [403, 'M_INVITE_BLOCKED']);
    assert.equal(await memberIn(inviter, room, kim.userId), undefined);
    const created = await inviter.call('POST', '/createRoom', { invite: [kim.userId] });
    assert.deepEqual([created.status, at(created.body, 'errcode')], [403, 'M_INVITE_BLOCKED']);
  }
  await kim.ok('PUT', config, {});
  const room = await createRoom(alice, { invite: [kim.userId] });
  assert.deepEqual(sectionsOf(await sync(kim), room), ['invite']);
});

test('an invite is pushed to devices that do not sync, also after a restart', async () => {
  const judy = await there.register('judy');
  const pushed: unknown[] = [];
  const gateway = createServer(async (request, response) => {
    pushed.push(at(JSON.parse((await request.toArray()).join('')), 'notification'));
    response.end('{"rejected":[]}');
  });
  gateway.listen(0, '127.0.0.1');
  await once(gateway, 'listening');
  try {
    const address = gateway.address();
    const port = typeof address === 'object' ? address?.port : 0;
    await judy.ok('POST', '/pushers/set', {
      kind: 'http',
      app_id: 'app',
      pushkey: 'key',
      app_display_name: 'App',
      device_display_name: 'Phone',
      lang: 'en',
      data: { url: `http://127.0.0.1:${port}/_matrix/push/v1/notify` },
    });
    const room = await createRoom(alice, { invite: [judy.userId], name: 'Garden' });
    await until(async () => pushed.length === 1);
    assert.deepEqual(
      ['room_id', 'room_name', 'type', 'user_is_target', 'sender', 'prio'].map((key) => at(pushed[0], key)),
      [room, 'Garden', 'm.room.member', true, alice.userId, 'high'],
    );
    await there.stop();
    await there.start();
    await createRoom(alice, { invite: [judy.userId], name: 'Cellar' });
    await until(async () => pushed.length > 1);
    assert.deepEqual(
      pushed.map((one) => at(one, 'room_name')),
      ['Garden', 'Cellar'],
    );
  } finally {
    gateway.close();
  }
});

test('a room that is deleted here takes its invites with it, which are rejected', async () => {
  const lena = await there.register('lena');
  const room = await createRoom(alice, { invite: [bob.userId] });
  await bob.ok('POST', inRoom(room, '/join'), {});
  await bob.ok('GET', inRoom(room, '/members'));
  await bob.ok('POST', inRoom(room, '/leave'), {});
  await until(async () => (await memberIn(alice, room, bob.userId)) === 'leave');
  assert.equal((await invite(alice, room, lena)).status, 200);
  const since = textAt(await sync(lena), 'next_batch');
  const path = `/_hammerhead/v0/admin/rooms/${encodeURIComponent(room)}`;
  const { status, body } = await bob.admin('DELETE', path);
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(await memberIn(alice, room, lena.userId), 'leave');
  assert.deepEqual(sectionsOf(await sync(lena, since), room), ['leave']);
  assert.deepEqual(sectionsOf(await sync(lena), room), []);
  // It can come back.
  assert.equal((await invite(alice, room, lena)).status, 200);
  await lena.ok('POST', inRoom(room, '/join'), {});
  await lena.ok('GET', inRoom(room, '/members'));
  assert.deepEqual(sectionsOf(await sync(lena), room), ['join']);
});

test('a room that does not federate takes no users of other servers', async () => {
  const creation_content = { 'm.federate': false };
  const room = await createRoom(alice, { creation_content });
  assert.equal((await invite(alice, room, bob)).status, 403);
  const created = await alice.call('POST', '/createRoom', { creation_content, invite: [bob.userId] });
  assert.equal(created.status, 403);
});

test('E12: deactivating an account rejects its invites', async () => {
  const ivan = await there.register('ivan');
  const room = await createRoom(alice, { invite: [ivan.userId] });
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'ivan' },
    password: 'Correct.Horse-7#Battery~Staple',
  };
  const { body } = await ivan.call('POST', '/account/deactivate', {});
  await ivan.ok('POST', '/account/deactivate', { auth: { ...auth, session: textAt(body, 'session') } });
  await until(async () => (await memberIn(alice, room, ivan.userId)) === 'leave');
  assert.equal((await invite(alice, room, ivan)).status, 403);
});
