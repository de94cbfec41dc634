import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MatrixError } from '../../src/protocol/errors.ts';
import type { EventId, RoomId, UserId } from '../../src/protocol/ids.ts';
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
import { bodies, createTestSync, joinedRoom } from '../support/sync.ts';

const CHARLIE = '@charlie:test.example' as UserId;
const send = (at: TestEngine, roomId: RoomId, ...templates: readonly Parameters<typeof message>[]) =>
  at.engine.send({ roomId, decide: () => templates.map(([body, sender]) => message(body, sender)) });
const sendEvents = (at: TestEngine, roomId: RoomId, ...templates: readonly ReturnType<typeof member>[]) =>
  at.engine.send({ roomId, decide: () => templates });

test('a first sync gives the room with its state where the timeline starts', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await sendEvents(at, roomId, state('m.room.name', { name: 'first' }));
  await send(at, roomId, ['one']);
  await sendEvents(at, roomId, state('m.room.name', { name: 'second' }));
  const synced = await client.get(ALICE, { filter: { room: { timeline: { limit: 2 } } } });
  const room = joinedRoom(synced, roomId);
  assert.deepEqual(
    room?.timeline.events.map(({ type }) => type),
    ['m.room.message', 'm.room.name'],
  );
  assert.equal(room?.timeline.limited, true);
  const name = room?.state.events.find(({ type }) => type === 'm.room.name');
  assert.deepEqual(name?.content, { name: 'first' });
  assert.deepEqual(room?.timeline.events[1]?.unsigned['prev_content'], { name: 'first' });
  assert.equal(room?.summary?.['m.joined_member_count'], 1);
  assert.ok(room?.state.events.every((event) => 'origin_server_ts' in event && !('room_id' in event)));
  const after = await client.get(ALICE, { filter: { room: { timeline: { limit: 2 } } }, useStateAfter: true });
  const atEnd = joinedRoom(after, roomId)?.state_after?.events.find(({ type }) => type === 'm.room.name');
  assert.deepEqual(atEnd?.content, { name: 'second' });
});

test('increments bring what is new, and nothing where nothing is', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const first = await client.get(ALICE);
  await send(at, roomId, ['one'], ['two']);
  const second = await client.get(ALICE, { since: first.next_batch });
  assert.deepEqual(bodies(joinedRoom(second, roomId)), ['one', 'two']);
  assert.equal(joinedRoom(second, roomId)?.timeline.limited, false);
  assert.deepEqual(joinedRoom(second, roomId)?.state.events, []);
  assert.equal(joinedRoom(second, roomId)?.summary, undefined);
  const third = await client.get(ALICE, { since: second.next_batch });
  assert.equal(third.rooms, undefined);
  assert.equal(third.account_data, undefined);
});

test('a gap is limited, and brings the state that changed in it', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const { next_batch } = await client.get(ALICE);
  await sendEvents(at, roomId, state('m.room.topic', { topic: 'in the gap' }));
  for (let index = 0; index < 20; index++) await send(at, roomId, [`${index}`]);
  for (const restarted of [false, true]) {
    const from = restarted ? createTestSync(await at.restart()) : client;
    const room = joinedRoom(await from.get(ALICE, { since: next_batch }), roomId);
    assert.equal(room?.timeline.events.length, 10);
    assert.equal(room?.timeline.limited, true);
    assert.deepEqual(
      room?.state.events.map(({ content }) => content),
      [{ topic: 'in the gap' }],
    );
  }
});

test('a joining user gets the whole room, with their membership at each event', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await send(at, roomId, ['before']);
  const { next_batch } = await client.get(BOB);
  await sendEvents(at, roomId, member(BOB, 'join'));
  await send(at, roomId, ['after']);
  const room = joinedRoom(await client.get(BOB, { since: next_batch }), roomId);
  assert.deepEqual(bodies(room), ['before', 'after']);
  assert.equal(room?.timeline.limited, true);
  const memberships = room?.timeline.events.map(({ unsigned }) => unsigned['membership']);
  assert.deepEqual(memberships?.slice(-3), ['leave', 'join', 'join']);
  assert.ok(memberships?.slice(0, -2).every((membership) => membership === 'leave'));
});

test('what was said before a join stays hidden where the room says so', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await sendEvents(at, roomId, state('m.room.history_visibility', { history_visibility: 'joined' }));
  await send(at, roomId, ['secret']);
  await sendEvents(at, roomId, member(BOB, 'join'));
  await send(at, roomId, ['open']);
  for (const restarted of [false, true]) {
    const from = restarted ? createTestSync(await at.restart()) : client;
    assert.deepEqual(bodies(joinedRoom(await from.get(BOB), roomId)), ['open']);
    assert.ok(bodies(joinedRoom(await from.get(ALICE), roomId)).includes('secret'));
  }
});

test('who left sees what came before and nothing after', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await sendEvents(at, roomId, member(BOB, 'join'));
  const { next_batch } = await client.get(BOB);
  await send(at, roomId, ['before']);
  await sendEvents(at, roomId, state('m.room.topic', { topic: 'before' }), member(BOB, 'leave'));
  await send(at, roomId, ['after']);
  await sendEvents(at, roomId, state('m.room.topic', { topic: 'after' }));
  for (const restarted of [false, true]) {
    const from = restarted ? createTestSync(await at.restart()) : client;
    const left = await from.get(BOB, { since: next_batch });
    assert.equal(joinedRoom(left, roomId), undefined);
    const room = left.rooms?.leave?.[roomId];
    assert.deepEqual(bodies(room), ['before']);
    assert.equal(room?.timeline.events.at(-1)?.state_key, BOB);
    assert.deepEqual(room?.state.events, []);
    const again = await from.get(BOB, { since: left.next_batch });
    assert.equal(again.rooms, undefined);
    assert.equal((await from.get(BOB)).rooms, undefined);
    const filter = { room: { include_leave: true, timeline: { limit: 0 } } };
    const archived = (await from.get(BOB, { filter })).rooms?.leave?.[roomId];
    const contents = new Map(archived?.state.events.map((event) => [event.type + event.state_key, event.content]));
    assert.deepEqual(contents.get('m.room.topic'), { topic: 'before' });
    assert.equal(contents.get(`m.room.member${BOB}`)?.['membership'], 'leave');
  }
});

test('leaving and joining again within one sync is a join', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const { next_batch } = await client.get(BOB);
  await sendEvents(at, roomId, member(BOB, 'join'));
  await sendEvents(at, roomId, member(BOB, 'leave'));
  await sendEvents(at, roomId, member(BOB, 'join'));
  const synced = await client.get(BOB, { since: next_batch });
  assert.deepEqual(Object.keys(synced.rooms ?? {}), ['join']);
  const restarted = createTestSync(await at.restart());
  const later = await restarted.get(BOB, { since: next_batch });
  assert.deepEqual(Object.keys(later.rooms ?? {}), ['join']);
  assert.equal(joinedRoom(later, roomId)?.timeline.events[0]?.type, 'm.room.create');
});

test('an invitation comes with stripped state, and declining it tells nothing of the room', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await sendEvents(at, roomId, state('m.room.name', { name: 'Room' }), state('m.secret', { secret: true }));
  await send(at, roomId, ['secret']);
  await sendEvents(at, roomId, member(BOB, 'invite', ALICE));
  const invited = await client.get(BOB);
  const stripped = invited.rooms?.invite?.[roomId]?.invite_state?.events ?? [];
  assert.deepEqual(
    stripped.map(({ type, state_key }) => `${type} ${state_key}`),
    ['m.room.create ', 'm.room.join_rules ', 'm.room.name ', `m.room.member ${ALICE}`, `m.room.member ${BOB}`],
  );
  for (const { origin_server_ts: madeAt, ...event } of stripped) {
    assert.deepEqual(Object.keys(event).sort(), ['content', 'sender', 'state_key', 'type']);
    assert.equal(madeAt !== undefined, event.type === 'm.room.create');
  }
  assert.equal((await client.get(BOB, { since: invited.next_batch })).rooms, undefined);
  await sendEvents(at, roomId, member(BOB, 'leave'));
  const declined = await client.get(BOB, { since: invited.next_batch });
  const left = declined.rooms?.leave?.[roomId];
  assert.deepEqual(
    left?.timeline.events.map(({ state_key }) => state_key),
    [BOB],
  );
  assert.deepEqual(left?.state.events, []);
});

test('lazy loading sends the members that are needed, once', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await sendEvents(at, roomId, member(BOB, 'join'), member(CHARLIE, 'join'));
  await sendEvents(at, roomId, state('m.room.name', { name: 'named' }));
  await send(at, roomId, ['from bob', BOB]);
  const filter = { room: { timeline: { limit: 1 }, state: { lazy_load_members: true } } };
  const membersIn = (synced: Awaited<ReturnType<typeof client.get>>) =>
    joinedRoom(synced, roomId)
      ?.state.events.filter(({ type }) => type === 'm.room.member')
      .map(({ state_key }) => state_key)
      .sort();
  const first = await client.get(ALICE, { filter });
  assert.deepEqual(membersIn(first), [ALICE, BOB]);
  await send(at, roomId, ['from bob again', BOB]);
  assert.deepEqual(membersIn(await client.get(ALICE, { filter, since: first.next_batch })), []);
  await send(at, roomId, ['from charlie', CHARLIE]);
  const second = await client.get(ALICE, { filter, since: first.next_batch });
  assert.deepEqual(membersIn(second), [CHARLIE]);
  // The answer was lost: the same request gives the same again.
  assert.deepEqual(membersIn(await client.get(ALICE, { filter, since: first.next_batch })), [CHARLIE]);
  const redundant = { room: { ...filter.room, state: { lazy_load_members: true, include_redundant_members: true } } };
  assert.deepEqual(membersIn(await client.get(ALICE, { filter: redundant, since: first.next_batch })), [CHARLIE]);
});

test('account data, receipts and typing come in their sections', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await sendEvents(at, roomId, member(BOB, 'join'));
  const [sent] = await send(at, roomId, ['read me']);
  assert.ok(sent);
  const { next_batch } = await client.get(ALICE);
  await client.accountData.set({ userId: ALICE, roomId: undefined, type: 'my.config' }, { a: 1 });
  await client.accountData.set({ userId: ALICE, roomId, type: 'm.tag' }, { tags: {} });
  await client.receipts.move(roomId, BOB, [
    { type: 'm.read', eventId: sent.eventId, threadId: 'main' },
    { type: 'm.read.private', eventId: sent.eventId },
  ]);
  client.typing.start(roomId, BOB);
  for (const restarted of [false, true]) {
    const from = restarted ? createTestSync(await at.restart()) : client;
    const synced = await from.get(ALICE, { since: next_batch });
    assert.deepEqual(
      synced.account_data?.events.map(({ type, content }) => [type, content]),
      [['my.config', { a: 1 }]],
    );
    const room = joinedRoom(synced, roomId);
    assert.deepEqual(
      room?.account_data?.events.map(({ type }) => type),
      ['m.tag'],
    );
    assert.deepEqual(room?.timeline.events, []);
    const receipt = room?.ephemeral?.events.find(({ type }) => type === 'm.receipt')?.content;
    assert.match(JSON.stringify(receipt), /"thread_id":"main"/);
    assert.ok(!JSON.stringify(receipt).includes('m.read.private'), 'private receipts are private');
    const typing = room?.ephemeral?.events.find(({ type }) => type === 'm.typing')?.content;
    assert.deepEqual(typing, restarted ? undefined : { user_ids: [BOB] });
    assert.ok(JSON.stringify(await from.get(BOB, { since: next_batch })).includes('m.read.private'));
  }
});

test('a first sync has push rules, receipts and account data', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const [sent] = await send(at, roomId, ['read me']);
  assert.ok(sent);
  await client.receipts.move(roomId, ALICE, [
    { type: 'm.fully_read', eventId: sent.eventId },
    { type: 'm.read', eventId: sent.eventId },
  ]);
  const synced = await client.get(ALICE);
  assert.deepEqual(
    synced.account_data?.events.map(({ type }) => type),
    ['m.push_rules'],
  );
  const room = joinedRoom(synced, roomId);
  assert.deepEqual(
    room?.account_data?.events.map(({ type, content }) => [type, content]),
    [['m.fully_read', { event_id: sent.eventId }]],
  );
  assert.deepEqual(
    room?.ephemeral?.events.map(({ type }) => type),
    ['m.receipt'],
  );
});

test('receipts never move back, and only members send them', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const [first] = await send(at, roomId, ['one']);
  const [second] = await send(at, roomId, ['two']);
  assert.ok(first && second);
  await client.receipts.move(roomId, ALICE, [{ type: 'm.read', eventId: second.eventId }]);
  const { next_batch } = await client.get(ALICE);
  await client.receipts.move(roomId, ALICE, [{ type: 'm.read', eventId: first.eventId }]);
  assert.equal((await client.get(ALICE, { since: next_batch })).rooms, undefined);
  const move = (userId: UserId, eventId: string, threadId?: string) =>
    client.receipts.move(roomId, userId, [{ type: 'm.read', eventId, threadId }]);
  const refuses = (work: Promise<void>, errcode: string) =>
    assert.rejects(work, (cause) => cause instanceof MatrixError && cause.errcode === errcode);
  await refuses(move(BOB, second.eventId), 'M_FORBIDDEN');
  await refuses(move(ALICE, '$unknown' as EventId), 'M_INVALID_PARAM');
  await refuses(move(ALICE, second.eventId, ''), 'M_INVALID_PARAM');
  await refuses(move(ALICE, second.eventId, '$thread'), 'M_INVALID_PARAM');
  const otherRoom = await createPublicRoom(at);
  const [other] = await send(at, otherRoom, ['elsewhere']);
  assert.ok(other);
  await refuses(move(ALICE, other.eventId), 'M_INVALID_PARAM');
});

test('ignored users are not heard, but their state is', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  await sendEvents(at, roomId, member(BOB, 'join'));
  const { next_batch } = await client.get(ALICE);
  await client.accountData.set(
    { userId: ALICE, roomId: undefined, type: 'm.ignored_user_list' },
    { ignored_users: { [BOB]: {} } },
  );
  await send(at, roomId, ['ignored', BOB], ['heard', ALICE]);
  await sendEvents(at, roomId, member(BOB, 'leave'));
  const room = joinedRoom(await client.get(ALICE, { since: next_batch }), roomId);
  assert.deepEqual(bodies(room), ['heard']);
  assert.ok(room?.timeline.events.some(({ state_key }) => state_key === BOB));
});

test('what was redacted is gone from everything that a sync sends', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const { next_batch } = await client.get(ALICE);
  const [secret] = await sendEvents(at, roomId, state('m.room.topic', { topic: 'secret' }));
  assert.ok(secret);
  await sendEvents(at, roomId, state('m.room.topic', { topic: 'harmless' }));
  const { eventId } = secret;
  const redaction = { type: 'm.room.redaction', sender: ALICE, content: {}, redacts: eventId };
  await at.engine.send({ roomId, redacts: eventId, decide: () => [redaction] });
  for (const parameters of [{}, { since: next_batch }, { since: next_batch, useStateAfter: true }]) {
    assert.ok(!JSON.stringify(await client.get(ALICE, parameters)).includes('secret'));
  }
});

test('the transaction id is for the device that sent the event', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  const roomId = await createPublicRoom(at);
  const { next_batch } = await client.get(ALICE);
  const transaction = { userId: ALICE, deviceId: 'DEVICE', path: '/send', txnId: 'txn1' };
  await at.engine.send({ roomId, transaction, decide: () => [message('mine')] });
  const txnIdFor = async (deviceId: string) => {
    const room = joinedRoom(await client.get(ALICE, { since: next_batch, deviceId }), roomId);
    return room?.timeline.events[0]?.unsigned['transaction_id'];
  };
  assert.equal(await txnIdFor('DEVICE'), 'txn1');
  assert.equal(await txnIdFor('OTHER'), undefined);
});

test('hostile tokens and filters are refused', async () => {
  await using at = await createTestEngine();
  using client = createTestSync(at);
  await createPublicRoom(at);
  const errcodeOf = async (work: Promise<unknown>) => {
    try {
      await work;
    } catch (cause) {
      if (cause instanceof MatrixError) return `${cause.status} ${cause.errcode}`;
      throw cause;
    }
    return 'no error';
  };
  for (const since of [
    's1_2_3',
    'h1_1.999999999',
    'h1_1.x',
    '~',
    'h1_1.1~',
    '\u0000',
    'h1_1.9007199254740991~test.0',
  ]) {
    assert.equal(await errcodeOf(client.get(ALICE, { since })), '400 M_INVALID_PARAM', since);
  }
  for (const filter of ['{', '{"room":3}', '{"room":{"timeline":{"limit":-1}}}', `{"room":{"rooms":"x"}}`, 'unknown']) {
    assert.match(await errcodeOf(client.get(ALICE, { filter })), /^400 M_(NOT_JSON|BAD_JSON|INVALID_PARAM)$/, filter);
  }
  for (const filter of [
    { room: { timeline: { types: ['**********a*b*c*d*e*f*g'] } } },
    { room: { timeline: { limit: 1e9 } } },
    { room: { rooms: [] } },
    { event_fields: ['__proto__', 'content.__proto__.x', 'a\\.b'] },
  ]) {
    assert.equal(await errcodeOf(client.get(ALICE, { filter })), 'no error');
  }
});
