/**
 * Pushers: what gateways are told, in which order and how often, what they may answer, and where they may be.
 */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { Clock } from '../../src/lib/clock.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { createNetworkPolicy, DeniedAddressError, type ResolveName } from '../../src/lib/network-policy.ts';
import type { RoomId, UserId } from '../../src/protocol/ids.ts';
import type { JsonObject } from '../../src/protocol/pdu.ts';
import { placePushRule } from '../../src/protocol/push-ruleset.ts';
import { createPushGateway } from '../../src/push/push-gateway.ts';
import { MAX_RETRIES, startPushSender } from '../../src/push/push-sender.ts';
import { createPushers } from '../../src/push/pushers.ts';
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
import { createTestSync } from '../support/sync.ts';

const PATH = '/_matrix/push/v1/notify';

/** What a gateway does with a request: a status, or an answer with 200. */
type Reaction = number | JsonObject;

async function startGateway() {
  const received: JsonObject[] = [];
  const reactions: Reaction[] = [];
  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      assert.equal(request.url, PATH);
      assert.equal(request.method, 'POST');
      received.push((JSON.parse(body) as { notification: JsonObject }).notification);
      const reaction = reactions.shift() ?? { rejected: [] };
      response.statusCode = typeof reaction === 'number' ? reaction : 200;
      if (response.statusCode === 302) response.setHeader('location', 'http://127.0.0.1:1/');
      response.end(typeof reaction === 'number' ? '' : JSON.stringify(reaction));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${PATH}`,
    received,
    reactions,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      // After that nobody else gets in.
      server.closeAllConnections();
      await closed;
    },
  };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString();
}

/** Retries come at once; how long they were to wait is noted. */
function createHastyClock(delays: number[]): Clock {
  return {
    ...systemClock,
    after(delay, callback) {
      delays.push(delay);
      return systemClock.after(Math.min(delay, 5), callback);
    },
  };
}

function startPushing(at: TestEngine, options: { allowed?: readonly string[]; delays?: number[] } = {}) {
  const client = createTestSync(at);
  const { database } = at.db;
  const policy = createNetworkPolicy({ allowed: options.allowed ?? ['127.0.0.0/8'] });
  const pushers = createPushers({ database, getPosition: () => at.committer.position, allowsHttp: true });
  const gateway = createPushGateway({ clock: systemClock, policy, userAgent: 'test' });
  const start = async () => {
    await pushers.start();
    return startPushSender({
      database,
      clock: createHastyClock(options.delays ?? []),
      logger: silentLogger,
      notifications: client.notifications,
      pushers,
      gateway,
      rooms: at.engine,
      allowsHttp: true,
    });
  };
  return {
    ...client,
    pushers,
    start,
    set: (userId: UserId, url: string, fields: { pushkey?: string; data?: JsonObject; append?: boolean } = {}) =>
      pushers.set(
        {
          userId,
          deviceId: 'DEVICE',
          appId: 'an.app',
          pushkey: fields.pushkey ?? 'key',
          kind: 'http',
          appDisplayName: 'App',
          deviceDisplayName: 'Phone',
          profileTag: '',
          lang: 'en',
          data: { url, ...fields.data },
        },
        fields.append ?? false,
      ),
    async settle() {
      await client.notifications.count(BOB, ['!nowhere' as RoomId], at.committer.position);
      await client.notifications.flush();
    },
    [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose](),
  };
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    assert.ok(tries < 500, 'it did not happen');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function createRoomOfTwo(at: TestEngine): Promise<RoomId> {
  const roomId = await createPublicRoom(at);
  await at.engine.send({ roomId, decide: () => [member(BOB, 'join'), state('m.room.name', { name: 'The room' })] });
  return roomId;
}

const bodiesOf = (received: readonly JsonObject[]) =>
  received.map(({ content }) => Reflect.get(Object(content), 'body'));

test('a notification goes to the gateway with what its format asks for', async () => {
  await using at = await createTestEngine();
  await using gateway = await startGateway();
  await using push = startPushing(at);
  await using _sender = await push.start();
  const roomId = await createRoomOfTwo(at);
  await push.set(BOB, gateway.url, { data: { custom: 1 } });
  const [first] = await at.engine.send({ roomId, decide: () => [message('hello bob')] });
  await push.settle();
  await until(() => gateway.received.length === 1);
  assert.deepEqual(gateway.received[0], {
    event_id: first?.eventId,
    room_id: roomId,
    type: 'm.room.message',
    sender: ALICE,
    content: { msgtype: 'm.text', body: 'hello bob' },
    room_name: 'The room',
    prio: 'high',
    counts: { unread: 1 },
    devices: [
      {
        app_id: 'an.app',
        pushkey: 'key',
        data: { custom: 1 },
        tweaks: { sound: 'default', highlight: true },
      },
    ],
  });
  await push.set(BOB, gateway.url, { data: { format: 'event_id_only' } });
  const [second] = await at.engine.send({ roomId, decide: () => [message('again'), message('by Bob', BOB)] });
  await push.settle();
  await until(() => gateway.received.length === 2);
  assert.deepEqual(gateway.received[1], {
    event_id: second?.eventId,
    room_id: roomId,
    prio: 'high',
    counts: { unread: 2 },
    devices: [{ app_id: 'an.app', pushkey: 'key', data: { format: 'event_id_only' } }],
  });
});

test('F9: a gateway that fails three times gets the notification once more, and a rejected pushkey goes alone', async () => {
  await using at = await createTestEngine();
  await using gateway = await startGateway();
  const delays: number[] = [];
  await using push = startPushing(at, { delays });
  await using _sender = await push.start();
  const roomId = await createRoomOfTwo(at);
  await push.set(BOB, gateway.url, { pushkey: 'one' });
  gateway.reactions.push(500, 502, 500);
  await at.engine.send({ roomId, decide: () => [message('first')] });
  await push.settle();
  await until(() => gateway.received.length === 4);
  await at.engine.send({ roomId, decide: () => [message('second')] });
  await push.settle();
  await until(() => gateway.received.length === 5);
  assert.deepEqual(bodiesOf(gateway.received), ['first', 'first', 'first', 'first', 'second']);
  assert.deepEqual(delays, [2_000, 12_000, 72_000]);
  await push.set(BOB, gateway.url, { pushkey: 'two' });
  gateway.reactions.push({ rejected: ['one', 'of somebody else'] }, { rejected: ['one'] });
  await at.engine.send({ roomId, decide: () => [message('third')] });
  await push.settle();
  await until(() => gateway.received.length === 7);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const left = (await push.pushers.list(BOB)).map(({ pushkey }) => pushkey);
  assert.deepEqual(left, ['two']);
});

test('limit 36: a notification is given up after five retries, each later than the last, and the next gets its try', async () => {
  await using at = await createTestEngine();
  await using gateway = await startGateway();
  const delays: number[] = [];
  await using push = startPushing(at, { delays });
  await using _sender = await push.start();
  const roomId = await createRoomOfTwo(at);
  await push.set(BOB, gateway.url);
  gateway.reactions.push(...Array.from({ length: MAX_RETRIES + 1 }, () => 500));
  await at.engine.send({ roomId, decide: () => [message('lost'), message('found')] });
  await push.settle();
  await until(() => gateway.received.length === MAX_RETRIES + 2);
  assert.deepEqual(bodiesOf(gateway.received), [...Array.from({ length: MAX_RETRIES + 1 }, () => 'lost'), 'found']);
  assert.ok(delays.every((delay, index) => delay >= (delays[index - 1] ?? 0) && delay <= 60 * 60_000));
});

test('a crash loses no push: what was not taken before is sent after the start', async () => {
  await using at = await createTestEngine();
  await using gateway = await startGateway();
  const roomId = await createRoomOfTwo(at);
  {
    await using push = startPushing(at);
    await push.set(BOB, gateway.url);
    // The sender never ran.
    await at.engine.send({ roomId, decide: () => [message('one'), message('two')] });
    const [read] = await at.engine.send({ roomId, decide: () => [message('three')] });
    assert.ok(read);
    await push.settle();
  }
  const again = await at.restart();
  await using push = startPushing(again);
  await using _sender = await push.start();
  await until(() => gateway.received.length === 3);
  assert.deepEqual(bodiesOf(gateway.received), ['one', 'two', 'three']);
});

test('what was read or is not to be notified of is not pushed', async () => {
  await using at = await createTestEngine();
  await using gateway = await startGateway();
  await using push = startPushing(at);
  const roomId = await createRoomOfTwo(at);
  await push.set(BOB, gateway.url);
  const [read] = await at.engine.send({ roomId, decide: () => [message('read')] });
  assert.ok(read);
  await push.receipts.move(roomId, BOB, [{ type: 'm.read', eventId: read.eventId }]);
  await push.pushRules.change(BOB, (rules) =>
    placePushRule(rules, 'sender', { rule: { rule_id: ALICE, default: false, enabled: true, actions: [] } }),
  );
  await at.engine.send({ roomId, decide: () => [message('muted'), message('by Bob', BOB)] });
  const mention = {
    ...message('x'),
    content: { msgtype: 'm.text', body: 'mention', 'm.mentions': { user_ids: [BOB] } },
  };
  await at.engine.send({ roomId, decide: () => [mention] });
  await push.settle();
  await using _sender = await push.start();
  await until(() => gateway.received.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(bodiesOf(gateway.received), ['mention']);
});

test('an invite is pushed to who is invited', async () => {
  await using at = await createTestEngine();
  await using gateway = await startGateway();
  await using push = startPushing(at);
  await using _sender = await push.start();
  const roomId = await createPublicRoom(at);
  await push.set(BOB, gateway.url);
  await at.engine.send({ roomId, decide: () => [member(BOB, 'invite', ALICE)] });
  await push.settle();
  await until(() => gateway.received.length === 1);
  assert.equal(gateway.received[0]?.['user_is_target'], true);
});

test('pushers of others with the same key go unless both are wanted, and all go with their session', async () => {
  await using at = await createTestEngine();
  await using push = startPushing(at);
  const url = `https://push.example${PATH}`;
  const count = async (userId: UserId) => (await push.pushers.list(userId)).length;
  await push.set(ALICE, url);
  await push.set(BOB, url, { append: true });
  assert.deepEqual([await count(ALICE), await count(BOB)], [1, 1]);
  await push.set(BOB, url);
  assert.deepEqual([await count(ALICE), await count(BOB)], [0, 1]);
  await push.set(BOB, url, { pushkey: 'another' });
  await push.pushers.delete({ userId: BOB, appId: 'an.app', pushkey: 'another' });
  assert.equal(await count(BOB), 1);
  await push.pushers.deleteOfDevices(BOB, ['OTHER']);
  assert.equal(await count(BOB), 1);
  await push.pushers.deleteOfDevices(BOB, ['DEVICE']);
  assert.equal(await count(BOB), 0);
});

test('limit 36: a gateway is an https URL with the path of the specification, and sizes are bounded', async () => {
  await using at = await createTestEngine();
  const pushers = createPushers({ database: at.db.database, getPosition: () => 0, allowsHttp: false });
  const pusher = {
    userId: BOB,
    deviceId: 'DEVICE',
    appId: 'an.app',
    pushkey: 'key',
    kind: 'http',
    appDisplayName: '',
    deviceDisplayName: '',
    profileTag: '',
    lang: 'en',
    data: { url: `https://push.example${PATH}` },
  };
  await pushers.set(pusher, false);
  for (const url of [
    `http://push.example${PATH}`,
    'https://push.example/',
    `https://push.example${PATH}/more`,
    `https://user:secret@push.example${PATH}`,
    `https://push.example${PATH}?a=b`,
    'no url',
    5,
    undefined,
  ]) {
    const data = url === undefined ? {} : { url };
    await assert.rejects(pushers.set({ ...pusher, data }, false), { errcode: 'M_INVALID_PARAM' }, String(url));
  }
  await assert.rejects(pushers.set({ ...pusher, kind: 'email' }, false), { errcode: 'M_INVALID_PARAM' });
  await assert.rejects(pushers.set({ ...pusher, pushkey: 'x'.repeat(513) }, false), { errcode: 'M_INVALID_PARAM' });
  await assert.rejects(pushers.set({ ...pusher, appId: 'x'.repeat(65) }, false), { errcode: 'M_INVALID_PARAM' });
  const data = { ...pusher.data, more: 'x'.repeat(5_000) };
  await assert.rejects(pushers.set({ ...pusher, data }, false), { errcode: 'M_TOO_LARGE' });
  for (let index = 0; index < 49; index++) await pushers.set({ ...pusher, pushkey: `key ${index}` }, false);
  await assert.rejects(pushers.set({ ...pusher, pushkey: 'one more' }, false), { errcode: 'M_TOO_LARGE' });
});

test('D7: gateways in private networks are not reached, by address, by name or by redirect', async () => {
  await using gateway = await startGateway();
  const { port } = new URL(gateway.url);
  const notify = async (url: string, options: { allowed?: readonly string[]; resolve?: ResolveName } = {}) => {
    const policy = createNetworkPolicy({ allowed: options.allowed ?? [] });
    await using client = createPushGateway({ clock: systemClock, policy, userAgent: 'test', resolve: options.resolve });
    return await client.notify(new URL(url), { devices: [] });
  };
  for (const host of [
    '127.0.0.1',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '0x7f.1',
    '0.0.0.0',
    '10.0.0.1',
    '169.254.169.254',
    '[64:ff9b::7f00:1]',
  ]) {
    await assert.rejects(notify(`http://${host}:${port}${PATH}`), { message: 'a host that is not allowed' }, host);
  }
  const resolve: ResolveName = async () => [{ address: '127.0.0.1', family: 4 }];
  await assert.rejects(
    notify(`http://push.example:${port}${PATH}`, { resolve }),
    (error: Error) => error.cause instanceof DeniedAddressError,
  );
  assert.equal(gateway.received.length, 0);
  const allowed = ['127.0.0.0/8'];
  assert.deepEqual(await notify(`http://push.example:${port}${PATH}`, { resolve, allowed }), []);
  gateway.reactions.push(302);
  await assert.rejects(notify(gateway.url, { allowed }), { message: 'status 302' });
});
