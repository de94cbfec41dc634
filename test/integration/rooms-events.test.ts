import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { at, listAt, textAt } from '../support/json.ts';
import { type RoomsServer, startRoomsServer, type TestAnswer, type TestRoom, userId } from '../support/rooms-server.ts';

const errorOf = ({ status, body }: TestAnswer): readonly [number, unknown] => [status, at(body, 'errcode')];
const bodiesOf = (page: unknown): readonly unknown[] =>
  listAt(page, 'chunk')
    .filter((event) => at(event, 'type') === 'm.room.message')
    .map((event) => at(event, 'content', 'body'));

describe('sending', () => {
  let server: RoomsServer;
  before(async () => {
    server = await startRoomsServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const put = (room: TestRoom, txnId: string, content: unknown = { body: 'x' }) =>
    room.call('PUT', `/send/m.room.message/${txnId}`, content);

  test('G5, L11: twenty requests with one transaction id at once make one event', async () => {
    const room = await server.as('alice').createRoom();
    const answers = await Promise.all(Array.from({ length: 20 }, () => put(room, 'same')));
    assert.equal(new Set(answers.map(({ body }) => textAt(body, 'event_id'))).size, 1);
    assert.equal(bodiesOf(await room.ok('GET', '/messages?dir=b')).length, 1);
    const other = server.as('alice/OTHER').room(room.roomId);
    const again = [await put(room, 'same'), await put(other, 'same'), await room.call('PUT', '/send/a.type/same', {})];
    assert.equal(new Set([answers[0], ...again].map((answer) => textAt(answer?.body, 'event_id'))).size, 3);
    const room2 = await server.as('alice').createRoom();
    assert.notEqual(textAt((await put(room2, 'same')).body, 'event_id'), textAt(answers[0]?.body, 'event_id'));
  });

  test('a transaction id is shown to the device that sent it', async () => {
    const room = await server.as('alice/ONE').createRoom();
    const eventId = textAt((await put(room, 'abc')).body, 'event_id');
    assert.equal(at(await room.ok('GET', `/event/${eventId}`), 'unsigned', 'transaction_id'), 'abc');
    const other = server.as('alice/TWO').room(room.roomId);
    assert.equal(at(await other.ok('GET', `/event/${eventId}`), 'unsigned', 'transaction_id'), undefined);
  });

  test('a message in a warm room asks the database nothing outside its commit', async () => {
    const room = await server.as('alice').createRoom();
    await room.send('first of this device');
    const { database } = server.at.db;
    const before = database.stats.statements;
    for (let index = 0; index < 10; index++) await room.send(`${index}`);
    assert.equal(database.stats.statements, before);
  });

  test('refuses what is no event', async () => {
    const room = await server.as('alice').createRoom({ room_version: '6' });
    for (const content of ['{"body": 9007199254740992}', '{"body": -9007199254740992}', '{"body": 1.1}', '[]', '"x"']) {
      assert.deepEqual(errorOf(await put(room, 't', content)), [400, 'M_BAD_JSON'], content);
    }
    for (const content of ['{"body": Infinity}', '{"body": NaN}', '{', '']) {
      assert.deepEqual(errorOf(await put(room, 't', content)), [400, 'M_NOT_JSON'], content);
    }
    const large = { body: 'x'.repeat(70_000) };
    assert.deepEqual(errorOf(await put(room, 't', large)), [413, 'M_TOO_LARGE']);
    assert.deepEqual(errorOf(await room.call('PUT', '/state/a.state', large)), [413, 'M_TOO_LARGE']);
    assert.equal((await room.call('PUT', '/send/m.room.join_rules/x', { join_rule: 'invite' })).status, 200);
  });

  test('nobody sends into a room that they are not in', async () => {
    const room = await server.as('alice').createRoom();
    await room.invite(server.as('bob'));
    for (const roomId of [room.roomId, '!unknown:test.example']) {
      assert.deepEqual(errorOf(await put(server.as('bob').room(roomId), '1')), [403, 'M_FORBIDDEN']);
    }
  });

  for (const version of ['1', '10', '11', '12']) {
    test(`A13: version ${version}: redactions are for the sender and who has the power`, async () => {
      const alice = server.as('alice');
      const room = await alice.createRoom({ preset: 'public_chat', room_version: version });
      const bob = server.as('bob').room(room.roomId);
      const carol = server.as('carol').room(room.roomId);
      await bob.join();
      await carol.join();
      const redact = (by: TestRoom, eventId: string, content: unknown = { reason: 'r' }) =>
        by.call('PUT', `/redact/${encodeURIComponent(eventId)}/t${eventId.slice(1, 9)}`, content);
      const first = await bob.send('one');
      const second = await bob.send('two');
      assert.deepEqual(errorOf(await redact(carol, first)), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await redact(carol, '$unknown')), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await redact(bob, '$unknown')), [403, 'M_FORBIDDEN']);
      assert.deepEqual(errorOf(await redact(room, '$unknown')), [404, 'M_NOT_FOUND']);
      assert.equal(at(await carol.ok('GET', `/event/${first}`), 'content', 'body'), 'one');
      const redaction = textAt((await redact(bob, first)).body, 'event_id');
      assert.equal(textAt((await redact(bob, first)).body, 'event_id'), redaction);
      const pruned = await carol.ok('GET', `/event/${first}`);
      assert.deepEqual(at(pruned, 'content'), {});
      assert.equal(at(pruned, 'unsigned', 'redacted_because', 'event_id'), redaction);
      const shown = await carol.ok('GET', `/event/${redaction}`);
      assert.deepEqual([at(shown, 'redacts'), at(shown, 'content', 'redacts')], [first, first]);
      assert.equal(at(shown, 'content', 'reason'), 'r');
      const sent = await room.ok('PUT', '/send/m.room.redaction/viasend', { redacts: second });
      assert.equal(
        at(await carol.ok('GET', `/event/${second}`), 'unsigned', 'redacted_because', 'event_id'),
        at(sent, 'event_id'),
      );
      assert.deepEqual(errorOf(await room.call('PUT', '/send/m.room.redaction/x', {})), [400, 'M_BAD_JSON']);
      const create = at(await room.ok('GET', '/state/m.room.create?format=event'), 'event_id');
      assert.deepEqual(errorOf(await redact(room, String(create))), [403, 'M_FORBIDDEN']);
    });
  }
});

describe('history', () => {
  let server: RoomsServer;
  let room: TestRoom;
  before(async () => {
    server = await startRoomsServer();
    room = await server.as('alice').createRoom({ preset: 'public_chat' });
    for (let index = 0; index < 150; index++) await room.send(`${index}`);
  });
  after(() => server[Symbol.asyncDispose]());

  const walk = async (by: TestRoom, query: string): Promise<{ events: unknown[]; pages: number; last: unknown }> => {
    const events: unknown[] = [];
    let from = '';
    for (let pages = 1; ; pages++) {
      const page = await by.ok('GET', `/messages?${query}${from}`);
      events.push(...listAt(page, 'chunk'));
      const end = at(page, 'end');
      if (end === undefined) return { events, pages, last: page };
      assert.ok(pages < 100);
      from = `&from=${end}`;
    }
  };

  test('is walked in both directions without gap or repeat', async () => {
    for (const limit of [1_000, 50, 7]) {
      const backward = await walk(room, `dir=b&limit=${limit}`);
      const forward = await walk(room, `dir=f&limit=${limit}`);
      const ids = (events: unknown[]) => events.map((event) => textAt(event, 'event_id'));
      assert.deepEqual(ids(backward.events).reverse(), ids(forward.events));
      assert.equal(new Set(ids(forward.events)).size, 155);
      assert.equal(textAt(forward.events[0], 'type'), 'm.room.create');
      assert.equal(listAt(backward.last, 'chunk').length > 0, true);
    }
  });

  test('B13: a page that the filter empties still leads on', async () => {
    const first = '{"senders":["@alice:test.example"],"types":["m.room.create"]}';
    const found = await walk(room, `dir=b&limit=10&filter=${encodeURIComponent(first)}`);
    assert.deepEqual(
      found.events.map((event) => textAt(event, 'type')),
      ['m.room.create'],
    );
    const none = await walk(room, `dir=b&limit=10&filter=${encodeURIComponent('{"types":["none"]}')}`);
    assert.deepEqual(none.events, []);
  });

  test('stops at `to`, and starts where `from` says', async () => {
    const page = await room.ok('GET', '/messages?dir=b&limit=5');
    const middle = textAt(page, 'end');
    assert.deepEqual(bodiesOf(page), ['149', '148', '147', '146', '145']);
    const onward = await room.ok('GET', `/messages?dir=f&from=${middle}`);
    assert.deepEqual(bodiesOf(onward), ['145', '146', '147', '148', '149']);
    const upTo = await walk(room, `dir=b&limit=100&to=${middle}`);
    assert.equal(upTo.events.length, 5);
    const further = await room.ok('GET', `/messages?dir=b&limit=2&from=${middle}`);
    assert.deepEqual(bodiesOf(further), ['144', '143']);
    for (const query of ['dir=b&from=x', 'dir=b&to=s1', 'dir=x', 'dir=b&limit=-1', 'dir=b&limit=many']) {
      assert.deepEqual(errorOf(await room.get(`/messages?${query}`)), [400, 'M_INVALID_PARAM'], query);
    }
    assert.deepEqual(errorOf(await room.get('/messages?dir=b&filter=x')), [400, 'M_NOT_JSON']);
    assert.deepEqual(errorOf(await room.get('/messages?dir=b&filter={"limit":"x"}')), [400, 'M_BAD_JSON']);
  });

  test('members are loaded lazily', async () => {
    const own = await server.as('alice').createRoom({ preset: 'public_chat' });
    const bob = server.as('bob').room(own.roomId);
    await bob.join();
    await server.as('carol').room(own.roomId).join();
    await own.send('before');
    const token = at(await own.ok('GET', '/messages?dir=b&limit=1'), 'start');
    await bob.send('hello');
    const lazy = `filter=${encodeURIComponent('{"lazy_load_members":true}')}`;
    const page = await own.ok('GET', `/messages?dir=f&from=${token}&${lazy}`);
    assert.deepEqual(
      listAt(page, 'state').map((event) => [at(event, 'state_key'), at(event, 'content', 'membership')]),
      [[userId('bob'), 'join']],
    );
    assert.equal(at(await own.ok('GET', '/messages?dir=b'), 'state'), undefined);
  });

  test('members at an earlier point', async () => {
    const own = await server.as('alice').createRoom({ preset: 'public_chat' });
    await own.send('before');
    const token = at(await own.ok('GET', '/messages?dir=b&limit=1'), 'start');
    const bob = server.as('bob').room(own.roomId);
    await bob.join();
    await server.as('carol').room(own.roomId).join();
    await bob.leave();
    const members = async (query: string) =>
      listAt(await own.ok('GET', `/members?${query}`), 'chunk')
        .map((event) => textAt(event, 'state_key').slice(1, 2))
        .sort()
        .join('');
    assert.equal(await members(''), 'abc');
    assert.equal(await members(`at=${token}`), 'a');
    assert.equal(await members('at=h1_1.0'), 'a');
    assert.equal(await members('membership=leave'), 'b');
    assert.equal(await members('not_membership=leave'), 'ac');
    assert.equal(await members('membership=leave&not_membership=join'), 'b');
    assert.equal(await members('membership=join&not_membership=join'), 'abc');
    assert.deepEqual(errorOf(await own.get('/members?at=x')), [400, 'M_INVALID_PARAM']);
    assert.deepEqual(errorOf(await own.get('/members?membership=x')), [400, 'M_INVALID_PARAM']);
    assert.deepEqual(at(await own.ok('GET', '/joined_members'), 'joined'), {
      [userId('alice')]: { display_name: null, avatar_url: null },
      [userId('carol')]: { display_name: null, avatar_url: null },
    });
  });

  test('the context of an event', async () => {
    const page = await room.ok('GET', '/messages?dir=b&limit=20');
    const [event] = listAt(page, 'chunk').slice(-1);
    const eventId = textAt(event, 'event_id');
    const bodies = (context: unknown, key: string) => listAt(context, key).map((one) => at(one, 'content', 'body'));
    const context = await room.ok('GET', `/context/${eventId}?limit=5`);
    assert.equal(at(context, 'event', 'event_id'), eventId);
    assert.deepEqual(bodies(context, 'events_before'), ['129', '128']);
    assert.deepEqual(bodies(context, 'events_after'), ['131', '132', '133']);
    assert.equal(listAt(context, 'state').length, 5);
    const older = await room.ok('GET', `/messages?dir=b&limit=1&from=${at(context, 'start')}`);
    assert.deepEqual(bodiesOf(older), ['127']);
    const newer = await room.ok('GET', `/messages?dir=f&limit=1&from=${at(context, 'end')}`);
    assert.deepEqual(bodiesOf(newer), ['134']);
    const alone = await room.ok('GET', `/context/${eventId}?limit=0`);
    assert.deepEqual([listAt(alone, 'events_before'), listAt(alone, 'events_after')], [[], []]);
    assert.deepEqual(errorOf(await room.get('/context/$unknown')), [404, 'M_NOT_FOUND']);
    assert.deepEqual(errorOf(await room.get('/event/unknown')), [404, 'M_NOT_FOUND']);
    const other = await server.as('alice').createRoom();
    assert.deepEqual(errorOf(await other.get(`/event/${eventId}`)), [404, 'M_NOT_FOUND']);
  });
});
