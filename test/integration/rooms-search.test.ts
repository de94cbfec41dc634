import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { createSearchIndex } from '../../src/rooms/search-index.ts';
import { at, entriesAt, listAt, textAt } from '../support/json.ts';
import { ignore, type RoomsServer, startRoomsServer, type TestRoom, type TestUser } from '../support/rooms-server.ts';

const CATEGORY = ['search_categories', 'room_events'] as const;

function search(user: TestUser, term: string, criteria: object = {}, nextBatch = ''): Promise<unknown> {
  const query = nextBatch === '' ? '' : `?next_batch=${encodeURIComponent(nextBatch)}`;
  return user
    .ok('POST', `/search${query}`, { search_categories: { room_events: { search_term: term, ...criteria } } })
    .then((answer) => at(answer, ...CATEGORY));
}

const bodies = (found: unknown): unknown[] =>
  listAt(found, 'results').map((result) => {
    const { body, name, topic } = Object(at(result, 'result', 'content'));
    return body ?? name ?? topic;
  });

describe('search', () => {
  let server: RoomsServer;
  let alice: TestUser;
  let bob: TestUser;
  before(async () => {
    server = await startRoomsServer();
    server.profiles.set('alice', { displayname: 'Alice', avatar_url: 'mxc://test.example/alice' });
    alice = server.as('alice');
    bob = server.as('bob');
  });
  after(() => server[Symbol.asyncDispose]());

  const sendAll = async (room: TestRoom, texts: readonly string[]): Promise<string[]> => {
    const ids: string[] = [];
    for (const text of texts) ids.push(await room.send(text));
    return ids;
  };

  test('finds a message, a name and a topic at once after they were sent', async () => {
    const room = await alice.createRoom({ name: 'Kumquat club', topic: 'All about the kumquat' });
    const eventId = await room.send('One kumquat a day');
    const found = await search(alice, 'kumquat');
    assert.equal(at(found, 'count'), 3);
    assert.deepEqual(at(found, 'highlights'), ['kumquat']);
    assert.deepEqual(bodies(found).sort(), ['All about the kumquat', 'Kumquat club', 'One kumquat a day']);
    const result = listAt(found, 'results').find((each) => at(each, 'result', 'event_id') === eventId);
    assert.equal(at(result, 'result', 'room_id'), room.roomId);
    assert.equal(typeof at(result, 'rank'), 'number');
    assert.equal(at(found, 'next_batch'), undefined);
    assert.deepEqual(bodies(await search(alice, 'kumquat', { keys: ['content.topic'] })), ['All about the kumquat']);
    assert.deepEqual(bodies(await search(alice, 'kumquat', { filter: { types: ['m.room.n*'] } })), ['Kumquat club']);
  });

  test('finds words in any case and form, in scripts without spaces, and phrases', async () => {
    const room = await alice.createRoom();
    const filter = { rooms: [room.roomId] };
    await sendAll(room, ['She was RUNNING to Zürich', '我们明天去公园散步', 'ÉCOLE normale', 'to be or not to be']);
    assert.deepEqual(bodies(await search(alice, 'run', { filter })), ['She was RUNNING to Zürich']);
    assert.deepEqual(at(await search(alice, 'runs', { filter }), 'highlights'), ['running']);
    assert.deepEqual(bodies(await search(alice, 'zürich', { filter })), ['She was RUNNING to Zürich']);
    assert.deepEqual(bodies(await search(alice, '公园', { filter })), ['我们明天去公园散步']);
    assert.deepEqual(bodies(await search(alice, 'école', { filter })), ['ÉCOLE normale']);
    assert.deepEqual(bodies(await search(alice, '"not to be"', { filter })), ['to be or not to be']);
    assert.deepEqual(bodies(await search(alice, '"be not"', { filter })), []);
    for (const nothing of ['', '!', '& | !', `room:${room.roomId}`]) {
      assert.deepEqual(bodies(await search(alice, nothing, { filter })), [], nothing);
    }
  });

  test('gives what was said around a result, and by whom', async () => {
    const room = await alice.createRoom();
    await sendAll(
      room,
      [1, 2, 3, 4, 5, 6, 7].map((number) => `Letter number ${number}`),
    );
    const found = await search(alice, 'Letter 4', {
      order_by: 'recent',
      filter: { limit: 1, rooms: [room.roomId] },
      event_context: { before_limit: 2, after_limit: 2, include_profile: true },
    });
    assert.equal(at(found, 'count'), 1);
    const context = at(found, 'results', 0, 'context');
    const around = (side: string) => listAt(context, side).map((event) => at(event, 'content', 'body'));
    assert.deepEqual(around('events_before'), ['Letter number 3', 'Letter number 2']);
    assert.deepEqual(around('events_after'), ['Letter number 5', 'Letter number 6']);
    assert.deepEqual(at(context, 'profile_info', alice.userId), server.profiles.get('alice'));
    const older = await room.ok('GET', `/messages?dir=b&limit=1&from=${textAt(context, 'start')}`);
    assert.equal(at(older, 'chunk', 0, 'content', 'body'), 'Letter number 1');
    const newer = await room.ok('GET', `/messages?dir=f&limit=1&from=${textAt(context, 'end')}`);
    assert.equal(at(newer, 'chunk', 0, 'content', 'body'), 'Letter number 7');
    const defaults = await search(alice, 'Letter 7', { filter: { rooms: [room.roomId] }, event_context: {} });
    assert.equal(listAt(defaults, 'results', 0, 'context', 'events_before').length, 5);
    assert.equal(at(defaults, 'results', 0, 'context', 'profile_info'), undefined);
  });

  for (const order of ['recent', 'rank']) {
    test(`pages through all results, ${order}`, async () => {
      const room = await alice.createRoom();
      const texts = Array.from({ length: 25 }, (_, index) => `page ${'mango '.repeat((index % 3) + 1)}${index}`);
      await sendAll(room, texts);
      const criteria = { order_by: order, filter: { limit: 10, rooms: [room.roomId] } };
      const seen: unknown[] = [];
      let token = '';
      do {
        const page = await search(alice, 'mango', criteria, token);
        assert.equal(at(page, 'count'), 25);
        seen.push(...bodies(page));
        token = String(at(page, 'next_batch') ?? '');
      } while (token !== '');
      assert.deepEqual(seen.toSorted(), texts.toSorted());
      if (order === 'recent') assert.deepEqual(seen, texts.toReversed());
      else assert.equal(String(seen[0]).split('mango').length, 4);
    });
  }

  test('groups results by room and sender, and pages through one group', async () => {
    const [one, two] = [await alice.createRoom(), await alice.createRoom()];
    await one.invite(bob);
    await bob.room(one.roomId).join();
    await sendAll(one, ['papaya 1', 'papaya 2', 'papaya 3']);
    await bob.room(one.roomId).send('papaya of bob');
    await sendAll(two, ['papaya 4']);
    const criteria = {
      order_by: 'recent',
      filter: { limit: 2 },
      groupings: { group_by: [{ key: 'room_id' }, { key: 'sender' }] },
    };
    const page = await search(alice, 'papaya', criteria);
    assert.equal(at(page, 'count'), 5);
    assert.deepEqual(
      entriesAt(page, 'groups', 'room_id').map(([roomId, group]) => [
        roomId,
        at(group, 'order'),
        listAt(group, 'results').length,
      ]),
      [
        [two.roomId, 1, 1],
        [one.roomId, 2, 1],
      ],
    );
    assert.deepEqual(Object.keys(Object(at(page, 'groups', 'sender'))), [alice.userId, bob.userId]);
    const inOne = await search(alice, 'papaya', criteria, textAt(page, 'groups', 'room_id', one.roomId, 'next_batch'));
    assert.deepEqual(bodies(inOne), ['papaya 3', 'papaya 2']);
    assert.deepEqual(bodies(await search(alice, 'papaya', criteria, textAt(inOne, 'next_batch'))), ['papaya 1']);
    const ofBob = await search(alice, 'papaya', criteria, textAt(page, 'groups', 'sender', bob.userId, 'next_batch'));
    assert.deepEqual(bodies(ofBob), []);
    const byBob = await search(alice, 'papaya', { filter: { senders: [bob.userId] } });
    assert.deepEqual([bodies(byBob), at(byBob, 'count')], [['papaya of bob'], 1]);
  });

  test('gives the state of the rooms that were asked for', async () => {
    const room = await alice.createRoom({ name: 'Stately' });
    await room.send('durian');
    const found = await search(alice, 'durian', { include_state: true });
    const types = listAt(found, 'state', room.roomId).map((event) => at(event, 'type'));
    assert.ok(types.includes('m.room.create') && types.includes('m.room.name'));
    assert.equal(at(await search(alice, 'durian'), 'state'), undefined);
  });

  test('B8: nothing redacted is found, and its words leave the index', async () => {
    const room = await alice.createRoom();
    const eventId = await room.send('a secret lychee');
    await room.send('a public lychee');
    assert.equal(at(await search(alice, 'lychee'), 'count'), 2);
    await room.ok('PUT', `/redact/${eventId}/r1`, {});
    for (const order_by of ['rank', 'recent']) {
      const found = await search(alice, 'lychee', { order_by });
      assert.deepEqual([bodies(found), at(found, 'count')], [['a public lychee'], 1]);
    }
    const rows = await server.at.db.database.query<{ words: string }>({
      name: 'words_of_redacted',
      text: "select words::text from event_search where words @@ 'secret'::tsquery",
      values: [],
    });
    assert.deepEqual(rows, []);
  });

  test('leaves out encrypted rooms, rooms of others, forgotten rooms and ignored users', async () => {
    const encrypted = await alice.createRoom();
    await encrypted.send('guava in the clear');
    await encrypted.setState('m.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' });
    const others = await bob.createRoom({ preset: 'public_chat' });
    await others.send('guava of bob alone');
    const shared = await alice.createRoom({ preset: 'public_chat' });
    await bob.room(shared.roomId).join();
    await bob.room(shared.roomId).send('guava of bob');
    await shared.send('guava of alice');
    assert.deepEqual(bodies(await search(alice, 'guava', { order_by: 'recent' })), ['guava of alice', 'guava of bob']);
    await ignore(server, alice.userId, bob.userId);
    const found = await search(alice, 'guava', { order_by: 'recent', event_context: {} });
    assert.deepEqual([bodies(found), at(found, 'count')], [['guava of alice'], 1]);
    const before = listAt(found, 'results', 0, 'context', 'events_before').map((event) => at(event, 'content', 'body'));
    assert.ok(!before.includes('guava of bob'));
    await shared.leave();
    assert.deepEqual(bodies(await search(alice, 'guava')), ['guava of alice']);
    await shared.ok('POST', '/forget', {});
    assert.deepEqual(bodies(await search(alice, 'guava')), []);
  });

  test('B11: who left finds what was said before, and who joined later what they may see; counts say no more', async () => {
    for (const [visibility, expected] of [
      ['shared', ['fig before', 'fig inside']],
      ['joined', ['fig inside']],
    ] as const) {
      const room = await alice.createRoom({
        preset: 'public_chat',
        initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: visibility } }],
      });
      const inside = bob.room(room.roomId);
      await room.send('fig before');
      await inside.join();
      await room.send('fig inside');
      await inside.leave();
      await room.send('fig after');
      const found = await search(bob, 'fig', { filter: { rooms: [room.roomId] }, event_context: {} });
      assert.deepEqual(bodies(found).toSorted(), expected);
      assert.equal(at(found, 'count'), expected.length);
      assert.ok(!JSON.stringify(found).includes('fig after'));
    }
  });

  test('limit 40: hostile tokens and terms are refused or find nothing', async () => {
    const room = await alice.createRoom();
    await room.send('quince');
    const body = { search_categories: { room_events: { search_term: 'quince' } } };
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const tokens = ['', 'x', 's1_2', encode(null), encode([]), encode(['0']), encode([0, 1]), encode(['1e-99', 1])];
    for (const token of [...tokens, encode(['0', 1.5]), encode(['0', 1, 'room_id']), encode(['0', 1, 'x', 'y'])]) {
      const { status, body: answer } = await alice.call('POST', `/search?next_batch=${token}`, body);
      assert.deepEqual([status, at(answer, 'errcode')], [400, 'M_INVALID_PARAM'], token);
    }
    const foreign = encode(['9999', Number.MAX_SAFE_INTEGER, 'room_id', '!other:test.example']);
    assert.equal((await alice.call('POST', `/search?next_batch=${foreign}`, body)).status, 200);
    assert.equal((await alice.call('POST', '/search', {})).status, 400);
    assert.deepEqual(await alice.ok('POST', '/search', { search_categories: {} }), { search_categories: {} });
    for (const term of ['x'.repeat(1_001), 'ﷺ'.repeat(300)]) {
      const long = { search_categories: { room_events: { search_term: term } } };
      assert.equal(at((await alice.call('POST', '/search', long)).body, 'errcode'), 'M_INVALID_PARAM');
    }
    for (const term of ["'", '\\', ':*', '!!', '<->', '"', '\ud83d', "a'b\\c:*", '-', '--x', '(', 'a & & b']) {
      assert.equal(typeof at(await search(alice, term.toWellFormed()), 'count'), 'number', term);
    }
  });

  test('the index follows without anybody searching, however often events come', async () => {
    const room = await alice.createRoom();
    const { database } = server.at.db;
    const isIndexed = async (eventId: string): Promise<boolean> => {
      const rows = await database.query<object>({
        name: 'is_indexed',
        text: 'select from event_search join events using (event_nid) where event_id = $1',
        values: [eventId],
      });
      return rows.length > 0;
    };
    for (let round = 0; round < 3; round++) {
      const eventId = await room.send(`unasked ${round}`);
      for (let waited = 0; !(await isIndexed(eventId)); waited++) {
        assert.ok(waited < 400, 'the index stands still');
        await sleep(50);
      }
    }
  });

  test('a new index reads the past by itself, and one that was closed goes on where it stood', async () => {
    const room = await alice.createRoom();
    await room.send('loquat one');
    const redacted = await room.send('loquat two');
    await search(alice, 'loquat');
    await room.ok('PUT', `/redact/${redacted}/r2`, {});
    const { database } = server.at.db;
    const query = (text: string) =>
      database.query<{ event_nid: number }>({ name: text.slice(0, 60), text, values: [] });
    await search(alice, 'loquat');
    const indexed = await query('select event_nid from event_search order by 1');
    await query('truncate event_search, search_positions');
    const options = { database, hub: server.at.hub, committer: server.at.committer, clock: systemClock };
    {
      await using again = createSearchIndex({ ...options, logger: silentLogger });
      await again.catchUp();
      assert.deepEqual(await query('select event_nid from event_search order by 1'), indexed);
    }
    await query('delete from event_search');
    await room.send('loquat three');
    await using third = createSearchIndex({ ...options, logger: silentLogger });
    await third.catchUp();
    assert.equal((await query('select event_nid from event_search')).length, 1);
  });
});
