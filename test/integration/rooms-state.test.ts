import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { at, listAt, textAt } from '../support/json.ts';
import { type RoomsServer, startRoomsServer, type TestAnswer, type TestRoom, userId } from '../support/rooms-server.ts';

const errorOf = ({ status, body }: TestAnswer): readonly [number, unknown] => [status, at(body, 'errcode')];

describe('room state', () => {
  let server: RoomsServer;
  before(async () => {
    server = await startRoomsServer();
  });
  after(() => server[Symbol.asyncDispose]());

  test('is set and read under every form of its path', async () => {
    const room = await server.as('alice').createRoom();
    for (const path of ['/state/a.b', '/state/a.b/', '/state/a.b/key%2F%C3%BC']) {
      const { event_id: eventId } = Object(await room.ok('PUT', path, { set: path }));
      assert.deepEqual(await room.ok('GET', path), { set: path });
      const event = await room.ok('GET', `${path}?format=event`);
      assert.equal(at(event, 'event_id'), eventId);
      assert.equal(at(event, 'room_id'), room.roomId);
      assert.equal(at(event, 'sender'), userId('alice'));
      assert.equal(at(event, 'state_key'), path.includes('key') ? 'key/ü' : '');
    }
    assert.deepEqual(await room.ok('GET', '/state/a.b'), { set: '/state/a.b/' });
    assert.deepEqual(errorOf(await room.get('/state/a.b/none')), [404, 'M_NOT_FOUND']);
    assert.deepEqual(errorOf(await room.get('/state/a.b?format=xml')), [400, 'M_INVALID_PARAM']);
    assert.deepEqual(errorOf(await room.call('PUT', '/state/a.b', '[]')), [400, 'M_BAD_JSON']);
    assert.deepEqual(errorOf(await room.call('PUT', '/state/a.b', 'x')), [400, 'M_NOT_JSON']);
  });

  test('set twice makes one event, and two again after a change between', async () => {
    const alice = server.as('alice');
    const room = await alice.createRoom({ invite: [userId('bob')], preset: 'trusted_private_chat' });
    const first = await room.setState('a.test', { a: [1, { b: 2 }], c: null });
    assert.equal(await room.setState('a.test', { c: null, a: [1, { b: 2 }] }), first);
    await room.setState('a.test', {});
    const again = await room.setState('a.test', { a: [1, { b: 2 }], c: null });
    assert.notEqual(again, first);
    const bob = server.as('bob').room(room.roomId);
    await bob.join();
    assert.notEqual(await bob.setState('a.test', { a: [1, { b: 2 }], c: null }), again);
    const inParallel = await Promise.all(Array.from({ length: 10 }, () => room.setState('b.test', { once: true })));
    assert.equal(new Set(inParallel).size, 1);
  });

  test('is closed to strangers, whether the room exists or not', async () => {
    const room = await server.as('alice').createRoom();
    for (const roomId of [room.roomId, '!unknown:test.example', '!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM']) {
      const stranger = server.as('mallory').room(roomId);
      assert.deepEqual(errorOf(await stranger.get('/state')), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await stranger.get('/state/m.room.create/')), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await stranger.get('/members')), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await stranger.get('/messages?dir=b')), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await stranger.get('/aliases')), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await stranger.call('PUT', '/state/a.b/', {})), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await stranger.call('PUT', '/send/a.b/1', {})), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await stranger.call('POST', '/upgrade', { new_version: '12' })), [403, 'M_FORBIDDEN']);
    }
  });

  test('shows those who left the room as it was then', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat', name: 'before' });
    const bob = server.as('bob').room(room.roomId);
    await bob.join();
    await bob.leave();
    await room.setState('m.room.name', { name: 'after' });
    await room.setState('a.new', {});
    await server.as('carol').room(room.roomId).join();
    // A later ban does not widen the view.
    await room.ok('POST', '/ban', { user_id: userId('bob') });
    assert.deepEqual(await bob.state('m.room.name'), { name: 'before' });
    assert.deepEqual(errorOf(await bob.get('/state/a.new/')), [404, 'M_NOT_FOUND']);
    const state = await bob.get('/state');
    assert.equal(
      listAt(state.body).some((event) => at(event, 'type') === 'a.new'),
      false,
    );
    const members = listAt(await bob.ok('GET', '/members'), 'chunk');
    assert.deepEqual(members.map((event) => [at(event, 'state_key'), at(event, 'content', 'membership')]).sort(), [
      [userId('alice'), 'join'],
      [userId('bob'), 'leave'],
    ]);
    assert.deepEqual(errorOf(await bob.get('/joined_members')), [403, 'M_FORBIDDEN']);
    assert.deepEqual(await room.state('m.room.name'), { name: 'after' });
  });

  test('create and member events are made in no other way', async () => {
    for (const version of ['11', '12']) {
      const room = await server.as('alice').createRoom({ room_version: version });
      assert.deepEqual(errorOf(await room.call('PUT', '/state/m.room.create/', { entropy: 1 })), [400, 'M_BAD_JSON']);
      assert.deepEqual(errorOf(await room.call('PUT', '/send/m.room.create/1', {})), [400, 'M_BAD_JSON']);
      assert.deepEqual(errorOf(await room.call('PUT', '/send/m.room.member/2', {})), [400, 'M_BAD_JSON']);
    }
  });

  describe('item 23: power levels', () => {
    const cases: readonly (readonly [string, unknown, string])[] = [
      ['a string', { users_default: '0' }, 'M_BAD_JSON'],
      ['a float', { ban: 50.5 }, 'M_BAD_JSON'],
      ['more than canonical JSON holds', { users: { '@x:y': 9007199254740992 } }, 'M_BAD_JSON'],
      ['a list of users', { users: [] }, 'M_BAD_JSON'],
      ['a string for an event', { events: { 'm.room.name': '50' } }, 'M_BAD_JSON'],
      ['no user id', { users: { alice: 100 } }, 'M_INVALID_PARAM'],
    ];
    for (const version of ['1', '9', '10', '12']) {
      for (const [what, content, errcode] of cases) {
        test(`version ${version}: ${what} is refused`, async () => {
          const room = await server.as('alice').createRoom({ room_version: version });
          assert.deepEqual(errorOf(await room.call('PUT', '/state/m.room.power_levels', content)), [400, errcode]);
        });
      }
    }

    test('creators are not named in version 12', async () => {
      const room = await server.as('alice').createRoom({
        preset: 'public_chat',
        creation_content: { additional_creators: [userId('bob')] },
      });
      for (const name of ['alice', 'bob']) {
        const answer = await room.call('PUT', '/state/m.room.power_levels', { users: { [userId(name)]: 100 } });
        assert.deepEqual(errorOf(answer), [400, 'M_INVALID_PARAM']);
      }
      await server.as('bob').room(room.roomId).join();
      await server.as('bob').room(room.roomId).setState('m.room.name', { name: "Bob's" });
      assert.deepEqual(errorOf(await room.call('POST', '/kick', { user_id: userId('bob') })), [403, 'M_FORBIDDEN']);
    });

    test('nobody gives more than they have', async () => {
      const room = await server.as('alice').createRoom({ preset: 'public_chat', room_version: '11' });
      const bob = server.as('bob').room(room.roomId);
      await bob.join();
      const levels = Object(await room.state('m.room.power_levels'));
      await room.setState('m.room.power_levels', {
        ...levels,
        users: { ...levels.users, [userId('bob')]: 50 },
        events: {},
      });
      const raise = { ...levels, events: {}, users: { ...levels.users, [userId('bob')]: 51 } };
      assert.deepEqual(errorOf(await bob.call('PUT', '/state/m.room.power_levels', raise)), [403, 'M_FORBIDDEN']);
    });
  });

  describe('A8: levels that are not given', () => {
    const attempts: readonly (readonly [string, unknown, Readonly<Record<string, number>>])[] = [
      ['no levels', {}, { message: 200, name: 403, custom: 403 }],
      ['events_default', { events_default: 10 }, { message: 403, name: 403, custom: 403 }],
      [
        'events_default below users_default',
        { events_default: 10, users_default: 10 },
        { message: 200, name: 403, custom: 403 },
      ],
      ['state_default', { state_default: 0 }, { message: 200, name: 200, custom: 200 }],
      ['users_default', { users_default: 50 }, { message: 200, name: 200, custom: 200 }],
      ['one event', { events: { 'm.room.message': 1, 'm.room.name': 0 } }, { message: 403, name: 200, custom: 403 }],
      ['a user', { users: { [userId('bob')]: 50 } }, { message: 200, name: 200, custom: 200 }],
    ];
    for (const version of ['6', '11', '12']) {
      for (const [what, levels, expected] of attempts) {
        test(`version ${version}: ${what}`, async () => {
          const alice = server.as('alice');
          const own = version === '12' ? {} : { [alice.userId]: 100 };
          const content = { ...Object(levels), users: { ...own, ...(at(levels, 'users') as object) } };
          const room = await alice.createRoom({ preset: 'public_chat', room_version: version });
          await room.setState('m.room.power_levels', content);
          const bob = server.as('bob').room(room.roomId);
          await bob.join();
          const statuses = {
            message: (await bob.call('PUT', '/send/m.room.message/1', { body: 'x' })).status,
            name: (await bob.call('PUT', '/state/m.room.name/', { name: 'x' })).status,
            custom: (await bob.call('PUT', '/state/a.custom/', { name: 'x' })).status,
          };
          assert.deepEqual(statuses, expected);
        });
      }
    }
  });

  describe('aliases', () => {
    const path = (alias: string): string => `/directory/room/${encodeURIComponent(alias)}`;
    const canonical = (room: TestRoom, content: unknown) => room.call('PUT', '/state/m.room.canonical_alias', content);

    test('are made by members and lead to their room', async () => {
      const alice = server.as('alice');
      const room = await alice.createRoom();
      const alias = '#老虎£я🤨👉ඞ:test.example';
      assert.deepEqual(await room.ok('GET', '/aliases'), { aliases: [] });
      await alice.ok('PUT', path(alias), { room_id: room.roomId });
      assert.deepEqual(await room.ok('GET', '/aliases'), { aliases: [alias] });
      assert.equal(at((await alice.get(path(alias))).body, 'room_id'), room.roomId);
      const body = { room_id: room.roomId };
      assert.deepEqual(errorOf(await alice.call('PUT', path(alias), body)), [409, 'M_UNKNOWN']);
      assert.deepEqual(errorOf(await alice.call('PUT', path('#x:elsewhere.example'), body)), [400, 'M_INVALID_PARAM']);
      assert.deepEqual(errorOf(await alice.call('PUT', path('nonsense'), body)), [400, 'M_INVALID_PARAM']);
      assert.deepEqual(errorOf(await alice.get(path('nonsense'))), [400, 'M_INVALID_PARAM']);
      assert.deepEqual(errorOf(await alice.get(path('#none:test.example'))), [404, 'M_NOT_FOUND']);
      assert.deepEqual(errorOf(await server.as('bob').call('PUT', path('#x:test.example'), body)), [
        403,
        'M_FORBIDDEN',
      ]);
    });

    test('E6: are removed by their makers and by who rules the room', async () => {
      const alice = server.as('alice');
      const bob = server.as('bob');
      const room = await alice.createRoom({ preset: 'public_chat' });
      await bob.room(room.roomId).join();
      const make = (by: typeof alice, name: string) =>
        by.ok('PUT', path(`#${name}:test.example`), { room_id: room.roomId });
      await make(alice, 'of-alice');
      await make(bob, 'of-bob');
      await make(bob, 'of-bob-2');
      assert.deepEqual(errorOf(await bob.call('DELETE', path('#of-alice:test.example'))), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await server.as('mallory').call('DELETE', path('#of-bob:test.example'))), [
        403,
        'M_FORBIDDEN',
      ]);
      assert.deepEqual(errorOf(await bob.call('DELETE', path('#none:test.example'))), [404, 'M_NOT_FOUND']);
      assert.equal((await bob.call('DELETE', path('#of-bob:test.example'))).status, 200);
      assert.equal((await alice.call('DELETE', path('#of-bob-2:test.example'))).status, 200);
      server.admins.add('root');
      assert.equal((await server.as('root').call('DELETE', path('#of-alice:test.example'))).status, 200);
      assert.deepEqual(await room.ok('GET', '/aliases'), { aliases: [] });
    });

    test('E6: publishing a room needs power in it', async () => {
      const room = await server.as('alice').createRoom({ preset: 'public_chat' });
      const list = `/directory/list${room.path.replace('/rooms/', '/room/')}`;
      const bob = server.as('bob');
      await bob.room(room.roomId).join();
      assert.deepEqual(errorOf(await bob.call('PUT', list, { visibility: 'public' })), [403, 'M_FORBIDDEN']);
      assert.deepEqual((await bob.get(list)).body, { visibility: 'private' });
      await server.as('alice').ok('PUT', list, {});
      assert.deepEqual((await bob.get(list)).body, { visibility: 'public' });
      assert.deepEqual(errorOf(await bob.get('/directory/list/room/!unknown:test.example')), [404, 'M_NOT_FOUND']);
      server.admins.add('root');
      assert.equal((await server.as('root').call('PUT', list, { visibility: 'private' })).status, 200);
      assert.equal((await server.as('root').call('PUT', list, { visibility: 'public' })).status, 200);
    });

    test('canonical aliases have to lead to the room', async () => {
      const alice = server.as('alice');
      const room = await alice.createRoom();
      const other = await alice.createRoom();
      await alice.ok('PUT', path('#mine:test.example'), { room_id: room.roomId });
      await alice.ok('PUT', path('#other:test.example'), { room_id: other.roomId });
      assert.equal(
        (await canonical(room, { alias: '#mine:test.example', alt_aliases: ['#mine:test.example'] })).status,
        200,
      );
      assert.deepEqual(errorOf(await canonical(room, { alias: '#missing:test.example' })), [400, 'M_BAD_ALIAS']);
      assert.deepEqual(errorOf(await canonical(room, { alias: '%wrong:test.example' })), [400, 'M_INVALID_PARAM']);
      assert.deepEqual(errorOf(await canonical(room, { alias: '#other:test.example' })), [400, 'M_BAD_ALIAS']);
      assert.deepEqual(errorOf(await canonical(room, { alt_aliases: ['#other:test.example'] })), [400, 'M_BAD_ALIAS']);
      assert.deepEqual(errorOf(await canonical(room, { alt_aliases: ['%wrong:test.example'] })), [
        400,
        'M_INVALID_PARAM',
      ]);
      assert.deepEqual(errorOf(await canonical(room, { alt_aliases: 'x' })), [400, 'M_INVALID_PARAM']);
      await alice.ok('DELETE', path('#mine:test.example'));
      assert.deepEqual(await room.state('m.room.canonical_alias'), {});
      assert.deepEqual(errorOf(await canonical(room, { alias: '#mine:test.example' })), [400, 'M_BAD_ALIAS']);
    });
  });

  test('the directory is listed, searched and paged', async () => {
    await using own = await startRoomsServer();
    const alice = own.as('alice');
    const make = async (body: Readonly<Record<string, unknown>>): Promise<string> =>
      (await alice.createRoom({ visibility: 'public', ...body })).roomId;
    const wombles = await make({ name: 'Test Name', topic: 'Test Topic Wombles', room_alias_name: 'wombles' });
    const space = await make({ name: 'Space', creation_content: { type: 'm.space' } });
    const french = await make({ name: 'un nom français', preset: 'private_chat' });
    await make({ visibility: 'private', name: 'hidden wombles' });
    await own.as('bob').room(wombles).join();
    const idsOf = (body: unknown) => listAt(body, 'chunk').map((room) => textAt(room, 'room_id'));
    const all = await own.as('nobody').ok('GET', '/publicRooms');
    assert.equal(at(all, 'total_room_count_estimate'), 3);
    assert.deepEqual(listAt(all, 'chunk')[0], {
      room_id: wombles,
      name: 'Test Name',
      topic: 'Test Topic Wombles',
      canonical_alias: '#wombles:test.example',
      num_joined_members: 2,
      world_readable: false,
      guest_can_join: false,
      join_rule: 'public',
    });
    assert.equal(
      at(
        listAt(all, 'chunk').find((room) => at(room, 'room_id') === french),
        'join_rule',
      ),
      'invite',
    );
    assert.equal(
      at(
        listAt(all, 'chunk').find((room) => at(room, 'room_id') === french),
        'guest_can_join',
      ),
      true,
    );
    const search = async (filter: unknown) => idsOf(await alice.ok('POST', '/publicRooms', { filter }));
    assert.deepEqual(await search({ generic_search_term: 'womBLES' }), [wombles]);
    assert.deepEqual(await search({ generic_search_term: 'FRANÇAIS' }), [french]);
    assert.deepEqual(await search({ room_types: ['m.space'] }), [space]);
    assert.deepEqual(new Set(await search({ room_types: [null] })), new Set([wombles, french]));
    const seen: string[] = [];
    let since = '';
    for (let page = 0; page < 3; page++) {
      const { body } = await alice.get(`/publicRooms?limit=1${since}`);
      seen.push(...idsOf(body));
      since = `&since=${at(body, 'next_batch')}`;
      if (page < 2) continue;
      assert.equal(at(body, 'next_batch'), undefined);
      const previous = await alice.get(`/publicRooms?limit=1&since=${at(body, 'prev_batch')}`);
      assert.deepEqual(idsOf(previous.body), [seen[1]]);
    }
    assert.deepEqual(seen, idsOf(all));
    assert.deepEqual(errorOf(await alice.get('/publicRooms?since=x')), [400, 'M_INVALID_PARAM']);
    assert.deepEqual(errorOf(await alice.get('/publicRooms?limit=-1')), [400, 'M_INVALID_PARAM']);
  });
});
