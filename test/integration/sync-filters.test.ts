/**
 * Every field of a filter at work in a sync, and the sections that depend on how a client asks.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventTemplate } from '../../src/engine/types.ts';
import type { RoomId, UserId } from '../../src/protocol/ids.ts';
import {
  ALICE,
  BOB,
  createPublicRoom,
  createTestEngine,
  member,
  message,
  state,
  type TestEngine,
} from '../support/engine.ts';
import { type ClientEvent, createTestSync, joinedRoom, type Synced } from '../support/sync.ts';

const send = (at: TestEngine, roomId: RoomId, ...templates: readonly EventTemplate[]) =>
  at.engine.send({ roomId, decide: () => templates });

const typesOf = (events: readonly ClientEvent[] | undefined) => (events ?? []).map(({ type }) => type);

const timelineOf = (synced: Synced, roomId: RoomId) =>
  (joinedRoom(synced, roomId)?.timeline.events ?? []).map(({ type, content }) => String(content['body'] ?? type));

test('timelines are filtered by types, senders, rooms and urls', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const { next_batch: since } = await client.get(ALICE);
  const picture = { ...message('picture'), content: { msgtype: 'm.image', body: 'picture', url: 'mxc://a/b' } };
  await send(at, roomId, member(BOB, 'join'), message('by Bob', BOB), message('by Alice'), picture);
  const timeline = async (filter: object) =>
    timelineOf(await client.get(ALICE, { since, filter: { room: { timeline: filter } } }), roomId);
  assert.deepEqual(await timeline({}), ['m.room.member', 'by Bob', 'by Alice', 'picture']);
  assert.deepEqual(await timeline({ types: ['m.room.mess*'] }), ['by Bob', 'by Alice', 'picture']);
  assert.deepEqual(await timeline({ not_types: ['m.room.message'] }), ['m.room.member']);
  assert.deepEqual(await timeline({ types: ['m.*'], not_types: ['m.room.member'] }), ['by Bob', 'by Alice', 'picture']);
  assert.deepEqual(await timeline({ senders: [BOB] }), ['m.room.member', 'by Bob']);
  assert.deepEqual(await timeline({ not_senders: [BOB] }), ['by Alice', 'picture']);
  assert.deepEqual(await timeline({ contains_url: true }), ['picture']);
  assert.deepEqual(await timeline({ contains_url: false, senders: [ALICE] }), ['by Alice']);
  assert.deepEqual(await timeline({ limit: 1 }), ['picture']);
  assert.deepEqual(await timeline({ not_rooms: [roomId] }), []);
  assert.deepEqual(await timeline({ rooms: [roomId], limit: 2 }), ['by Alice', 'picture']);
});

test('rooms, state, ephemeral events and account data are filtered too', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const [roomId, other] = [await createPublicRoom(at), await createPublicRoom(at)];
  const [sent] = await send(at, roomId, message('x'));
  assert.ok(sent);
  await client.receipts.move(roomId, ALICE, [{ type: 'm.read', eventId: sent.eventId }]);
  client.typing.start(roomId, ALICE);
  for (const [room, type] of [
    [roomId, 'room.a'],
    [roomId, 'room.b'],
    [undefined, 'global.a'],
    [undefined, 'global.b'],
  ] as const) {
    await client.accountData.set({ userId: ALICE, roomId: room, type }, { is: 'set' });
  }
  const get = (filter: object) => client.get(ALICE, { filter });
  assert.deepEqual(Object.keys((await get({ room: { rooms: [other] } })).rooms?.join ?? {}), [other]);
  assert.deepEqual(Object.keys((await get({ room: { not_rooms: [other] } })).rooms?.join ?? {}), [roomId]);
  assert.equal((await get({ room: { rooms: [] } })).rooms, undefined);
  const synced = await get({
    account_data: { types: ['global.*'], not_types: ['global.b'] },
    room: {
      timeline: { limit: 1 },
      state: { types: ['m.room.create', 'm.room.member'], not_types: ['m.room.member'] },
      ephemeral: { not_types: ['m.typing'] },
      account_data: { not_types: ['room.b'] },
    },
  });
  const room = joinedRoom(synced, roomId);
  assert.deepEqual(typesOf(synced.account_data?.events), ['global.a']);
  assert.deepEqual(typesOf(room?.state.events), ['m.room.create']);
  assert.deepEqual(typesOf(room?.ephemeral?.events), ['m.receipt']);
  assert.deepEqual(typesOf(room?.account_data?.events), ['room.a']);
});

test('lazy loading leaves out what the device has, unless redundant members are wanted', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await send(at, roomId, member(BOB, 'join'), message('1', BOB), state('m.room.name', { name: 'room' }));
  const lazy = (redundant: boolean) => ({
    room: { timeline: { limit: 2 }, state: { lazy_load_members: true, include_redundant_members: redundant } },
  });
  for (const redundant of [false, true]) {
    const filter = lazy(redundant);
    const { next_batch: since } = await client.get(ALICE, { filter });
    await send(at, roomId, message('2', BOB));
    const synced = await client.get(ALICE, { filter, since });
    const members = (joinedRoom(synced, roomId)?.state.events ?? []).map(({ state_key: userId }) => userId);
    assert.deepEqual(members, redundant ? [BOB] : []);
  }
});

test('state comes before the timeline or after it, by both names', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const { next_batch: since } = await client.get(ALICE);
  await send(at, roomId, state('m.room.topic', { topic: 'new' }));
  const get = async (useStateAfter: boolean | 'unstable') => {
    const room = joinedRoom(await client.get(ALICE, { since, useStateAfter }), roomId) ?? {};
    const sections = ['state', 'state_after', 'org.matrix.msc4222.state_after'].map((name) => [
      name,
      Reflect.get(room, name),
    ]);
    return Object.fromEntries(
      sections.filter(([, value]) => value !== undefined).map(([name, { events }]) => [name, typesOf(events)]),
    );
  };
  assert.deepEqual(await get(false), { state: [] });
  assert.deepEqual(await get(true), { state_after: ['m.room.topic'] });
  assert.deepEqual(await get('unstable'), { 'org.matrix.msc4222.state_after': ['m.room.topic'] });
});

test('who is banned after they left learns of it, whichever state they ask for', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await send(at, roomId, member(BOB, 'join'), member(BOB, 'leave'));
  const { next_batch: since } = await client.get(BOB);
  await send(at, roomId, member(BOB, 'ban', ALICE));
  const before = (await client.get(BOB, { since })).rooms?.leave?.[roomId];
  assert.deepEqual([typesOf(before?.timeline.events), typesOf(before?.state.events)], [['m.room.member'], []]);
  const after = (await client.get(BOB, { since, useStateAfter: true })).rooms?.leave?.[roomId];
  assert.deepEqual(after?.state_after?.events[0]?.content, { membership: 'ban' });
});

test('archived rooms come when they are asked for, with the data that the user keeps for them', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await send(at, roomId, member(BOB, 'join'), message('before'));
  await client.accountData.set({ userId: BOB, roomId, type: 'my.note' }, { note: 1 });
  await send(at, roomId, member(BOB, 'leave'));
  await send(at, roomId, message('after'));
  assert.equal((await client.get(BOB)).rooms, undefined);
  const { rooms } = await client.get(BOB, { filter: { room: { include_leave: true } } });
  const left = rooms?.leave?.[roomId];
  assert.deepEqual(left?.timeline.events.at(-1)?.content, { membership: 'leave' });
  assert.deepEqual(typesOf(left?.account_data?.events), ['my.note']);
  assert.ok(!JSON.stringify(left).includes('after'));
});

test('a summary comes when the members or the name changed, and only then', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  let { next_batch: since } = await client.get(ALICE);
  const next = async (template: EventTemplate) => {
    await send(at, roomId, template);
    const synced = await client.get(ALICE, { since });
    since = synced.next_batch;
    return joinedRoom(synced, roomId)?.summary;
  };
  const counts = (joined: number, invited: number) => ({
    'm.joined_member_count': joined,
    'm.invited_member_count': invited,
  });
  assert.deepEqual(await next(member(BOB, 'invite', ALICE)), { 'm.heroes': [BOB], ...counts(1, 1) });
  assert.equal(await next(message('x')), undefined);
  assert.deepEqual(await next(member(BOB, 'join')), { 'm.heroes': [BOB], ...counts(2, 0) });
  assert.deepEqual(await next(state('m.room.name', { name: 'A name' })), counts(2, 0));
  assert.deepEqual(await next(state('m.room.name', {})), { 'm.heroes': [BOB], ...counts(2, 0) });
  assert.deepEqual(await next(member(BOB, 'leave')), { 'm.heroes': [BOB], ...counts(1, 0) });
});

test('each event tells the membership that its reader had at it (MSC4115), and knocks have a section', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await send(
    at,
    roomId,
    message('early'),
    member(BOB, 'invite', ALICE),
    message('then'),
    member(BOB, 'join'),
    message('late', BOB),
  );
  const room = joinedRoom(await client.get(BOB), roomId);
  const memberships = (room?.timeline.events ?? []).slice(-5).map(({ unsigned }) => unsigned['membership']);
  assert.deepEqual(memberships, ['leave', 'invite', 'invite', 'join', 'join']);
  const carol = '@carol:test.example' as UserId;
  await send(at, roomId, state('m.room.join_rules', { join_rule: 'knock' }), member(carol, 'knock'));
  const knocked = (await client.get(carol)).rooms?.knock?.[roomId];
  assert.ok(JSON.stringify(Reflect.get(Object(knocked), 'knock_state')).includes('"knock"'));
});
