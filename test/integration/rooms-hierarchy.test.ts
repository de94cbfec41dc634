import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { at, listAt, textAt } from '../support/json.ts';
import { type RoomsServer, startRoomsServer, type TestAnswer, type TestRoom, userId } from '../support/rooms-server.ts';

describe('space hierarchy', () => {
  let server: RoomsServer;
  before(async () => {
    server = await startRoomsServer();
  });
  after(() => server[Symbol.asyncDispose]());

  async function get(user: string, room: TestRoom, query = ''): Promise<TestAnswer> {
    const path = `/_matrix/client/v1/rooms/${encodeURIComponent(room.roomId)}/hierarchy${query}`;
    const answer = await fetch(server.url + path, { headers: { authorization: `Bearer ${user}` } });
    return { status: answer.status, body: await answer.json() };
  }

  /** The names of the rooms of one page, in its order. */
  async function names(user: string, room: TestRoom, query = ''): Promise<string> {
    const { status, body } = await get(user, room, query);
    assert.equal(status, 200, JSON.stringify(body));
    return listAt(body, 'rooms')
      .map((entry) => at(entry, 'name') ?? '?')
      .join(' ');
  }

  const create = (name: string, options: object = {}): Promise<TestRoom> =>
    server.as('alice').createRoom({ preset: 'public_chat', name, ...options });
  const createSpace = (name: string, options: object = {}): Promise<TestRoom> =>
    create(name, { creation_content: { type: 'm.space' }, ...options });
  const add = (space: TestRoom, child: TestRoom, content: object = {}): Promise<string> =>
    space.setState('m.space.child', { via: ['test.example'], ...content }, child.roomId);

  /** root: (a: (x, y), b, c) */
  async function createTree(): Promise<Record<'root' | 'a' | 'b' | 'c' | 'x' | 'y', TestRoom>> {
    const [root, a] = [await createSpace('root'), await createSpace('a')];
    const [b, c, x, y] = [await create('b'), await create('c'), await create('x'), await create('y')];
    for (const child of [a, b, c]) await add(root, child);
    for (const child of [x, y]) await add(a, child);
    return { root, a, b, c, x, y };
  }

  test('is walked depth first, each room with what it shows and its children', async () => {
    const { root, a } = await createTree();
    assert.equal(await names('bob', root), 'root a x y b c');
    const { body } = await get('bob', root, '?limit=1');
    const { children_state: children, ...shown } = Object(at(body, 'rooms', 0));
    assert.deepEqual(shown, {
      room_id: root.roomId,
      room_version: '12',
      num_joined_members: 1,
      world_readable: false,
      guest_can_join: false,
      name: 'root',
      join_rule: 'public',
      room_type: 'm.space',
    });
    assert.deepEqual(Object.keys(Object(at(children, 0))).sort(), [
      'content',
      'origin_server_ts',
      'sender',
      'state_key',
      'type',
    ]);
    assert.deepEqual(at(children, 0, 'state_key'), a.roomId);
    assert.deepEqual(at((await get('bob', await create('plain'))).body, 'rooms', 0, 'children_state'), []);
  });

  test('children stand by their order, then by their age; removed and suggested ones are told apart', async () => {
    const [root, a, b, c, d] = [
      await createSpace('root'),
      await create('a'),
      await create('b'),
      await create('c'),
      await create('d'),
    ];
    await add(root, a);
    await add(root, b, { suggested: true });
    await add(root, c, { order: 'z' });
    await add(root, d, { order: 'Z', suggested: true });
    assert.equal(await names('alice', root), 'root d c a b');
    await add(root, c, { order: 'é' });
    assert.equal(await names('alice', root), 'root d a b c');
    assert.equal(await names('alice', root, '?suggested_only=true'), 'root d b');
    await root.setState('m.space.child', {}, a.roomId);
    await root.setState('m.space.child', { via: 'test.example' }, b.roomId);
    await root.setState('m.space.child', { via: ['test.example'] }, 'no-room');
    assert.equal(await names('alice', root), 'root d c');
  });

  test('ends at max_depth, and in pages that together give every room once', async () => {
    const { root } = await createTree();
    assert.equal(await names('bob', root, '?max_depth=0'), 'root');
    assert.equal(await names('bob', root, '?max_depth=1'), 'root a b c');
    const seen: string[] = [];
    let from = '';
    do {
      const query = `?limit=2&max_depth=3${from === '' ? '' : `&from=${from}`}`;
      seen.push(await names('bob', root, query));
      const next = at((await get('bob', root, query)).body, 'next_batch');
      from = typeof next === 'string' ? next : '';
    } while (from !== '');
    assert.deepEqual(seen, ['root a', 'x y', 'b c']);
  });

  test('limit 40: a token is good for its room and parameters only', async () => {
    const { root, a } = await createTree();
    const token = textAt((await get('bob', root, '?limit=1')).body, 'next_batch');
    for (const query of [
      `?from=${token}&max_depth=1`,
      `?from=${token}&suggested_only=true`,
      '?from=x',
      '?from=h9999_',
    ]) {
      const { status, body } = await get('bob', root, query);
      assert.deepEqual([status, at(body, 'errcode')], [400, 'M_INVALID_PARAM'], query);
    }
    assert.equal((await get('bob', a, `?from=${token}`)).status, 400);
    for (const query of ['?limit=0', '?limit=-1', '?limit=x', '?max_depth=-1', '?suggested_only=maybe']) {
      assert.equal((await get('bob', root, query)).status, 400, query);
    }
    assert.equal(await names('bob', root, `?from=${token}&limit=999999`), 'a x y b c');
  });

  test('C16: circles end, and a wide space is paged', async () => {
    const [a, b] = [await createSpace('a'), await createSpace('b')];
    await add(a, a);
    await add(a, b);
    await add(b, a);
    await add(b, b);
    assert.equal(await names('bob', a), 'a b');
    const wide = await createSpace('wide');
    for (let index = 0; index < 120; index++) {
      await wide.setState('m.space.child', { via: ['test.example'] }, `!unknown${index}:elsewhere.example`);
    }
    for (let index = 0; index < 60; index++) await add(wide, await create(`${index}`));
    const first = await get('bob', wide, '?limit=1000');
    assert.equal(listAt(first.body, 'rooms').length, 50);
    const rest = await get('bob', wide, `?from=${textAt(first.body, 'next_batch')}`);
    assert.deepEqual([listAt(rest.body, 'rooms').length, at(rest.body, 'next_batch')], [11, undefined]);
  });

  test('B6: private rooms show themselves to those alone whom their join rules let see them', async () => {
    const root = await createSpace('root');
    const members = await createSpace('members', { preset: 'private_chat' });
    const rooms: Record<string, TestRoom> = { members };
    const rules: Record<string, object> = {
      private: { join_rule: 'invite' },
      knock: { join_rule: 'knock' },
      knocked: { join_rule: 'knock_restricted', allow: [] },
      restricted: {
        join_rule: 'restricted',
        allow: [{ type: 'm.room_membership', room_id: members.roomId }],
      },
    };
    for (const [name, content] of Object.entries(rules)) {
      rooms[name] = await create(name, { initial_state: [{ type: 'm.room.join_rules', content }] });
    }
    rooms['readable'] = await create('readable', {
      preset: 'private_chat',
      initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } }],
    });
    for (const room of Object.values(rooms)) await add(root, room);
    assert.equal(await names('alice', root), 'root members private knock knocked restricted readable');
    assert.equal(await names('bob', root), 'root knock knocked readable');
    await members.invite(server.as('bob'));
    await server.as('bob').room(members.roomId).join();
    await rooms['private']?.ok('POST', '/invite', { user_id: userId('bob') });
    assert.equal(await names('bob', root), 'root members private knock knocked restricted readable');
    const allowed = listAt((await get('bob', root)).body, 'rooms').find((room) => at(room, 'name') === 'restricted');
    assert.deepEqual(at(allowed, 'allowed_room_ids'), [members.roomId]);
    await root.ok('POST', '/ban', { user_id: userId('mallory') });
    for (const [user, room] of [
      ['mallory', root],
      ['carol', members],
      ['carol', server.as('carol').room('!unknown:test.example')],
    ] as const) {
      const { status, body } = await get(user, room);
      assert.deepEqual([status, at(body, 'errcode')], [403, 'M_FORBIDDEN']);
    }
  });
});
