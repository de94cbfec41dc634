import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { at, textAt } from '../support/json.ts';
import { type RoomsServer, startRoomsServer, type TestRoom, userId } from '../support/rooms-server.ts';

describe('room upgrade', () => {
  let server: RoomsServer;
  before(async () => {
    server = await startRoomsServer();
  });
  after(() => server[Symbol.asyncDispose]());

  async function upgrade(room: TestRoom, by: string, body: Readonly<Record<string, unknown>>): Promise<TestRoom> {
    const answer = await server.as(by).room(room.roomId).ok('POST', '/upgrade', body);
    return server.as(by).room(textAt(answer, 'replacement_room'));
  }

  test('moves what makes the room', async () => {
    const alice = server.as('alice');
    const old = await alice.createRoom({
      room_version: '10',
      preset: 'public_chat',
      visibility: 'public',
      room_alias_name: 'moving',
      name: 'Name',
      topic: 'Topic',
      creation_content: { type: 'm.space', 'm.federate': false },
      initial_state: [{ type: 'm.room.encryption', content: { algorithm: 'x' } }],
    });
    await old.setState('m.space.child', { via: ['test.example'] }, '!child:test.example');
    await old.setState('a.private', { kept: false });
    for (const name of ['bob', 'carol']) await server.as(name).room(old.roomId).join();
    await old.ok('POST', '/ban', { user_id: userId('carol'), reason: 'noise' });
    const room = await upgrade(old, 'alice', { new_version: '12' });

    assert.deepEqual(await room.state('m.room.create'), {
      type: 'm.space',
      'm.federate': false,
      room_version: '12',
      predecessor: { room_id: old.roomId },
    });
    assert.equal(at(await room.state('m.room.name'), 'name'), 'Name');
    assert.equal(at(await room.state('m.room.topic'), 'topic'), 'Topic');
    assert.deepEqual(await room.state('m.room.encryption'), { algorithm: 'x' });
    assert.deepEqual(await room.state('m.room.join_rules'), { join_rule: 'public' });
    assert.deepEqual(await room.state('m.space.child', '!child:test.example'), { via: ['test.example'] });
    assert.deepEqual(await room.state('m.room.member', userId('carol')), { membership: 'ban', reason: 'noise' });
    assert.equal((await room.get('/state/a.private')).status, 404);
    assert.equal((await room.get(`/state/m.room.member/${userId('bob')}`)).status, 404);
    assert.deepEqual(await room.state('m.room.canonical_alias'), { alias: '#moving:test.example' });
    assert.deepEqual(await old.state('m.room.canonical_alias'), {});
    assert.equal(at((await alice.get('/directory/room/%23moving:test.example')).body, 'room_id'), room.roomId);
    const listed = async (id: string) =>
      at((await alice.get(`/directory/list/room/${encodeURIComponent(id)}`)).body, 'visibility');
    assert.deepEqual([await listed(old.roomId), await listed(room.roomId)], ['private', 'public']);
    assert.equal(at(await old.state('m.room.tombstone'), 'replacement_room'), room.roomId);
    const closed = await old.state('m.room.power_levels');
    assert.deepEqual([at(closed, 'events_default'), at(closed, 'invite')], [50, 50]);
    assert.equal((await server.as('bob').room(old.roomId).call('PUT', '/send/m.room.message/1', {})).status, 403);
    const copied = server.copiedSettings.at(-1);
    assert.deepEqual([copied?.from, copied?.to], [old.roomId, room.roomId]);
    assert.deepEqual([...(copied?.userIds ?? [])].sort(), [userId('alice'), userId('bob')]);
  });

  const levels = { alice: userId('alice'), bob: userId('bob'), carol: userId('carol') };
  const cases = [
    { from: '11', to: '12', by: 'bob', users: { [levels.bob]: 100 }, expected: {} },
    {
      from: '11',
      to: '12',
      by: 'bob',
      users: { [levels.bob]: 100, [levels.carol]: 100 },
      expected: { [levels.carol]: 100 },
    },
    { from: '12', to: '12', by: 'bob', users: { [levels.bob]: 150 }, creators: [levels.carol], expected: {} },
    {
      from: '12',
      to: '12',
      by: 'bob',
      users: { [levels.bob]: 150, [levels.carol]: 50 },
      creators: [levels.carol],
      expected: {},
    },
    {
      from: '11',
      to: '12',
      by: 'alice',
      users: { [levels.alice]: 100, [levels.bob]: 100 },
      creators: [levels.bob],
      expected: {},
    },
    {
      from: '9',
      to: '11',
      by: 'alice',
      users: { [levels.alice]: 100, [levels.bob]: 50 },
      expected: { [levels.alice]: 100, [levels.bob]: 50 },
    },
    {
      from: '12',
      to: '11',
      by: 'alice',
      users: { [levels.bob]: 50 },
      expected: { [levels.alice]: 100, [levels.bob]: 50 },
    },
    {
      from: '10',
      to: '11',
      by: 'bob',
      users: { [levels.alice]: 200, [levels.bob]: 100 },
      expected: { [levels.alice]: 200, [levels.bob]: 100 },
    },
  ];
  for (const { from, to, by, users, creators, expected } of cases) {
    test(`from ${from} to ${to} by ${by}, ${JSON.stringify(users)}`, async () => {
      const old = await server.as('alice').createRoom({
        room_version: from,
        preset: 'public_chat',
        ...(from === '10' && { power_level_content_override: { users: { [levels.alice]: 200 } } }),
      });
      for (const name of ['bob', 'carol']) await server.as(name).room(old.roomId).join();
      await old.setState('m.room.power_levels', { users });
      const room = await upgrade(old, by, { new_version: to, ...(creators && { additional_creators: creators }) });
      assert.deepEqual(at(await room.state('m.room.power_levels'), 'users'), expected);
      const create = await room.state('m.room.create');
      assert.deepEqual(at(create, 'additional_creators'), creators);
      assert.equal(at(create, 'predecessor', 'event_id') === undefined, to === '12');
    });
  }

  test('settings move where no upgrade made the new room, if both rooms say so', async () => {
    const [alice, bob] = [server.as('alice'), server.as('bob')];
    const old = await alice.createRoom({ preset: 'public_chat' });
    await bob.room(old.roomId).join();
    const predecessor = { room_id: old.roomId };
    const create = () => alice.createRoom({ preset: 'public_chat', creation_content: { predecessor } });
    const [room, impostor] = [await create(), await create()];
    const seen = server.copiedSettings.length;
    await bob.room(impostor.roomId).join();
    await old.setState('m.room.tombstone', { body: 'moved', replacement_room: '!nowhere:test.example' });
    await old.setState('m.room.tombstone', { body: 'moved', replacement_room: 5 });
    assert.equal(server.copiedSettings.length, seen);
    await old.setState('m.room.tombstone', { body: 'moved', replacement_room: room.roomId });
    const move = { from: old.roomId, to: room.roomId };
    assert.deepEqual(server.copiedSettings.slice(seen), [{ ...move, userIds: [alice.userId, bob.userId] }]);
    await bob.room(room.roomId).join();
    assert.deepEqual(server.copiedSettings.at(-1), { ...move, userIds: [bob.userId] });
    await bob.room(room.roomId).leave();
    await bob.room(room.roomId).join();
    await server.as('stranger').room(room.roomId).join();
    assert.equal(server.copiedSettings.length, seen + 2);
  });

  test('is for who may close the room, and for versions that exist', async () => {
    const old = await server.as('alice').createRoom({ preset: 'public_chat' });
    const bob = server.as('bob').room(old.roomId);
    await bob.join();
    const refusal = await bob.call('POST', '/upgrade', { new_version: '12' });
    assert.deepEqual([refusal.status, at(refusal.body, 'errcode')], [403, 'M_FORBIDDEN']);
    const unknown = await old.call('POST', '/upgrade', { new_version: '99' });
    assert.deepEqual([unknown.status, at(unknown.body, 'errcode')], [400, 'M_UNSUPPORTED_ROOM_VERSION']);
    const missing = await old.call('POST', '/upgrade', {});
    assert.deepEqual([missing.status, at(missing.body, 'errcode')], [400, 'M_MISSING_PARAM']);
  });

  test('copies more bans than one commit takes', async () => {
    const old = await server.as('alice').createRoom({ preset: 'public_chat' });
    const banned = Array.from({ length: 350 }, (_, index) => userId(`spam${index}`));
    await Promise.all(banned.map((user) => old.ok('POST', '/ban', { user_id: user })));
    const room = await upgrade(old, 'alice', { new_version: '11' });
    const members = await room.ok('GET', '/members?membership=ban');
    assert.equal((at(members, 'chunk') as unknown[]).length, 350);
    assert.deepEqual(at(await room.state('m.room.power_levels'), 'users'), { [userId('alice')]: 100 });
  });
});
