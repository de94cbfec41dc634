import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { RoomsOptions } from '../../src/rooms/rooms.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { type RoomsServer, startRoomsServer, userId } from '../support/rooms-server.ts';

describe('POST /createRoom', () => {
  let server: RoomsServer;
  before(async () => {
    server = await startRoomsServer();
    server.profiles.set('alice', { displayname: 'Alice', avatar_url: 'mxc://test.example/alice' });
    server.profiles.set('bob', { displayname: 'Bob' });
  });
  after(() => server[Symbol.asyncDispose]());

  test('makes the events in the order of the spec', async () => {
    const alice = server.as('alice');
    const room = await alice.createRoom({
      preset: 'private_chat',
      name: 'Name',
      topic: 'Topic',
      room_alias_name: 'ordered',
      initial_state: [
        { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
        { type: 'm.room.topic', content: { topic: 'overwritten' } },
        { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } },
      ],
      invite: [userId('bob')],
      is_direct: true,
    });
    const events = listAt(await room.ok('GET', '/messages?dir=f&limit=50'), 'chunk');
    assert.deepEqual(
      events.map((event) => textAt(event, 'type').replace('m.room.', '')),
      [
        'create',
        'member',
        'power_levels',
        'canonical_alias',
        'join_rules',
        'guest_access',
        'encryption',
        'history_visibility',
        'name',
        'topic',
        'member',
      ],
    );
    assert.deepEqual(at(events[1], 'content'), {
      membership: 'join',
      displayname: 'Alice',
      avatar_url: 'mxc://test.example/alice',
    });
    assert.deepEqual(at(events.at(-1), 'content'), { membership: 'invite', is_direct: true, displayname: 'Bob' });
    assert.deepEqual(at(events[9], 'content'), { topic: 'Topic', 'm.topic': { 'm.text': [{ body: 'Topic' }] } });
    assert.deepEqual(at(events[3], 'content'), { alias: '#ordered:test.example' });
    const resolved = await alice.get('/directory/room/%23ordered%3Atest.example');
    assert.deepEqual(resolved, { status: 200, body: { room_id: room.roomId, servers: ['test.example'] } });
  });

  for (const version of ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12']) {
    test(`makes rooms of version ${version} that its creator rules`, async () => {
      const room = await server.as('alice').createRoom({ room_version: version, preset: 'public_chat' });
      assert.equal(at(await room.state('m.room.create'), 'room_version'), version);
      assert.equal(room.roomId.includes(':'), version !== '12');
      await room.setState('m.room.name', { name: 'ruled' });
      await room.send('hello');
      const levels = await room.state('m.room.power_levels');
      assert.deepEqual(at(levels, 'users'), version === '12' ? {} : { [userId('alice')]: 100 });
      assert.equal(at(levels, 'events', 'm.room.tombstone'), version === '12' ? 150 : 100);
    });
  }

  test('gives invitees of a trusted chat the power of the creator', async () => {
    const alice = server.as('alice');
    const old = await alice.createRoom({ preset: 'trusted_private_chat', invite: [userId('bob')], room_version: '11' });
    assert.deepEqual(at(await old.state('m.room.power_levels'), 'users'), {
      [userId('alice')]: 100,
      [userId('bob')]: 100,
    });
    const creation = {
      additional_creators: ['@carol:elsewhere.example'],
      room_version: 'x',
      creator: 'y',
      'm.federate': false,
    };
    const room = await alice.createRoom({
      preset: 'trusted_private_chat',
      invite: [userId('bob'), userId('bob')],
      creation_content: creation,
    });
    assert.deepEqual(await room.state('m.room.create'), {
      additional_creators: ['@carol:elsewhere.example', userId('bob')],
      'm.federate': false,
      room_version: '12',
    });
  });

  const refused: readonly (readonly [string, unknown, string])[] = [
    ['a number for a version', { room_version: 1 }, 'M_BAD_JSON'],
    ['an unknown version', { room_version: 'unheard of' }, 'M_UNSUPPORTED_ROOM_VERSION'],
    ['an unknown preset', { preset: 'secret_chat' }, 'M_BAD_JSON'],
    ['an alias with a colon', { room_alias_name: 'a:b' }, 'M_INVALID_PARAM'],
    ['an invite of nobody', { invite: ['bob'] }, 'M_INVALID_PARAM'],
    ['an invite by address', { invite_3pid: [{ medium: 'email', address: 'a@b' }] }, 'M_FORBIDDEN'],
    ['levels that are strings', { power_level_content_override: { ban: '50' } }, 'M_BAD_JSON'],
    ['levels of nobody', { power_level_content_override: { users: { bob: 50 } } }, 'M_INVALID_PARAM'],
    [
      'a creator in the levels',
      { power_level_content_override: { users: { [userId('alice')]: 100 } } },
      'M_INVALID_PARAM',
    ],
    ['additional creators that are no list', { creation_content: { additional_creators: 'x' } }, 'M_INVALID_PARAM'],
    [
      'additional creators that are no users',
      { creation_content: { additional_creators: ['@a:b', 42] } },
      'M_INVALID_PARAM',
    ],
    [
      'a server that cannot be',
      { creation_content: { additional_creators: ['@invalid:dom$ain$.com'] } },
      'M_INVALID_PARAM',
    ],
    ['a second create event', { initial_state: [{ type: 'm.room.create', content: {} }] }, 'M_INVALID_ROOM_STATE'],
    [
      'a foreign canonical alias',
      { initial_state: [{ type: 'm.room.canonical_alias', content: { alias: '#x:y' } }] },
      'M_BAD_ALIAS',
    ],
    [
      'a creator without the power to name the room',
      { room_version: '11', name: 'x', power_level_content_override: { users: {} } },
      'M_INVALID_ROOM_STATE',
    ],
  ];
  for (const [what, body, errcode] of refused) {
    test(`refuses ${what}`, async () => {
      const answer = await server.as('alice').call('POST', '/createRoom', body);
      assert.equal(textAt(answer.body, 'errcode'), errcode);
      assert.equal(answer.status, errcode === 'M_FORBIDDEN' ? 403 : 400);
    });
  }

  test('an alias leads to one room only, however many ask for it at once', async () => {
    const alice = server.as('alice');
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => alice.call('POST', '/createRoom', { room_alias_name: 'raced' })),
    );
    const made = answers.filter(({ status }) => status === 200);
    assert.equal(made.length, 1);
    for (const answer of answers)
      if (answer.status !== 200) assert.equal(textAt(answer.body, 'errcode'), 'M_ROOM_IN_USE');
    const late = await alice.call('POST', '/createRoom', { room_alias_name: 'raced' });
    assert.equal(textAt(late.body, 'errcode'), 'M_ROOM_IN_USE');
  });

  test('suspended users make no rooms', async () => {
    server.suspended.add('mallory');
    const answer = await server.as('mallory').call('POST', '/createRoom', {});
    assert.deepEqual([answer.status, textAt(answer.body, 'errcode')], [403, 'M_USER_SUSPENDED']);
  });
});

test('G4: a room whose creation fails leaves nothing behind', async () => {
  let failing = false;
  const wrap = (options: RoomsOptions): RoomsOptions => ({
    ...options,
    engine: {
      ...options.engine,
      createRoom: (request) =>
        options.engine.createRoom({
          ...request,
          also: async (tx, roomId) => {
            await Promise.all([
              request.also?.(tx, roomId),
              ...(failing ? [tx.query({ name: 'failing', text: 'select 1/0', values: [] })] : []),
            ]);
          },
        }),
    },
  });
  await using server = await startRoomsServer({ wrap, expectsFaults: true });
  const alice = server.as('alice');
  failing = true;
  const failed = await alice.call('POST', '/createRoom', { room_alias_name: 'phoenix', visibility: 'public' });
  assert.equal(failed.status, 500);
  failing = false;
  const counts = await server.at.db.database.query<{ rooms: number; events: number; aliases: number }>({
    name: 'counts',
    text: `select (select count(*) from rooms) as rooms, (select count(*) from events) as events,
      (select count(*) from room_aliases) as aliases`,
    values: [],
  });
  assert.deepEqual({ ...counts[0] }, { rooms: 0, events: 0, aliases: 0 });
  assert.deepEqual(at((await alice.get('/joined_rooms')).body, 'joined_rooms'), []);
  const room = await alice.createRoom({ room_alias_name: 'phoenix', visibility: 'public' });
  assert.deepEqual(at((await alice.get('/joined_rooms')).body, 'joined_rooms'), [room.roomId]);
});
