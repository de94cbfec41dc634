/**
 * Joins between whole servers of ours: who is let in, by way of whom, and what both sides then know.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import { sql } from '../../src/storage/sql.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import { call, startHomeserver, type TestClient, type TestHomeserver } from '../support/federation.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let here: TestHomeserver;
let there: TestHomeserver;
let alice: TestClient;
let bob: TestClient;

before(async () => {
  authority = stack.use(await createTestAuthority());
  [here, there] = await Promise.all([startHomeserver({ authority }), startHomeserver({ authority })]);
  stack.use(here);
  stack.use(there);
  alice = await here.register('alice');
  bob = await there.register('bob');
});

after(() => stack.disposeAsync());

const createRoom = async (client: TestClient, body: object = { preset: 'public_chat' }): Promise<string> =>
  textAt(await client.ok('POST', '/createRoom', body), 'room_id');

const joinPath = (room: string, ...via: readonly TestHomeserver[]): string =>
  `/join/${encodeURIComponent(room)}?${via.map(({ serverName }) => `via=${encodeURIComponent(serverName)}`).join('&')}`;

const membershipOf = async (client: TestClient, room: string, userId: string): Promise<unknown> => {
  const { body } = await client.call('GET', `/rooms/${encodeURIComponent(room)}/state/m.room.member/${userId}`);
  return at(body, 'membership');
};

const send = (client: TestClient, room: string, body: string): Promise<unknown> =>
  client.ok('PUT', `/rooms/${encodeURIComponent(room)}/send/m.room.message/${body}`, { msgtype: 'm.text', body });

const bodiesIn = async (client: TestClient, room: string): Promise<readonly unknown[]> => {
  const { body } = await client.call('GET', `/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=50`);
  return listAt(body, 'chunk').map((event) => at(event, 'content', 'body'));
};

for (const version of ROOM_VERSIONS.keys()) {
  test(`a user joins a public room of version ${version} on another server, and both talk`, async () => {
    const room = await createRoom(bob, { preset: 'public_chat', room_version: version, name: `Version ${version}` });
    await send(bob, room, 'before');
    assert.deepEqual(await alice.ok('POST', joinPath(room, there), {}), { room_id: room });
    assert.equal(await membershipOf(bob, room, alice.userId), 'join');
    assert.equal(await membershipOf(alice, room, bob.userId), 'join');
    await send(alice, room, 'from here');
    await until(async () => (await bodiesIn(bob, room)).includes('from here'));
    await send(bob, room, 'from there');
    await until(async () => (await bodiesIn(alice, room)).includes('from there'));
  });
}

describe('which servers are asked', () => {
  test('those of an alias', async () => {
    const name = 'garden';
    const room = await createRoom(bob, { preset: 'public_chat', room_alias_name: name });
    assert.deepEqual(await alice.ok('POST', joinPath(`#${name}:${there.serverName}`), {}), { room_id: room });
  });

  test('the next, where one is not in the room or does not answer', async () => {
    await using empty = await startHomeserver({ authority });
    const room = await createRoom(bob);
    const via = `via=127.0.0.1:1&via=${empty.serverName}&server_name=${there.serverName}&via=!`;
    const path = `/join/${encodeURIComponent(room)}?${via}`;
    assert.deepEqual(await alice.ok('POST', path, {}), { room_id: room });
  });

  test('the one in the room id, where none is named', async () => {
    const room = await createRoom(bob, { preset: 'public_chat', room_version: '11' });
    assert.deepEqual(await alice.ok('POST', `/rooms/${encodeURIComponent(room)}/join`, {}), { room_id: room });
  });

  test('none: a room that nobody knows is not found', async () => {
    const answer = await alice.call('POST', `/rooms/${encodeURIComponent(`!${'x'.repeat(43)}`)}/join`, {});
    assert.deepEqual([answer.status, at(answer.body, 'errcode')], [404, 'M_NOT_FOUND']);
  });

  test('one that is in no such room, and one that is not there', async () => {
    const room = `!nothing:${there.serverName}`;
    const unknown = await alice.call('POST', joinPath(room, there), {});
    assert.deepEqual([unknown.status, at(unknown.body, 'errcode')], [404, 'M_NOT_FOUND']);
    const dead = await alice.call('POST', `/join/${encodeURIComponent(room)}?via=127.0.0.1:1`, {});
    assert.deepEqual([dead.status, at(dead.body, 'errcode')], [502, 'M_UNKNOWN']);
  });
});

describe('who is let in', () => {
  test('nobody uninvited or banned, and the client hears it', async () => {
    const closed = await createRoom(bob, { preset: 'private_chat' });
    const refused = await alice.call('POST', joinPath(closed, there), {});
    assert.deepEqual([refused.status, at(refused.body, 'errcode')], [403, 'M_FORBIDDEN']);
    const room = await createRoom(bob);
    await alice.ok('POST', joinPath(room, there), {});
    await bob.ok('POST', `/rooms/${encodeURIComponent(room)}/ban`, { user_id: alice.userId });
    await until(async () => (await alice.call('POST', joinPath(room, there), {})).status === 403);
    const rooms = await alice.ok('GET', '/joined_rooms');
    assert.ok(!listAt(rooms, 'joined_rooms').includes(room));
  });

  test('no guests: their accounts are known here alone', async () => {
    const registration = { enabled: true, requires_token: false, guests: true };
    await using open = await startHomeserver({ authority, config: { registration } });
    const path = '/_matrix/client/v3/register?kind=guest';
    const guest = await call(open.url, { method: 'POST', path, body: {} });
    const room = await createRoom(bob, {
      preset: 'public_chat',
      // Its id names a server to ask.
      room_version: '11',
      initial_state: [{ type: 'm.room.guest_access', state_key: '', content: { guest_access: 'can_join' } }],
    });
    const refused = await call(open.url, {
      method: 'POST',
      path: `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/join`,
      body: {},
      headers: { authorization: `Bearer ${textAt(guest.body, 'access_token')}` },
    });
    assert.deepEqual([refused.status, at(refused.body, 'errcode')], [403, 'M_GUEST_ACCESS_FORBIDDEN']);
    assert.equal(await membershipOf(bob, room, textAt(guest.body, 'user_id')), undefined);
  });

  test('nobody into a room that is blocked here', async () => {
    const room = await createRoom(bob);
    await here.test.database.query(
      sql`insert into blocked_rooms (room_id, blocked_by, created_at) values (${room}, 'test', 0)`,
    );
    const refused = await alice.call('POST', joinPath(room, there), {});
    assert.deepEqual([refused.status, at(refused.body, 'errcode')], [403, 'M_FORBIDDEN']);
    assert.equal(await membershipOf(bob, room, alice.userId), undefined);
  });

  test('whoever left comes back, and sees what happened since', async () => {
    const room = await createRoom(bob);
    await alice.ok('POST', joinPath(room, there), {});
    await alice.ok('POST', `/rooms/${encodeURIComponent(room)}/leave`, {});
    await until(async () => (await membershipOf(bob, room, alice.userId)) === 'leave');
    await bob.ok('PUT', `/rooms/${encodeURIComponent(room)}/state/m.room.topic`, { topic: 'Later' });
    await alice.ok('POST', joinPath(room, there), {});
    const topic = await alice.ok('GET', `/rooms/${encodeURIComponent(room)}/state/m.room.topic`);
    assert.equal(at(topic, 'topic'), 'Later');
  });

  test('what the client puts into its join and the profile is in the event', async () => {
    await alice.ok('PUT', `/profile/${alice.userId}/displayname`, { displayname: 'Alice' });
    const room = await createRoom(bob);
    const forged = { join_authorised_via_users_server: bob.userId, membership: 'ban', reason: 'curious' };
    await alice.ok('POST', joinPath(room, there), forged);
    const path = `/rooms/${encodeURIComponent(room)}/state/m.room.member/${alice.userId}`;
    assert.deepEqual(await bob.ok('GET', path), { membership: 'join', displayname: 'Alice', reason: 'curious' });
  });

  test('C7: a join that would be larger than an event', async () => {
    const room = await createRoom(bob);
    const refused = await alice.call('POST', joinPath(room, there), { reason: 'x'.repeat(70_000) });
    assert.deepEqual([refused.status, at(refused.body, 'errcode')], [413, 'M_TOO_LARGE']);
  });

  test('many users at once', async () => {
    const users = [alice, ...(await Promise.all(['u1', 'u2', 'u3'].map((name) => here.register(name))))];
    const room = await createRoom(bob);
    const joins = await Promise.all(users.map((user) => user.ok('POST', joinPath(room, there), {})));
    assert.deepEqual(
      joins,
      users.map(() => ({ room_id: room })),
    );
    for (const user of users) await until(async () => (await membershipOf(bob, room, user.userId)) === 'join');
  });
});

describe('syncs', () => {
  const syncSince = async (since: string): Promise<{ readonly body: unknown; readonly next: string }> => {
    const body = await alice.ok('GET', `/sync?timeout=0${since === '' ? '' : `&since=${encodeURIComponent(since)}`}`);
    return { body, next: textAt(body, 'next_batch') };
  };
  const stateIn = (body: unknown, room: string): ReadonlyMap<string, unknown> => {
    const events = ['state', 'timeline'].flatMap((part) => listAt(body, 'rooms', 'join', room, part, 'events'));
    return new Map(events.map((event) => [`${textAt(event, 'type')} ${at(event, 'state_key')}`, at(event, 'content')]));
  };

  test('a room that was joined comes with its state, and when it is joined again with what it is then', async () => {
    const carol = await there.register('carol_there');
    const room = await createRoom(bob, { preset: 'public_chat', name: 'First', topic: 'Before' });
    const before = await syncSince('');
    await alice.ok('POST', joinPath(room, there), {});
    await alice.ok('GET', `/rooms/${encodeURIComponent(room)}/members`);
    const joined = await syncSince(before.next);
    const state = stateIn(joined.body, room);
    assert.deepEqual(state.get('m.room.name '), { name: 'First' });
    assert.equal(at(state.get(`m.room.member ${bob.userId}`), 'membership'), 'join');
    assert.equal(at(state.get(`m.room.member ${alice.userId}`), 'membership'), 'join');
    const summary = at(joined.body, 'rooms', 'join', room, 'summary', 'm.joined_member_count');
    assert.equal(summary, 2);
    await alice.ok('POST', `/rooms/${encodeURIComponent(room)}/leave`, {});
    const left = await syncSince(joined.next);
    assert.ok(at(left.body, 'rooms', 'leave', room) !== undefined);
    await until(async () => (await membershipOf(bob, room, alice.userId)) === 'leave');
    await bob.ok('PUT', `/rooms/${encodeURIComponent(room)}/state/m.room.name`, { name: 'Second' });
    await carol.ok('POST', `/join/${encodeURIComponent(room)}`, {});
    await alice.ok('POST', joinPath(room, there), {});
    await alice.ok('GET', `/rooms/${encodeURIComponent(room)}/members`);
    const again = await syncSince(left.next);
    const later = stateIn(again.body, room);
    assert.deepEqual(later.get('m.room.name '), { name: 'Second' });
    assert.equal(at(later.get(`m.room.member ${carol.userId}`), 'membership'), 'join');
    const initial = stateIn((await syncSince('')).body, room);
    assert.deepEqual(initial.get('m.room.name '), { name: 'Second' });
    assert.equal(at(initial.get(`m.room.member ${carol.userId}`), 'membership'), 'join');
    assert.equal(at(initial.get('m.room.topic '), 'topic'), 'Before');
  });
});

describe('restricted rooms', () => {
  const restrictedTo = (allowed: string) => ({
    preset: 'public_chat',
    initial_state: [
      {
        type: 'm.room.join_rules',
        state_key: '',
        content: { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: allowed }] },
      },
    ],
  });

  test('members of the other room are let in, with the signature of the server whose user vouches', async () => {
    const space = await createRoom(bob);
    const room = await createRoom(bob, restrictedTo(space));
    assert.equal((await alice.call('POST', joinPath(room, there), {})).status, 403);
    await alice.ok('POST', joinPath(space, there), {});
    await alice.ok('POST', joinPath(room, there), {});
    const path = `/rooms/${encodeURIComponent(room)}/state/m.room.member/${alice.userId}`;
    const member = await bob.ok('GET', path);
    assert.equal(at(member, 'join_authorised_via_users_server'), bob.userId);
    assert.deepEqual(await alice.ok('GET', path), member);
  });

  test('a second user from here is vouched for elsewhere, where nobody here may invite', async () => {
    const space = await createRoom(bob);
    const room = await createRoom(bob, restrictedTo(space));
    const levels = { invite: 50, users: { [bob.userId]: 100 } };
    const version = { ...restrictedTo(space), room_version: '10', power_level_content_override: levels };
    const old = await createRoom(bob, version);
    const carol = await here.register('carol');
    for (const one of [space, room, old]) await alice.ok('POST', joinPath(one, there), {});
    await carol.ok('POST', joinPath(space), {});
    await until(async () => (await membershipOf(bob, space, carol.userId)) === 'join');
    for (const one of [room, old]) await carol.ok('POST', joinPath(one), {});
    for (const one of [room, old]) {
      const path = `/rooms/${encodeURIComponent(one)}/state/m.room.member/${carol.userId}`;
      await until(async () => (await membershipOf(bob, one, carol.userId)) === 'join');
      assert.equal(at(await bob.ok('GET', path), 'membership'), 'join');
    }
    const path = `/rooms/${encodeURIComponent(old)}/state/m.room.member/${carol.userId}`;
    assert.equal(at(await alice.ok('GET', path), 'join_authorised_via_users_server'), bob.userId);
  });
});

describe('three servers', () => {
  test('of two users at once the second is vouched for elsewhere', async () => {
    await using third = await startHomeserver({ authority });
    const [carol, dave] = [await third.register('carol'), await third.register('dave')];
    const space = await createRoom(bob);
    const allow = [{ type: 'm.room_membership', room_id: space }];
    const joinRules = { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'restricted', allow } };
    const room = await createRoom(bob, { preset: 'public_chat', initial_state: [joinRules] });
    for (const user of [carol, dave]) await user.ok('POST', joinPath(space, there), {});
    await until(async () => (await membershipOf(bob, space, dave.userId)) === 'join');
    await Promise.all([carol, dave].map((user) => user.ok('POST', joinPath(room, there), {})));
    for (const user of [carol, dave]) {
      const path = `/rooms/${encodeURIComponent(room)}/state/m.room.member/${user.userId}`;
      assert.equal(at(await bob.ok('GET', path), 'join_authorised_via_users_server'), bob.userId);
    }
  });

  test('the server that lets somebody in tells the others, also after a restart in between', async () => {
    await using third = await startHomeserver({ authority });
    const carol = await third.register('carol');
    const [room, other] = [await createRoom(bob), await createRoom(bob)];
    for (const one of [room, other]) await alice.ok('POST', joinPath(one, there), {});
    // So that it has the key of the server that is away below.
    await carol.ok('POST', joinPath(await createRoom(alice), here), {});
    await here.stop();
    await carol.ok('POST', joinPath(room, there), {});
    assert.equal(await membershipOf(carol, room, alice.userId), 'join');
    await there.stop();
    await there.start();
    await here.start();
    // Whoever is heard from is sent to at once.
    await send(alice, other, 'awake');
    await until(async () => (await membershipOf(alice, room, carol.userId)) === 'join');
    await send(carol, room, 'hello');
    for (const reader of [alice, bob]) await until(async () => (await bodiesIn(reader, room)).includes('hello'));
    await send(alice, room, 'welcome');
    for (const reader of [bob, carol]) await until(async () => (await bodiesIn(reader, room)).includes('welcome'));
  });

  test('I1: a room that was joined is there after a restart', async () => {
    const room = await createRoom(bob, { preset: 'public_chat', name: 'Kept' });
    await alice.ok('POST', joinPath(room, there), {});
    await here.stop();
    await here.start();
    assert.equal(await membershipOf(alice, room, bob.userId), 'join');
    const synced = await alice.ok('GET', '/sync');
    const state = listAt(synced, 'rooms', 'join', room, 'state', 'events');
    const timeline = listAt(synced, 'rooms', 'join', room, 'timeline', 'events');
    assert.ok([...state, ...timeline].some((event) => at(event, 'content', 'name') === 'Kept'));
    await send(alice, room, 'still here');
    await until(async () => (await bodiesIn(bob, room)).includes('still here'));
  });
});
