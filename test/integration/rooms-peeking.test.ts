/**
 * The endpoints for looking into rooms: initialSync, the events of one room, rooms shared with somebody, and what is left
 * out of them for users who ignore others.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { at, listAt, textAt } from '../support/json.ts';
import { ignore, type RoomsServer, saveAccountData, startRoomsServer, type TestRoom } from '../support/rooms-server.ts';

let server: RoomsServer;
before(async () => {
  server = await startRoomsServer();
});
after(() => server[Symbol.asyncDispose]());

const bodies = (events: readonly unknown[]): unknown[] =>
  events.map((event) => at(event, 'content', 'body')).filter((body) => body !== undefined);
const createOpen = (user: string): Promise<TestRoom> =>
  server.as(user).createRoom({
    preset: 'public_chat',
    visibility: 'public',
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } }],
  });

describe('initialSync of a room', () => {
  test('gives the newest events, oldest first, with the way to earlier ones and to what comes', async () => {
    const room = await createOpen('alice');
    for (const text of ['1', '2', '3']) await room.send(text);
    await saveAccountData(server, server.as('alice').userId, {
      type: 'm.tag',
      roomId: room.roomId,
      content: { tags: { 'u.x': {} } },
    });
    const answer = await room.ok('GET', '/initialSync?limit=2');
    assert.equal(at(answer, 'room_id'), room.roomId);
    assert.deepEqual([at(answer, 'membership'), at(answer, 'visibility')], ['join', 'public']);
    assert.deepEqual(at(answer, 'account_data'), [{ type: 'm.tag', content: { tags: { 'u.x': {} } } }]);
    assert.deepEqual(bodies(listAt(answer, 'messages', 'chunk')), ['2', '3']);
    const earlier = await room.ok('GET', `/messages?dir=b&limit=1&from=${textAt(answer, 'messages', 'start')}`);
    assert.deepEqual(bodies(listAt(earlier, 'chunk')), ['1']);
    await room.send('4');
    const later = await room.ok('GET', `/messages?dir=f&from=${textAt(answer, 'messages', 'end')}`);
    assert.deepEqual(bodies(listAt(later, 'chunk')), ['4']);
    const bob = server.as('bob').room(room.roomId);
    const peeked = await bob.ok('GET', '/initialSync');
    assert.deepEqual([at(peeked, 'membership'), at(peeked, 'account_data')], ['leave', []]);
    const whole = await room.ok('GET', '/initialSync?limit=1000');
    assert.equal(at(whole, 'messages', 'start'), undefined);
  });
});

describe('events of a room', () => {
  const path = (room: TestRoom, query = ''): string => `/events?room_id=${encodeURIComponent(room.roomId)}${query}`;

  test('come after a token, or as soon as they happen', async () => {
    const room = await createOpen('alice');
    const bob = server.as('bob');
    const now = await bob.ok('GET', path(room));
    assert.deepEqual(listAt(now, 'chunk'), []);
    const token = textAt(now, 'end');
    const waiting = bob.ok('GET', path(room, `&from=${token}&timeout=20000`));
    await room.send('hello');
    const answer = await waiting;
    assert.deepEqual([at(answer, 'start'), bodies(listAt(answer, 'chunk'))], [token, ['hello']]);
    assert.deepEqual(listAt(await bob.ok('GET', path(room, `&from=${textAt(answer, 'end')}&timeout=10`)), 'chunk'), []);
    assert.equal((await bob.get('/events')).status, 400);
    assert.equal((await bob.get(path(room, '&from=x'))).status, 400);
    const closed = await server.as('alice').createRoom();
    assert.equal((await bob.get(path(closed))).status, 403);
  });

  test('C14: whoever goes away leaves nothing behind, and others still hear', async () => {
    const room = await createOpen('alice');
    const from = textAt(await room.ok('GET', '/messages?dir=b&limit=1'), 'start');
    const gone = new AbortController();
    const request = fetch(`${server.url}/_matrix/client/v3${path(room, `&from=${from}&timeout=20000`)}`, {
      headers: { authorization: 'Bearer bob' },
      signal: gone.signal,
    });
    const other = server.as('carol').ok('GET', path(room, `&from=${from}&timeout=20000`));
    gone.abort();
    await assert.rejects(request);
    await room.send('still here');
    assert.deepEqual(bodies(listAt(await other, 'chunk')), ['still here']);
  });
});

describe('mutual rooms', () => {
  const get = (user: string, query: string) => server.as(user).fetch(`/_matrix/client/v1/mutual_rooms?${query}`);

  test('are those that both are joined to, in pages', async () => {
    const rooms: string[] = [];
    for (let index = 0; index < 103; index++) {
      const room = await server.as('mary').createRoom({ preset: 'public_chat' });
      await server.as('tom').room(room.roomId).join();
      rooms.push(room.roomId);
    }
    await server.as('mary').createRoom({ preset: 'public_chat', invite: [server.as('tom').userId] });
    const left = await server.as('mary').createRoom({ preset: 'public_chat' });
    await server.as('tom').room(left.roomId).join();
    await server.as('tom').room(left.roomId).leave();
    const tom = encodeURIComponent(server.as('tom').userId);
    const first = (await get('mary', `user_id=${tom}`)).body;
    assert.deepEqual([listAt(first, 'joined').length, at(first, 'count')], [100, 103]);
    const second = (await get('mary', `user_id=${tom}&from=${textAt(first, 'next_batch')}`)).body;
    assert.deepEqual([at(second, 'count'), at(second, 'next_batch')], [103, undefined]);
    assert.deepEqual([...listAt(first, 'joined'), ...listAt(second, 'joined')].toSorted(), rooms.toSorted());
    assert.deepEqual((await get('mary', 'user_id=@nobody:test.example')).body, { joined: [], count: 0 });
  });

  test('are not asked for with oneself, with no user, or from nowhere', async () => {
    for (const query of ['', 'user_id=@mary:test.example', 'user_id=x', 'user_id=@tom:test.example&from=m_']) {
      const { status } = await get('mary', query);
      assert.equal(status, 400, query);
    }
  });
});

describe('ignored users', () => {
  test('B13: a page of what ignored users said is empty and has an end; the walk reaches the first event', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat' });
    const noisy = server.as('noisy').room(room.roomId);
    await noisy.join();
    await room.send('first words');
    await Promise.all(Array.from({ length: 1_100 }, (_, index) => noisy.send(`${index}`)));
    await ignore(server, server.as('alice').userId, server.as('noisy').userId);
    const seen: unknown[] = [];
    let from: unknown;
    let pages = 0;
    do {
      const page = await room.ok('GET', `/messages?dir=b&limit=1000${typeof from === 'string' ? `&from=${from}` : ''}`);
      seen.push(...listAt(page, 'chunk'));
      from = at(page, 'end');
      pages += 1;
    } while (from !== undefined);
    assert.ok(pages > 1);
    assert.deepEqual(bodies(seen), ['first words']);
    assert.ok(seen.some((event) => at(event, 'type') === 'm.room.create'));
  });

  test('limit 30: their messages go from pages and contexts, their state stays', async () => {
    const room = await server.as('ann').createRoom({ preset: 'public_chat' });
    const pest = server.as('pest').room(room.roomId);
    await pest.join();
    const own = await room.send('own');
    await pest.send('pest');
    const page = async () => listAt(await room.ok('GET', '/messages?dir=b&limit=50'), 'chunk');
    assert.deepEqual(bodies(await page()), ['pest', 'own']);
    await ignore(server, server.as('ann').userId, server.as('pest').userId);
    const events = await page();
    assert.deepEqual(bodies(events), ['own']);
    assert.ok(events.some((event) => at(event, 'state_key') === server.as('pest').userId));
    const context = await room.ok('GET', `/context/${own}?limit=50`);
    assert.deepEqual(bodies(listAt(context, 'events_after')), []);
    assert.deepEqual(bodies(listAt(await pest.ok('GET', '/messages?dir=b&limit=50'), 'chunk')), ['pest', 'own']);
  });
});
