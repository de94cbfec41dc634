/**
 * Relations, threads and bundled aggregations over HTTP.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { at, listAt, textAt } from '../support/json.ts';
import { ignore, type RoomsServer, startRoomsServer, type TestAnswer, type TestRoom } from '../support/rooms-server.ts';

let server: RoomsServer;
let transactions = 0;

before(async () => {
  server = await startRoomsServer();
});
after(() => server[Symbol.asyncDispose]());

/** An endpoint that only exists in version 1 of the API. */
function getV1(room: TestRoom, user: string, path: string): Promise<TestAnswer> {
  const url = `${server.url}/_matrix/client/v1/rooms/${encodeURIComponent(room.roomId)}${path}`;
  return fetch(url, { headers: { authorization: `Bearer ${user}` } }).then(async (answer) => ({
    status: answer.status,
    body: await answer.json(),
  }));
}

async function relate(room: TestRoom, relType: string, parent: string, more: object = {}): Promise<string> {
  const { type = 'm.room.message', ...content } = { type: undefined, ...more };
  const body = {
    msgtype: 'm.text',
    body: relType,
    'm.relates_to': { rel_type: relType, event_id: parent },
    ...content,
  };
  return textAt(await room.ok('PUT', `/send/${type}/r${++transactions}`, body), 'event_id');
}

const edit = (room: TestRoom, parent: string, body: string, more: object = {}): Promise<string> =>
  relate(room, 'm.replace', parent, { body: `* ${body}`, 'm.new_content': { msgtype: 'm.text', body }, ...more });

const ids = (answer: TestAnswer): readonly unknown[] =>
  listAt(answer.body, 'chunk').map((event) => at(event, 'event_id'));

const bundle = (event: unknown, ...path: string[]): unknown => at(event, 'unsigned', 'm.relations', ...path);

async function redact(room: TestRoom, eventId: string): Promise<void> {
  await room.ok('PUT', `/redact/${eventId}/x${++transactions}`, {});
}

describe('relations', () => {
  test('children of an event, newest first, by relation and by event type', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat' });
    const root = await room.send('root');
    const reply = await relate(room, 'm.thread', root);
    const other = await relate(room, 'm.thread', root, { type: 'm.dummy' });
    const edited = await edit(room, root, 'new');
    await room.send('unrelated');
    const all = await getV1(room, 'alice', `/relations/${root}`);
    assert.deepEqual(ids(all), [edited, other, reply]);
    assert.deepEqual(Object.keys(all.body ?? {}), ['chunk']);
    assert.equal(at(all.body, 'chunk', 0, 'room_id'), room.roomId);
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}?dir=f`)), [reply, other, edited]);
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}/m.thread`)), [other, reply]);
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}/m.thread/m.room.message`)), [reply]);
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}/m.reference`)), []);
  });

  for (const direction of ['b', 'f']) {
    test(`pages ${direction === 'b' ? 'backward' : 'forward'} until nothing is left`, async () => {
      const room = await server.as('alice').createRoom({});
      const root = await room.send('root');
      const sent: string[] = [];
      for (let index = 0; index < 6; index++) sent.push(await relate(room, 'm.reference', root));
      const pages: unknown[][] = [];
      let from = '';
      for (;;) {
        const page = await getV1(room, 'alice', `/relations/${root}?limit=3&dir=${direction}${from}`);
        pages.push([...ids(page)]);
        assert.equal(at(page.body, 'prev_batch') === undefined, from === '');
        const next = at(page.body, 'next_batch');
        if (next === undefined) break;
        from = `&from=${next}`;
      }
      const expected = direction === 'b' ? sent.toReversed() : sent;
      assert.deepEqual(pages, [expected.slice(0, 3), expected.slice(3)]);
    });
  }

  test('the token of a message page bounds the relations on either side', async () => {
    const room = await server.as('alice').createRoom({});
    const root = await room.send('root');
    const first = await relate(room, 'm.reference', root);
    const { body } = await room.get('/messages?dir=b&limit=1');
    const second = await relate(room, 'm.reference', root);
    const token = textAt(body, 'start');
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}?dir=f&from=${token}`)), [second]);
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}?from=${token}`)), [first]);
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}?to=${token}`)), [second]);
    assert.equal((await getV1(room, 'alice', `/relations/${root}?from=nonsense`)).status, 400);
  });

  test('recursion finds what relates to the relating events, along matching ones only', async () => {
    const room = await server.as('alice').createRoom({});
    const root = await room.send('root');
    const child = await relate(room, 'm.thread', root);
    const grandchild = await relate(room, 'm.reference', child);
    const third = await relate(room, 'm.reference', grandchild);
    await relate(room, 'm.reference', third);
    const all = await getV1(room, 'alice', `/relations/${root}?recurse=true`);
    assert.deepEqual(ids(all), [third, grandchild, child]);
    assert.equal(at(all.body, 'recursion_depth'), 3);
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}?recurse=true&dir=f&limit=1`)), [child]);
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}/m.reference?recurse=true`)), []);
  });

  test('B8: a redacted event relates to nothing', async () => {
    const room = await server.as('alice').createRoom({});
    const root = await room.send('root');
    const kept = await relate(room, 'm.thread', root);
    await redact(room, await relate(room, 'm.thread', root));
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}`)), [kept]);
    const event = await room.ok('GET', `/event/${root}`);
    assert.equal(bundle(event, 'm.thread', 'count'), 1);
    await redact(room, kept);
    assert.equal(bundle(await room.ok('GET', `/event/${root}`)), undefined);
    assert.deepEqual(ids(await getV1(room, 'alice', '/threads')), []);
  });

  test('whatever else a client calls a relation does no harm', async () => {
    const room = await server.as('alice').createRoom({});
    const root = await room.send('root');
    const relations = [
      'text',
      { rel_type: 'm.thread' },
      { event_id: root },
      { rel_type: 'm.thread', event_id: 'no event' },
      { rel_type: 'x'.repeat(3_000), event_id: root },
      { rel_type: 'a\0b', event_id: root },
      { rel_type: 'm.thread', event_id: `$${'\0'}` },
      { rel_type: 5, event_id: root },
    ];
    for (const relation of relations) {
      const content = { body: 'x', 'm.relates_to': relation };
      const { status } = await room.call('PUT', `/send/m.room.message/r${++transactions}`, content);
      assert.ok(status === 200 || status === 400, `${status}`);
    }
    assert.deepEqual(ids(await getV1(room, 'alice', `/relations/${root}`)), []);
  });

  test('of another room or an unseen event: 404, as for one that does not exist', async () => {
    const room = await server.as('alice').createRoom({ preset: 'private_chat' });
    const other = await server.as('alice').createRoom({});
    const root = await room.send('root');
    await relate(room, 'm.thread', root);
    for (const answer of [
      await getV1(other, 'alice', `/relations/${root}`),
      await getV1(room, 'mallory', `/relations/${root}`),
      await getV1(room, 'alice', '/relations/$unknown'),
    ]) {
      assert.deepEqual([answer.status, at(answer.body, 'errcode')], [404, 'M_NOT_FOUND']);
    }
    assert.equal((await getV1(room, 'mallory', '/threads')).status, 403);
  });
});

describe('B5, B11: relations and history visibility', () => {
  test('who left sees the relations of their time, and nothing bundled', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat' });
    const bob = server.as('bob').room(room.roomId);
    await bob.join();
    const root = await room.send('root');
    const seen = await relate(room, 'm.thread', root);
    await bob.leave();
    await relate(room, 'm.thread', root, { body: 'secret' });
    await edit(room, root, 'secret');
    assert.deepEqual(ids(await getV1(room, 'bob', `/relations/${root}`)), [seen]);
    const threads = await getV1(room, 'bob', '/threads');
    assert.equal(JSON.stringify([threads.body, await bob.ok('GET', `/event/${root}`)]).includes('secret'), false);
  });

  test('who joined later sees no relations from before, bundled or not', async () => {
    const room = await server.as('alice').createRoom({
      preset: 'public_chat',
      initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'shared' } }],
    });
    const root = await room.send('root');
    await room.setState('m.room.history_visibility', { history_visibility: 'joined' });
    await relate(room, 'm.thread', root, { body: 'secret' });
    await edit(room, root, 'secret');
    const bob = server.as('bob').room(room.roomId);
    await bob.join();
    assert.deepEqual(ids(await getV1(room, 'bob', `/relations/${root}`)), []);
    const threads = await getV1(room, 'bob', '/threads');
    assert.equal(JSON.stringify([threads.body, await bob.ok('GET', `/event/${root}`)]).includes('secret'), false);
    const visible = await relate(room, 'm.thread', root);
    assert.deepEqual(ids(await getV1(room, 'bob', `/relations/${root}?limit=1`)), [visible]);
  });
});

/**
 * B5, as in rooms-visibility.test.ts: `e` is a root, sent first; `m` and `l` relate to it, sent while those who left or
 * were banned were there, and at last. What each reader gets of the relations, and whether of threads and times.
 */
const SEEN = {
  world_readable: { never: 'l', invited: 'l', joined: 'l', left: 'lm', banned: 'lm' },
  shared: { never: '404', invited: '404', joined: 'l', left: 'm', banned: 'm' },
  invited: { never: '404', invited: '404', joined: '404', left: '404', banned: '404' },
  joined: { never: '404', invited: '404', joined: '404', left: '404', banned: '404' },
} as const;
const OUTSIDE: ReadonlySet<string> = new Set(['never', 'invited']);

describe('B5: what a user may read of relations', () => {
  for (const [visibility, readers] of Object.entries(SEEN)) {
    for (const [reader, expected] of Object.entries(readers)) {
      test(`${visibility}, ${reader}`, async () => {
        const room = await server.as('alice').createRoom({
          preset: 'private_chat',
          initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: visibility } }],
        });
        const bob = server.as('bob').room(room.roomId);
        const root = await room.send('e');
        if (reader !== 'never') await room.invite(server.as('bob'));
        if (!OUTSIDE.has(reader)) await bob.join();
        if (reader === 'left' || reader === 'banned') await relate(room, 'm.thread', root, { body: 'm' });
        if (reader === 'left') await bob.leave();
        if (reader === 'banned') await room.ok('POST', '/ban', { user_id: server.as('bob').userId });
        await relate(room, 'm.thread', root, { body: 'l' });

        const { status, body } = await getV1(room, 'bob', `/relations/${root}`);
        const bodies = listAt(body, 'chunk').map((event) => at(event, 'content', 'body'));
        assert.equal(status === 200 ? bodies.join('') : `${status}`, expected);
        const mayRead = visibility === 'world_readable' || !OUTSIDE.has(reader);
        for (const path of ['/threads', '/timestamp_to_event?ts=0&dir=f']) {
          assert.equal((await getV1(room, 'bob', path)).status, mayRead ? 200 : 403, path);
        }
      });
    }
  }
});

describe('threads', () => {
  test('by their latest event, with what they come to, page by page', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat' });
    const bob = server.as('bob').room(room.roomId);
    await bob.join();
    const roots = [await room.send('a'), await bob.send('b'), await bob.send('c')] as const;
    const first = await relate(bob, 'm.thread', roots[0]);
    await relate(bob, 'm.thread', roots[1]);
    await relate(room, 'm.thread', roots[1]);
    await relate(bob, 'm.thread', roots[2]);
    assert.deepEqual(ids(await getV1(room, 'alice', '/threads')), [roots[2], roots[1], roots[0]]);
    const newest = await relate(bob, 'm.thread', roots[0]);
    const all = await getV1(room, 'alice', '/threads');
    assert.deepEqual(ids(all), [roots[0], roots[2], roots[1]]);
    const summaries = listAt(all.body, 'chunk').map((event) => bundle(event, 'm.thread'));
    assert.deepEqual(
      summaries.map((summary) => [at(summary, 'count'), at(summary, 'current_user_participated')]),
      [
        [2, true],
        [1, false],
        [2, true],
      ],
    );
    assert.equal(at(summaries[0], 'latest_event', 'event_id'), newest);
    assert.deepEqual(ids(await getV1(room, 'alice', '/threads?include=participated')), [roots[0], roots[1]]);

    const page = await getV1(room, 'alice', '/threads?limit=2');
    const next = await getV1(room, 'alice', `/threads?limit=2&from=${textAt(page.body, 'next_batch')}`);
    assert.deepEqual([ids(page), ids(next)], [[roots[0], roots[2]], [roots[1]]]);
    assert.equal(at(next.body, 'next_batch'), undefined);

    await redact(bob, newest);
    assert.deepEqual(ids(await getV1(room, 'alice', '/threads')), [roots[2], roots[1], roots[0]]);
    const root = await room.ok('GET', `/event/${roots[0]}`);
    assert.equal(bundle(root, 'm.thread', 'latest_event', 'event_id'), first);
  });

  test('ignored users count for nothing, and their roots come without content', async () => {
    const room = await server.as('ida').createRoom({ preset: 'public_chat' });
    const bob = server.as('bob').room(room.roomId);
    await bob.join();
    const root = await bob.send('ignored words');
    const own = await relate(room, 'm.thread', root);
    await relate(bob, 'm.thread', root);
    await ignore(server, server.as('ida').userId, server.as('bob').userId);
    const { body } = await getV1(room, 'ida', '/threads');
    assert.equal(bundle(at(body, 'chunk', 0), 'm.thread', 'count'), 1);
    assert.equal(bundle(at(body, 'chunk', 0), 'm.thread', 'latest_event', 'event_id'), own);
    assert.deepEqual(at(body, 'chunk', 0, 'content'), {});
  });
});

describe('bundled edits', () => {
  test('the latest valid edit, on every endpoint', async () => {
    const room = await server.as('alice').createRoom({ preset: 'public_chat' });
    const bob = server.as('bob').room(room.roomId);
    await bob.join();
    const root = await room.send('first');
    await edit(room, root, 'second');
    const last = await edit(room, root, 'third');
    await edit(bob, root, 'forged');
    await edit(room, root, 'another type', { type: 'm.dummy' });
    await relate(room, 'm.replace', root);
    const events = [
      await bob.ok('GET', `/event/${root}`),
      at(await bob.ok('GET', `/context/${root}`), 'event'),
      listAt(await bob.ok('GET', '/messages?dir=b'), 'chunk').find((event) => at(event, 'event_id') === root),
    ];
    for (const event of events) {
      assert.equal(bundle(event, 'm.replace', 'event_id'), last);
      assert.equal(bundle(event, 'm.replace', 'content', 'm.new_content', 'body'), 'third');
      assert.equal(at(event, 'content', 'body'), 'first');
    }
    await redact(room, last);
    const before = await bob.ok('GET', `/event/${root}`);
    assert.equal(bundle(before, 'm.replace', 'content', 'm.new_content', 'body'), 'second');
    await redact(room, root);
    assert.equal(bundle(await bob.ok('GET', `/event/${root}`)), undefined);
  });

  test("a thread's latest event comes with its own edit", async () => {
    const room = await server.as('alice').createRoom({});
    const root = await room.send('root');
    const reply = await relate(room, 'm.thread', root);
    const edited = await edit(room, reply, 'better');
    const event = await room.ok('GET', `/event/${root}`);
    const latest = bundle(event, 'm.thread', 'latest_event');
    assert.deepEqual([at(latest, 'event_id'), bundle(latest, 'm.replace', 'event_id')], [reply, edited]);
  });

  test('cost one statement on a page without any', async () => {
    const room = await server.as('alice').createRoom({});
    for (let index = 0; index < 5; index++) await room.send(`${index}`);
    const { database } = server.at.db;
    const start = database.stats.statements;
    await room.get('/messages?dir=b&limit=5');
    assert.equal(database.stats.statements - start, 1);
  });
});

test('the migration finds the relations of events that are there', async () => {
  const room = await server.as('alice').createRoom({});
  const root = await room.send('root');
  await relate(room, 'm.thread', root);
  await edit(room, root, 'new');
  await relate(room, 'm.replace', root);
  await room.ok('PUT', `/send/m.room.message/r${++transactions}`, { 'm.relates_to': { event_id: 5, rel_type: 'x' } });
  await room.ok('PUT', `/send/m.room.message/r${++transactions}`, { body: '\u0001', 'm.relates_to': 'text' });
  const query = (name: string, text: string): Promise<readonly object[]> =>
    server.at.db.database.query<object>({ name, text, values: [] });
  const select = 'select * from event_relations order by event_nid';
  const written = await query('written', select);
  const file = readFileSync(new URL('../../src/storage/migrations/0008_relations.sql', import.meta.url), 'utf8');
  const backfill = file.slice(file.indexOf('insert into'), file.indexOf('create index')).replace(/;\s*$/, '');
  await query('emptied', 'delete from event_relations');
  await query('backfill', backfill);
  assert.ok(written.length > 3);
  const filled = await query('filled', select);
  assert.deepEqual(filled, written);
});
