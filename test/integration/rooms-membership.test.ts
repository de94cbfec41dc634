import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { at } from '../support/json.ts';
import { type RoomsServer, startRoomsServer, type TestAnswer, userId } from '../support/rooms-server.ts';

const errorOf = ({ status, body }: TestAnswer): readonly [number, unknown] => [status, at(body, 'errcode')];

describe('membership', () => {
  let server: RoomsServer;
  before(async () => {
    server = await startRoomsServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const membershipOf = async (room: { state(type: string, key: string): Promise<unknown> }, name: string) =>
    at(await room.state('m.room.member', userId(name)), 'membership');

  test('joining by id and by alias, with what the client adds', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat', room_alias_name: 'door' });
    const bob = server.as('bob');
    assert.deepEqual(await bob.ok('POST', `${room.path}/join`, { foo: 'bar' }), { room_id: room.roomId });
    assert.equal(at(await room.state('m.room.member', bob.userId), 'foo'), 'bar');
    const carol = server.as('carol');
    assert.deepEqual(await carol.ok('POST', '/join/%23door%3Atest.example', { reason: 'hi' }), {
      room_id: room.roomId,
    });
    assert.equal(at(await room.state('m.room.member', carol.userId), 'reason'), 'hi');
    assert.deepEqual(errorOf(await carol.call('POST', '/join/%23nodoor%3Atest.example', {})), [404, 'M_NOT_FOUND']);
    assert.deepEqual(errorOf(await carol.call('POST', '/join/!unknown:test.example', {})), [404, 'M_NOT_FOUND']);
    assert.deepEqual(errorOf(await carol.call('POST', '/join/nonsense', {})), [400, 'M_INVALID_PARAM']);
  });

  test('joining twice makes one event', async () => {
    server.profiles.set('dora', { displayname: 'Dora' });
    const dora = server.as('dora');
    const room = dora.room((await server.as('alice').createRoom({ preset: 'public_chat' })).roomId);
    await room.join();
    const eventId = async () =>
      at(await room.ok('GET', `/state/m.room.member/${dora.userId}?format=event`), 'event_id');
    const first = await eventId();
    await room.join();
    assert.equal(await eventId(), first);
    server.profiles.set('dora', { displayname: 'Theodora' });
    await room.join();
    assert.notEqual(await eventId(), first);
    assert.equal(at(await room.state('m.room.member', dora.userId), 'displayname'), 'Theodora');
  });

  test('an invite-only room lets in whom it invited', async () => {
    const levels = { power_level_content_override: { invite: 50 } };
    const room = await server.as('alice').createRoom({ preset: 'private_chat', ...levels });
    const bob = server.as('bob');
    const inside = bob.room(room.roomId);
    assert.deepEqual(errorOf(await inside.call('POST', '/join', {})), [403, 'M_FORBIDDEN']);
    await room.invite(bob);
    await room.invite(bob);
    assert.equal(await membershipOf(room, 'bob'), 'invite');
    await inside.join();
    assert.deepEqual(errorOf(await room.call('POST', '/invite', { user_id: bob.userId })), [403, 'M_FORBIDDEN']);
    assert.deepEqual(errorOf(await room.call('POST', '/invite', { user_id: userId('alice') })), [403, 'M_FORBIDDEN']);
    assert.deepEqual(errorOf(await room.call('POST', '/invite', { user_id: 'nobody' })), [400, 'M_INVALID_PARAM']);
    assert.deepEqual(errorOf(await room.call('POST', '/invite', {})), [400, 'M_MISSING_PARAM']);
    assert.deepEqual(errorOf(await room.call('POST', '/invite', { user_id: '@x:elsewhere.example' })), [
      403,
      'M_FORBIDDEN',
    ]);
    assert.deepEqual(errorOf(await inside.call('POST', '/invite', { user_id: userId('carol') })), [403, 'M_FORBIDDEN']);
  });

  test('in a private room any member may invite', async () => {
    const room = await server.as('alice').createRoom({ preset: 'private_chat', invite: [userId('bob')] });
    const inside = server.as('bob').room(room.roomId);
    await inside.join();
    await inside.invite(server.as('carol'));
    assert.equal(await membershipOf(room, 'carol'), 'invite');
  });

  test('invites are rejected, even in a room that everybody left', async () => {
    const room = await server.as('alice').createRoom();
    await room.invite(server.as('bob'));
    await room.leave();
    await server.as('bob').room(room.roomId).leave();
    await server.as('bob').room(room.roomId).leave();
    assert.deepEqual(errorOf(await server.as('carol').room(room.roomId).call('POST', '/leave', {})), [
      403,
      'M_FORBIDDEN',
    ]);
    const unknown = server.as('carol').room('!unknown:test.example');
    assert.deepEqual(errorOf(await unknown.call('POST', '/leave', {})), [403, 'M_FORBIDDEN']);
  });

  test('kick, ban and unban', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat' });
    const bob = server.as('bob');
    const target = { user_id: bob.userId, reason: 'Testing' };
    assert.deepEqual(errorOf(await room.call('POST', '/kick', target)), [403, 'M_FORBIDDEN']);
    await bob.room(room.roomId).join();
    assert.deepEqual(errorOf(await bob.room(room.roomId).call('POST', '/kick', { user_id: userId('alice') })), [
      403,
      'M_FORBIDDEN',
    ]);
    await room.ok('POST', '/kick', target);
    assert.deepEqual(await room.state('m.room.member', bob.userId), { membership: 'leave', reason: 'Testing' });
    assert.deepEqual(errorOf(await room.call('POST', '/kick', target)), [403, 'M_FORBIDDEN']);
    assert.deepEqual(errorOf(await room.call('POST', '/unban', target)), [403, 'M_BAD_STATE']);
    await room.ok('POST', '/ban', target);
    assert.deepEqual(errorOf(await room.call('POST', '/kick', target)), [403, 'M_FORBIDDEN']);
    assert.deepEqual(errorOf(await bob.room(room.roomId).call('POST', '/join', {})), [403, 'M_FORBIDDEN']);
    assert.deepEqual(errorOf(await bob.room(room.roomId).call('POST', '/leave', {})), [403, 'M_FORBIDDEN']);
    assert.deepEqual(errorOf(await room.call('POST', '/invite', { user_id: bob.userId })), [403, 'M_FORBIDDEN']);
    await room.ok('POST', '/unban', target);
    await bob.room(room.roomId).join();
    assert.deepEqual(errorOf(await server.as('carol').room(room.roomId).call('POST', '/ban', target)), [
      403,
      'M_FORBIDDEN',
    ]);
    assert.deepEqual(errorOf(await room.call('POST', '/ban', {})), [400, 'M_MISSING_PARAM']);
  });

  test('knocking', async () => {
    const room = await server.as('alice').createRoom();
    const bob = server.as('bob');
    const knock = (body: unknown = {}) => bob.call('POST', `/knock/${encodeURIComponent(room.roomId)}`, body);
    assert.deepEqual(errorOf(await knock()), [403, 'M_FORBIDDEN']);
    await room.setState('m.room.join_rules', { join_rule: 'knock' });
    assert.deepEqual(errorOf(await bob.room(room.roomId).call('POST', '/join', {})), [403, 'M_FORBIDDEN']);
    assert.deepEqual(await knock({ reason: 'one' }), { status: 200, body: { room_id: room.roomId } });
    assert.equal((await knock({ reason: 'two' })).status, 200);
    assert.deepEqual(await room.state('m.room.member', bob.userId), { membership: 'knock', reason: 'two' });
    await bob.room(room.roomId).leave();
    assert.equal((await knock()).status, 200);
    await room.ok('POST', '/kick', { user_id: bob.userId });
    assert.equal((await knock()).status, 200);
    await room.invite(bob);
    assert.deepEqual(errorOf(await knock()), [403, 'M_FORBIDDEN']);
    await bob.room(room.roomId).join();
    assert.deepEqual(errorOf(await knock()), [403, 'M_FORBIDDEN']);
    await room.ok('POST', '/ban', { user_id: bob.userId });
    assert.deepEqual(errorOf(await knock()), [403, 'M_FORBIDDEN']);
    assert.deepEqual(errorOf(await bob.call('POST', '/knock/!unknown:test.example', {})), [404, 'M_NOT_FOUND']);
  });

  for (const [version, joinRule] of [
    ['8', 'restricted'],
    ['10', 'knock_restricted'],
    ['12', 'restricted'],
  ] as const) {
    test(`restricted join in version ${version} (${joinRule})`, async () => {
      const alice = server.as('alice');
      const bob = server.as('bob');
      const allowed = await alice.createRoom({ preset: 'public_chat' });
      const allow = (entries: unknown) => ({ join_rule: joinRule, allow: entries });
      const room = await alice.createRoom({
        preset: 'public_chat',
        room_version: version,
        initial_state: [
          {
            type: 'm.room.join_rules',
            state_key: '',
            content: allow([{ type: 'm.room_membership', room_id: allowed.roomId, via: ['test.example'] }]),
          },
        ],
      });
      const inside = bob.room(room.roomId);
      const join = () => inside.call('POST', '/join', {});
      assert.deepEqual(errorOf(await join()), [403, 'M_FORBIDDEN']);
      await bob.room(allowed.roomId).join();
      assert.equal((await join()).status, 200);
      const content = await inside.state('m.room.member', bob.userId);
      assert.equal(at(content, 'join_authorised_via_users_server'), alice.userId);
      const forged = { membership: 'join', displayname: 'Bobby', join_authorised_via_users_server: 'unused' };
      await inside.setState('m.room.member', forged, bob.userId);
      assert.deepEqual(await inside.state('m.room.member', bob.userId), { membership: 'join', displayname: 'Bobby' });
      await inside.leave();
      await bob.room(allowed.roomId).leave();
      assert.deepEqual(errorOf(await join()), [403, 'M_FORBIDDEN']);
      await room.invite(bob);
      assert.equal((await join()).status, 200);
      await inside.leave();
      await bob.room(allowed.roomId).join();
      for (const mangled of [['invalid'], 'invalid']) {
        await room.setState('m.room.join_rules', allow(mangled));
        assert.deepEqual(errorOf(await join()), [403, 'M_FORBIDDEN']);
      }
    });
  }

  test('nobody vouches where no local member may invite', async () => {
    const alice = server.as('alice');
    const allowed = await alice.createRoom({ preset: 'public_chat' });
    const room = await alice.createRoom({
      room_version: '11',
      invite: [userId('carol')],
      power_level_content_override: { invite: 50 },
      initial_state: [
        {
          type: 'm.room.join_rules',
          content: { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: allowed.roomId }] },
        },
      ],
    });
    await server.as('carol').room(room.roomId).join();
    await room.leave();
    const bob = server.as('bob');
    await bob.room(allowed.roomId).join();
    assert.deepEqual(errorOf(await bob.room(room.roomId).call('POST', '/join', {})), [403, 'M_FORBIDDEN']);
  });

  test('PUT of a member event goes the way of the membership endpoints', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat' });
    const bob = server.as('bob');
    const inside = bob.room(room.roomId);
    const put = (actor: typeof room, target: string, content: unknown) =>
      actor.call('PUT', `/state/m.room.member/${encodeURIComponent(target)}`, content);
    assert.deepEqual(errorOf(await put(room, bob.userId, { membership: 'join' })), [403, 'M_FORBIDDEN']);
    assert.equal((await put(inside, bob.userId, { membership: 'join', displayname: 'B' })).status, 200);
    assert.deepEqual(errorOf(await put(inside, bob.userId, { membership: 'join', displayname: 7 })), [
      400,
      'M_BAD_JSON',
    ]);
    assert.deepEqual(errorOf(await put(inside, bob.userId, {})), [400, 'M_BAD_JSON']);
    assert.deepEqual(errorOf(await put(inside, 'bob', { membership: 'join' })), [400, 'M_INVALID_PARAM']);
    assert.equal((await put(room, bob.userId, { membership: 'ban', reason: 'x' })).status, 200);
    assert.deepEqual(errorOf(await put(inside, bob.userId, { membership: 'leave' })), [403, 'M_FORBIDDEN']);
    assert.equal((await put(room, bob.userId, { membership: 'leave' })).status, 200);
    assert.equal((await put(room, userId('carol'), { membership: 'invite' })).status, 200);
    assert.equal(await membershipOf(room, 'carol'), 'invite');
    assert.deepEqual(errorOf(await put(room, userId('never'), { membership: 'leave' })), [403, 'M_FORBIDDEN']);
  });

  test('forgetting', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat' });
    await server.as('bob').room(room.roomId).join();
    await room.send('before');
    assert.deepEqual(errorOf(await room.call('POST', '/forget', {})), [400, 'M_UNKNOWN']);
    await room.leave();
    assert.equal((await room.get('/messages?dir=b')).status, 200);
    await room.ok('POST', '/forget', {});
    assert.deepEqual(errorOf(await room.get('/messages')), [403, 'M_FORBIDDEN']);
    assert.deepEqual(errorOf(await room.get('/state')), [403, 'M_FORBIDDEN']);
    await room.join();
    assert.equal((await room.get('/messages?dir=b')).status, 200);
    await server.as('carol').room(room.roomId).ok('POST', '/forget', {});
  });

  test('guests join only where guests may', async () => {
    server.guests.add('guest');
    const guest = server.as('guest');
    const closed = await server.as('alice').createRoom({ preset: 'public_chat' });
    assert.deepEqual(errorOf(await guest.room(closed.roomId).call('POST', '/join', {})), [
      403,
      'M_GUEST_ACCESS_FORBIDDEN',
    ]);
    await closed.setState('m.room.guest_access', { guest_access: 'can_join' });
    await guest.room(closed.roomId).join();
  });

  test('suspended users may leave and no more', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat' });
    const eve = server.as('eve').room(room.roomId);
    await eve.join();
    const own = await eve.send('mine');
    const others = await room.send('not hers');
    server.suspended.add('eve');
    const suspended = [403, 'M_USER_SUSPENDED'];
    assert.deepEqual(errorOf(await eve.call('PUT', '/send/m.room.message/1', { body: 'x' })), suspended);
    assert.deepEqual(errorOf(await eve.call('PUT', '/state/m.room.name/', { name: 'x' })), suspended);
    assert.deepEqual(errorOf(await eve.call('POST', '/invite', { user_id: userId('bob') })), suspended);
    assert.deepEqual(errorOf(await eve.call('PUT', `/redact/${others}/2`, {})), suspended);
    assert.equal((await eve.call('PUT', `/redact/${own}/3`, {})).status, 200);
    await eve.leave();
    assert.deepEqual(errorOf(await eve.call('POST', '/join', {})), suspended);
  });
});
