/**
 * Attacks that others suffered, on what clients can ask of rooms. Each test is named after its row of the list of them.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { createSyncEndpoints } from '../../src/api/client/sync.ts';
import { at, listAt, textAt } from '../support/json.ts';
import {
  ignore,
  type RoomsServer,
  startRoomsServer,
  type TestAnswer,
  type TestRoom,
  userId,
} from '../support/rooms-server.ts';
import { createTestSync } from '../support/sync.ts';

let server: RoomsServer;
before(async () => {
  server = await startRoomsServer({ more: (engine) => createSyncEndpoints(createTestSync(engine)) });
});
after(() => server[Symbol.asyncDispose]());

const encode = encodeURIComponent;
const v1 = (user: string, room: TestRoom, path: string): Promise<TestAnswer> =>
  server.as(user).fetch(`/_matrix/client/v1/rooms/${encode(room.roomId)}${path}`);
const outcome = ({ status, body }: TestAnswer): unknown[] => [status, at(body, 'errcode')];

test('A27: rooms are of version 12 unless asked otherwise, and nobody takes a level from their creators', async () => {
  const room = await server.as('alice').createRoom({ preset: 'public_chat' });
  assert.equal(at(await room.state('m.room.create'), 'room_version'), '12');
  assert.ok(!room.roomId.includes(':'));
  const users = { [userId('alice')]: 100 };
  for (const body of [
    { power_level_content_override: { users } },
    {
      creation_content: { additional_creators: [userId('bob')] },
      power_level_content_override: { users: { [userId('bob')]: 1 } },
    },
    { creation_content: { additional_creators: ['nobody'] } },
  ]) {
    assert.equal((await server.as('alice').call('POST', '/createRoom', body)).status, 400);
  }
  assert.equal((await room.call('PUT', '/state/m.room.power_levels/', { users })).status, 400);
  // The engine's own keys cannot be forged.
  const forged = await server
    .as('alice')
    .createRoom({ creation_content: { room_version: '1', creator: userId('bob'), room_id: '!x:y' } });
  const create = await forged.ok('GET', '/state/m.room.create/?format=event');
  assert.deepEqual([at(create, 'content', 'room_version'), at(create, 'sender')], ['12', userId('alice')]);
});

test('B2: an event asked for in another room is one that does not exist', async () => {
  const [one, two] = [await server.as('alice').createRoom(), await server.as('alice').createRoom()];
  const elsewhere = await two.send('elsewhere');
  const unknown = `$${'x'.repeat(43)}`;
  for (const path of ['/event/%', '/context/%']) {
    const [real, made] = await Promise.all([elsewhere, unknown].map((id) => one.get(path.replace('%', id))));
    assert.deepEqual(real, made);
    assert.equal(real?.status, 404);
  }
  for (const path of ['/relations/%', '/relations/%/m.thread', '/relations/%/m.thread/m.room.message']) {
    const [real, made] = await Promise.all([elsewhere, unknown].map((id) => v1('alice', one, path.replace('%', id))));
    assert.deepEqual(real, made);
    assert.equal(real?.status, 404);
  }
  assert.equal((await one.call('PUT', `/redact/${elsewhere}/1`, {})).status, 404);
  assert.equal(at(await two.ok('GET', `/event/${elsewhere}`), 'content', 'body'), 'elsewhere');
});

test('B10: only the device that sent an event sees its transaction, on every endpoint', async () => {
  const [phone, laptop] = [server.as('ann/PHONE'), server.as('ann/LAPTOP')];
  const room = await phone.createRoom({ preset: 'public_chat' });
  await server.as('bob').room(room.roomId).join();
  const secret = 'transaction-of-the-phone';
  let transactions = 0;
  const send = async (body: object): Promise<string> =>
    textAt(await room.ok('PUT', `/send/m.room.message/${secret}${transactions++}`, body), 'event_id');
  const root = await send({ msgtype: 'm.text', body: 'needle' });
  const relation = { rel_type: 'm.thread', event_id: root };
  await send({ msgtype: 'm.text', body: 'reply', 'm.relates_to': relation });
  const content = { msgtype: 'm.text', body: 'edited' };
  const edit = { rel_type: 'm.replace', event_id: root };
  await send({ ...content, 'm.new_content': content, 'm.relates_to': edit });
  const base = `/_matrix/client/v1/rooms/${encode(room.roomId)}`;
  const rooms = `/_matrix/client/v3/rooms/${encode(room.roomId)}`;
  const paths = [
    `${rooms}/messages?dir=b&limit=50`,
    `${rooms}/event/${root}`,
    `${rooms}/context/${root}`,
    `${rooms}/initialSync`,
    `${base}/relations/${root}`,
    `${base}/threads`,
    `/_matrix/client/v3/sync`,
  ];
  const search = { search_categories: { room_events: { search_term: 'needle', event_context: {} } } };
  for (const [user, sees] of [
    [phone, true],
    [laptop, false],
    [server.as('bob'), false],
  ] as const) {
    for (const path of paths) {
      const { status, body } = await user.fetch(path);
      assert.equal(status, 200, path);
      assert.equal(JSON.stringify(body).includes(secret), sees, path);
    }
    assert.equal(JSON.stringify(await user.ok('POST', '/search', search)).includes(secret), sees);
  }
});

test('C6: no invite or knock that clients can send breaks the sync of whom it reaches', async () => {
  const alice = server.as('alice');
  const room = await alice.createRoom({
    initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }],
  });
  const value = fc.oneof(fc.constant(null), fc.jsonValue({ maxDepth: 2 }));
  const extra = fc.dictionary(
    fc.constantFrom(
      'invite_room_state',
      'knock_room_state',
      'unsigned',
      'reason',
      'is_direct',
      'displayname',
      'third_party_invite',
    ),
    value,
  );
  let guest = 0;
  const check = async (body: object): Promise<void> => {
    const user = server.as(`guest${guest++}`);
    const asMember = { ...body, membership: 'invite' };
    const answers = [
      await room.call('POST', '/invite', { ...body, user_id: user.userId }),
      await room.call('PUT', `/state/m.room.member/${encode(user.userId)}`, asMember),
      await user.call('POST', `/knock/${encode(room.roomId)}`, body),
    ];
    for (const { status } of answers) assert.ok(status < 500);
    for (const reader of [user, alice]) {
      assert.equal((await reader.get('/sync')).status, 200);
      assert.equal((await reader.get('/sync?full_state=true')).status, 200);
    }
  };
  await fc.assert(fc.asyncProperty(extra, check), { numRuns: 30 });
});

describe('C20 and limit 40: limits and tokens', () => {
  test('a limit is cut to what one answer may hold, and what is no limit is refused', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat', visibility: 'public' });
    const eventId = await room.send('x');
    const path = `/rooms/${encode(room.roomId)}`;
    const pages = [
      `/_matrix/client/v3${path}/messages?dir=b&`,
      `/_matrix/client/v3${path}/context/${eventId}?`,
      `/_matrix/client/v3${path}/initialSync?`,
      '/_matrix/client/v3/publicRooms?',
      `/_matrix/client/v1${path}/relations/${eventId}?`,
      `/_matrix/client/v1${path}/threads?`,
      `/_matrix/client/v1${path}/hierarchy?`,
    ];
    for (const page of pages) {
      const ask = (limit: string) => server.as('alice').fetch(`${page}limit=${limit}`);
      for (const huge of ['1000000000', '999999999999999']) assert.equal((await ask(huge)).status, 200, page + huge);
      for (const wrong of ['-1', 'x', '1.5', '1e9', '0x10', '99999999999999999999', '%00']) {
        assert.deepEqual(outcome(await ask(wrong)), [400, 'M_INVALID_PARAM'], page + wrong);
      }
    }
    for (const [path, body] of [
      ['/publicRooms', (limit: unknown) => ({ limit })],
      ['/user_directory/search', (limit: unknown) => ({ search_term: 'a', limit })],
      [
        '/search',
        (limit: unknown) => ({ search_categories: { room_events: { search_term: 'x', filter: { limit } } } }),
      ],
    ] as const) {
      assert.equal((await server.as('alice').call('POST', path, body(1_000_000_000))).status, 200);
      for (const wrong of [-1, 1.5, 'x', {}]) {
        assert.equal((await server.as('alice').call('POST', path, body(wrong))).status, 400, path);
      }
    }
    const depth = await v1('alice', room, '/hierarchy?max_depth=1000000000');
    assert.equal(depth.status, 200);
    const context = { before_limit: 1_000_000_000, after_limit: 1_000_000_000 };
    const search = { search_categories: { room_events: { search_term: 'x', event_context: context } } };
    assert.equal((await server.as('alice').call('POST', '/search', search)).status, 200);
  });

  test('a token that this server did not give is refused, one of another time is not', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat' });
    const eventId = await room.send('x');
    const path = `/rooms/${encode(room.roomId)}`;
    const takers = [
      `/_matrix/client/v3${path}/messages?dir=b&from=`,
      `/_matrix/client/v3${path}/messages?dir=f&to=`,
      `/_matrix/client/v3${path}/members?at=`,
      `/_matrix/client/v3/events?room_id=${encode(room.roomId)}&from=`,
      '/_matrix/client/v3/publicRooms?since=',
      `/_matrix/client/v1${path}/relations/${eventId}?from=`,
      `/_matrix/client/v1${path}/relations/${eventId}?to=`,
      `/_matrix/client/v1${path}/threads?from=`,
      `/_matrix/client/v1${path}/hierarchy?from=`,
      `/_matrix/client/v1/mutual_rooms?user_id=${encode(userId('bob'))}&from=`,
    ];
    for (const taker of takers) {
      for (const token of [
        'x',
        's123_4',
        't1-2_3',
        'h1_x',
        'h1_1.-5',
        'h1_1.99999999999999999999',
        '%00',
        '[]',
        'null',
        ' ',
      ]) {
        const answer = await server.as('alice').fetch(taker + token);
        assert.deepEqual(outcome(answer), [400, 'M_INVALID_PARAM'], taker + token);
      }
    }
    // Other writers' positions, the far future and the beginning are places like any other.
    for (const token of ['h1_1.0', 'h1_1.9007199254740991', 'h1_7.3']) {
      for (const taker of takers.slice(0, 3)) {
        assert.equal((await server.as('alice').fetch(taker + token)).status, 200, taker + token);
      }
    }
    // A token names a place and no right: that of a room which one may not read opens nothing.
    const closed = await server.as('alice').createRoom();
    const token = textAt(await closed.ok('GET', '/messages?dir=b&limit=1'), 'start');
    assert.equal((await server.as('bob').room(closed.roomId).get(`/messages?dir=b&from=${token}`)).status, 403);
  });
});

test('limit 22: names that are too long or hold what no name may are refused before they are stored', async () => {
  const alice = server.as('alice');
  const room = await alice.createRoom();
  const long = 'x'.repeat(256);
  const state = (type: string, key: string) => room.call('PUT', `/state/${encode(type)}/${encode(key)}`, {});
  const message = (type: string) => room.call('PUT', `/send/${encode(type)}/1`, {});
  assert.equal((await state(long, '')).status, 413);
  assert.equal((await state('m.x', 'é'.repeat(128))).status, 413);
  assert.equal((await message(long)).status, 413);
  for (const answer of [await state('m.x', '\0'), await message('m.\0'), await room.get('/event/%24%00')]) {
    assert.equal(answer.status, 400);
  }
  for (const alias of [`#${long}:test.example`, '#a\0:test.example', '#a', 'a:test.example', '#a:b\0c']) {
    const answer = await alice.call('PUT', `/directory/room/${encode(alias)}`, { room_id: room.roomId });
    assert.deepEqual(outcome(answer), [400, 'M_INVALID_PARAM'], alias);
  }
  assert.equal(
    (await alice.call('PUT', '/directory/room/%23a:elsewhere.example', { room_id: room.roomId })).status,
    400,
  );
  for (const name of ['a:b', long, 'a\0b']) {
    assert.equal((await alice.call('POST', '/createRoom', { room_alias_name: name })).status, 400, name);
  }
  for (const user of ['bob', '@bob', `@${long}:test.example`, '@bob:test.example\0', '@bob:']) {
    assert.equal((await room.call('POST', '/invite', { user_id: user })).status, 400, user);
  }
});

test('limit 23: levels are integers, nobody gives more than they have, users are users', async () => {
  for (const version of ['1', '6', '9', '10', '12']) {
    const room = await server.as('alice').createRoom({ preset: 'public_chat', room_version: version });
    const bob = server.as('bob').room(room.roomId);
    await bob.join();
    const levels = Object(await room.state('m.room.power_levels'));
    const set = (by: TestRoom, change: object) =>
      by.call('PUT', '/state/m.room.power_levels/', { ...levels, ...change });
    for (const ban of ['50', 1.5, true, null, [], 2 ** 53]) {
      assert.equal((await set(room, { ban })).status, 400, `${version} ${JSON.stringify(ban)}`);
    }
    for (const users of [{ ...levels.users, bob: 50 }, { ...levels.users, '@x': 50 }, [], 'x']) {
      assert.equal((await set(room, { users })).status, 400, `${version} ${JSON.stringify(users)}`);
    }
    const withBob = { ...levels.users, [userId('bob')]: 50 };
    assert.equal((await set(room, { users: withBob })).status, 200);
    for (const users of [
      { ...withBob, [userId('bob')]: 51 },
      { ...withBob, [userId('carol')]: 51 },
    ]) {
      assert.equal((await set(bob, { users })).status, 403);
    }
    assert.equal((await set(bob, { users: withBob, kick: 51 })).status, 403);
  }
});

test('limit 30: threads, relations and searches leave out whom the reader ignores at once', async () => {
  const room = await server.as('iris').createRoom({ preset: 'public_chat' });
  const pest = server.as('pest').room(room.roomId);
  await pest.join();
  const root = await room.send('root');
  const reply = { msgtype: 'm.text', body: 'buzz', 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
  await pest.ok('PUT', '/send/m.room.message/1', reply);
  const seen = async (): Promise<string> =>
    JSON.stringify([
      (await v1('iris', room, `/relations/${root}`)).body,
      (await v1('iris', room, '/threads')).body,
      await room.ok('GET', `/event/${root}`),
      await server.as('iris').ok('POST', '/search', { search_categories: { room_events: { search_term: 'buzz' } } }),
    ]);
  assert.equal((await seen()).split('buzz').length > 3, true);
  await ignore(server, userId('iris'), userId('pest'));
  assert.ok(!(await seen()).includes('"body":"buzz"'));
  assert.deepEqual(listAt((await v1('iris', room, `/relations/${root}`)).body, 'chunk'), []);
});
