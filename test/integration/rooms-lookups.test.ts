/**
 * Looking things up: events by time, rooms before joining, users; and reporting what was found.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { at, listAt, textAt } from '../support/json.ts';
import { type RoomsServer, startRoomsServer, type TestAnswer, type TestRoom, userId } from '../support/rooms-server.ts';

let server: RoomsServer;

before(async () => {
  server = await startRoomsServer();
});
after(() => server[Symbol.asyncDispose]());

async function get(path: string, user?: string): Promise<TestAnswer> {
  const headers = user === undefined ? {} : { authorization: `Bearer ${user}` };
  const answer = await fetch(`${server.url}/_matrix/client/v1${path}`, { headers });
  return { status: answer.status, body: await answer.json() };
}

async function query<Row extends object>(
  text: string,
  ...values: readonly (string | number)[]
): Promise<readonly Row[]> {
  return server.at.db.database.query<Row>({ name: text.slice(0, 60), text, values });
}

describe('timestamp_to_event', () => {
  /** Messages at given times, as an application service could send them. */
  async function sendAt(room: TestRoom, times: readonly number[]): Promise<readonly string[]> {
    const sent: string[] = [];
    for (const time of times) {
      const eventId = await room.send(`${time}`);
      await query('update events set origin_server_ts = $2 where event_id = $1', eventId, time);
      sent.push(eventId);
    }
    return sent;
  }

  async function find(room: TestRoom, ts: number, dir: string, user = 'alice'): Promise<unknown> {
    const { status, body } = await get(
      `/rooms/${encodeURIComponent(room.roomId)}/timestamp_to_event?ts=${ts}&dir=${dir}`,
      user,
    );
    return status === 200 ? at(body, 'event_id') : `${status} ${at(body, 'errcode')}`;
  }

  test('the nearest event in each direction; at the same time, the nearest of the stream', async () => {
    const room = await server.as('alice').createRoom({});
    const far = Date.now() + 1_000_000;
    const sent = await sendAt(room, [far, far + 10, far + 10, far + 20]);
    assert.equal(await find(room, far + 1, 'f'), sent[1]);
    assert.equal(await find(room, far + 10, 'f'), sent[1]);
    assert.equal(await find(room, far + 10, 'b'), sent[2]);
    assert.equal(await find(room, far + 19, 'b'), sent[2]);
    assert.equal(await find(room, far + 100, 'b'), sent[3]);
    assert.equal(await find(room, far + 100, 'f'), '404 M_NOT_FOUND');
    assert.equal(await find(room, 0, 'b'), '404 M_NOT_FOUND');
    assert.equal(await find(room, 1, 'sideways'), '400 M_INVALID_PARAM');
    const { body } = await get(`/rooms/${encodeURIComponent(room.roomId)}/timestamp_to_event?ts=0&dir=f`, 'alice');
    assert.equal(typeof at(body, 'origin_server_ts'), 'number');
  });

  test('B4: only of rooms that the user may read, and only events that they may see', async () => {
    const room = await server.as('alice').createRoom({
      preset: 'public_chat',
      initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
    });
    assert.equal(await find(room, 0, 'f', 'bob'), '403 M_FORBIDDEN');
    for (let index = 0; index < 3; index++) await room.send('before bob');
    const bob = server.as('bob').room(room.roomId);
    await bob.join();
    const events = listAt(await bob.ok('GET', '/messages?dir=f&limit=50'), 'chunk');
    assert.equal(await find(room, 0, 'f', 'bob'), at(events[0], 'event_id'));
    await bob.leave();
    await room.send('after bob');
    const seen = listAt(await bob.ok('GET', '/messages?dir=b&limit=50'), 'chunk');
    assert.equal(await find(room, Date.now() + 1_000, 'b', 'bob'), at(seen[0], 'event_id'));
  });
});

describe('room summary', () => {
  const path = (room: TestRoom): string => `/room_summary/${encodeURIComponent(room.roomId)}`;

  test('what a room shows of itself, by id and by alias', async () => {
    const room = await server.as('alice').createRoom({
      preset: 'public_chat',
      name: 'Cheese',
      topic: 'tasty',
      room_alias_name: 'cheese',
      creation_content: { type: 'm.space' },
      initial_state: [{ type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
    });
    const alias = encodeURIComponent(`#cheese:${server.rooms.serverName}`);
    const expected = {
      room_id: room.roomId,
      room_version: '12',
      num_joined_members: 1,
      world_readable: false,
      guest_can_join: false,
      name: 'Cheese',
      topic: 'tasty',
      canonical_alias: `#cheese:${server.rooms.serverName}`,
      join_rule: 'public',
      room_type: 'm.space',
      encryption: 'm.megolm.v1.aes-sha2',
    };
    assert.deepEqual((await get(path(room))).body, expected);
    assert.deepEqual((await get(path(room), 'alice')).body, { ...expected, membership: 'join' });
    assert.deepEqual((await get(`/room_summary/${alias}?via=a.example`, 'bob')).body, {
      ...expected,
      membership: 'leave',
    });
  });

  test('B6: a private room is answered like one that does not exist', async () => {
    const room = await server.as('alice').createRoom({ preset: 'private_chat', name: 'secret' });
    const unknown = await get('/room_summary/!unknown:test.example', 'mallory');
    assert.equal(unknown.status, 404);
    assert.deepEqual(await get(path(room), 'mallory'), unknown);
    assert.deepEqual(await get(path(room)), unknown);
    assert.equal((await get('/room_summary/nonsense')).status, 404);
    await room.invite(server.as('bob'));
    assert.equal(at((await get(path(room), 'bob')).body, 'membership'), 'invite');
    await server.as('bob').room(room.roomId).leave();
    assert.deepEqual(await get(path(room), 'bob'), unknown);
  });

  for (const [joinRule, visibility, isOpen] of [
    ['knock', 'shared', true],
    ['invite', 'world_readable', true],
    ['invite', 'shared', false],
  ] as const) {
    test(`${joinRule}, ${visibility}: ${isOpen ? 'open to all' : 'closed'}`, async () => {
      const room = await server.as('alice').createRoom({
        initial_state: [
          { type: 'm.room.join_rules', content: { join_rule: joinRule } },
          { type: 'm.room.history_visibility', content: { history_visibility: visibility } },
        ],
      });
      assert.equal((await get(path(room))).status, isOpen ? 200 : 404);
    });
  }

  test('a restricted room is shown to members of the rooms that let them in', async () => {
    const space = await server.as('alice').createRoom({ preset: 'public_chat' });
    await server.as('bob').room(space.roomId).join();
    const allow = [{ type: 'm.room_membership', room_id: space.roomId }];
    const room = await server.as('alice').createRoom({
      initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'restricted', allow } }],
    });
    const { status, body } = await get(path(room), 'bob');
    assert.deepEqual([status, at(body, 'allowed_room_ids')], [200, [space.roomId]]);
    assert.equal((await get(path(room), 'mallory')).status, 404);
    assert.equal((await get(path(room))).status, 404);
  });
});

describe('reports', () => {
  const stored = (reporter: string): Promise<readonly object[]> =>
    query(
      `select kind, reported_room, reported_event, reported_user, reason, state from reports
       where reporter = $1 order by report_id`,
      userId(reporter),
    );

  async function addAccount(localpart: string): Promise<void> {
    await query('insert into accounts (localpart, created_at) values ($1, 0)', localpart);
  }

  test('are kept open, with what they are about', async () => {
    await addAccount('villain');
    const room = await server.as('alice').createRoom({});
    const eventId = await room.send('bad');
    await room.ok('POST', `/report/${eventId}`, { reason: 'rude' });
    await room.ok('POST', `/report/${eventId}`, { score: -100 });
    await room.ok('POST', '/report', { reason: '' });
    await server.as('alice').ok('POST', `/users/${userId('villain')}/report`, { reason: 'x'.repeat(10_000) });
    const [rude, silent, ofRoom, ofUser, ...more] = await stored('alice');
    const event = {
      kind: 'event',
      reported_room: room.roomId,
      reported_event: eventId,
      reported_user: userId('alice'),
    };
    assert.deepEqual(rude, { ...event, reason: 'rude', state: 'open' });
    assert.deepEqual(silent, { ...event, reason: '', state: 'open' });
    assert.deepEqual(
      [at(ofRoom, 'kind'), at(ofRoom, 'reported_room'), at(ofRoom, 'reason')],
      ['room', room.roomId, ''],
    );
    assert.deepEqual([at(ofUser, 'kind'), at(ofUser, 'reported_user')], ['user', userId('villain')]);
    assert.equal(textAt(ofUser, 'reason').length, 4_000);
    assert.deepEqual(more, []);
  });

  test('of what is unknown or unseen are answered alike, and not kept', async () => {
    const room = await server.as('alice').createRoom({ preset: 'private_chat' });
    const eventId = await room.send('private');
    const mallory = server.as('mallory');
    const unknown = '!unknown:test.example';
    for (const path of [
      `/rooms/${encodeURIComponent(room.roomId)}/report/${eventId}`,
      `/rooms/${encodeURIComponent(room.roomId)}/report/$unknown`,
      `/rooms/${unknown}/report/${eventId}`,
      `/rooms/${unknown}/report`,
      `/users/${userId('nobody')}/report`,
      '/users/nonsense/report',
    ]) {
      assert.deepEqual(await mallory.call('POST', path, { reason: 'x' }), { status: 200, body: {} }, path);
    }
    assert.deepEqual(await stored('mallory'), []);
    assert.equal((await mallory.call('POST', `/rooms/${unknown}/report`, {})).status, 400);
  });
});

describe('user directory', () => {
  before(async () => {
    const names = { cooper: 'Alice Cooper', percent: '100%_\\', hidden: 'Alice Hidden', gone: 'Alice Gone' };
    for (const [localpart, name] of Object.entries(names)) {
      await query("insert into accounts (localpart, created_at, deactivated) values ($1, 0, $1 = 'gone')", localpart);
      await query(
        'insert into profiles (user_id, field, value) values ($1, $2, $3)',
        userId(localpart),
        'displayname',
        JSON.stringify(name),
      );
    }
    for (const localpart of ['cooper', 'percent', 'gone'])
      await server.as(localpart).createRoom({ preset: 'public_chat' });
    await server.as('hidden').createRoom({ preset: 'private_chat' });
  });

  const search = (user: string, term: string, limit?: number): Promise<unknown> =>
    server.as(user).ok('POST', '/user_directory/search', { search_term: term, limit });

  const found = async (user: string, term: string): Promise<readonly unknown[]> =>
    listAt(await search(user, term), 'results').map((result) => at(result, 'user_id'));

  test('finds by the beginning of an id, a localpart, or a word of the display name, whatever its case', async () => {
    for (const term of ['cooper', 'COOP', '@coop', userId('cooper'), 'alice cooper', 'Alice C', ' cooper ']) {
      assert.deepEqual(await found('eve', term), [userId('cooper')], term);
    }
    assert.deepEqual(await search('eve', 'cooper'), {
      limited: false,
      results: [{ user_id: userId('cooper'), display_name: 'Alice Cooper' }],
    });
    for (const term of ['ooper', 'lice', '', ' ']) assert.deepEqual(await found('eve', term), [], term);
  });

  test('characters with a meaning in patterns have none', async () => {
    for (const term of ['%', '_', 'c_oper', 'coo%', '\\', "'"]) assert.deepEqual(await found('eve', term), [], term);
    assert.deepEqual(await found('eve', '100%_\\'), [userId('percent')]);
  });

  test('finds nobody hidden or gone until they meet', async () => {
    assert.deepEqual(await found('eve', 'alice'), [userId('cooper')]);
    assert.deepEqual(await found('cooper', 'cooper'), [userId('cooper')]);
    const room = await server.as('hidden').createRoom({ preset: 'private_chat' });
    await room.invite(server.as('friend'));
    assert.deepEqual(await found('friend', 'alice hidden'), []);
    await server.as('friend').room(room.roomId).join();
    assert.deepEqual(await found('friend', 'alice hidden'), [userId('hidden')]);
    assert.deepEqual(await found('eve', 'alice hidden'), []);
  });

  test('B10: a name that a user has in one room only finds nobody', async () => {
    const room = await server.as('hidden').createRoom({ preset: 'private_chat' });
    await room.setState('m.room.member', { membership: 'join', displayname: 'Freddy' }, userId('hidden'));
    await room.invite(server.as('pal'));
    await server.as('pal').room(room.roomId).join();
    assert.deepEqual(await found('pal', 'Freddy'), []);
    assert.equal(JSON.stringify(await search('pal', 'hidden')).includes('Freddy'), false);
  });

  test('says when there is more', async () => {
    const room = await server.as('hidden').createRoom({ preset: 'private_chat' });
    await room.invite(server.as('eva'));
    await server.as('eva').room(room.roomId).join();
    const one = await search('eva', 'alice', 1);
    assert.deepEqual([listAt(one, 'results').length, at(one, 'limited')], [1, true]);
    const all = await search('eva', 'alice', 2);
    assert.deepEqual([listAt(all, 'results').length, at(all, 'limited')], [2, false]);
  });

  test('no event or name can make searching fail', async () => {
    const room = await server.as('percent').createRoom({ preset: 'public_chat' });
    const content = { join_rule: 'public', note: 'a\0b' };
    await room.call('PUT', '/state/m.room.join_rules', content);
    await query(
      'insert into profiles (user_id, field, value) values ($1, $2, $3)',
      userId('percent'),
      'avatar_url',
      '"\\u0000"',
    );
    assert.deepEqual(await found('eve', 'percent'), [userId('percent')]);
  });
});

test('third-party lookups: no protocols', async () => {
  const alice = server.as('alice');
  assert.deepEqual(await alice.ok('GET', '/thirdparty/protocols'), {});
  for (const path of ['protocol/irc', 'location/irc', 'user/irc', 'location?alias=x', 'user?userid=x']) {
    const { status, body } = await alice.call('GET', `/thirdparty/${path}`);
    assert.deepEqual([status, at(body, 'errcode')], [404, 'M_NOT_FOUND']);
  }
});
