/**
 * Sending events: who gets what, in which order, once; and what becomes of it when servers are away. The engine and the
 * database are real, the servers are what a test says.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventTemplate } from '../../src/engine/types.ts';
import type { FederationRequest } from '../../src/federation/client.ts';
import { FederationError, mayPass } from '../../src/federation/federation-error.ts';
import { createRoomServers } from '../../src/federation/room-servers.ts';
import { createSender, type Sender } from '../../src/federation/sender.ts';
import { createServerPolicy } from '../../src/federation/server-policy.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { secureRandom } from '../../src/lib/random.ts';
import type { RoomId, ServerName, UserId } from '../../src/protocol/ids.ts';
import type { JsonObject } from '../../src/protocol/pdu.ts';
import { listDestinations } from '../../src/storage/destinations.ts';
import {
  ALICE,
  createPublicRoom,
  createTestEngine,
  member,
  message,
  SERVER,
  state,
  type TestEngine,
} from '../support/engine.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { createTestClock, type TestClock } from '../support/test-clock.ts';

const HOUR = 60 * 60 * 1000;

interface Sent {
  readonly to: string;
  readonly txnId: string;
  readonly bodies: readonly string[];
  readonly content: string;
}

interface World extends AsyncDisposable {
  at: TestEngine;
  sender: Sender;
  readonly clock: TestClock;
  readonly sent: Sent[];
  /** EDUs that a feature keeps for b.example. */
  readonly stored: JsonObject[];
  /** Attempts, those that failed included. */
  readonly attempts: string[];
  /** Decides what a server does with a transaction; takes it where it returns nothing. */
  answer: (to: string, body: unknown) => FederationError | undefined | Promise<FederationError | undefined>;
  send(roomId: RoomId, ...events: readonly EventTemplate[]): Promise<void>;
  /** Lets everything that can go on now go on. */
  settle(): Promise<void>;
  /** The server ends, in good order or without, and starts again. */
  restart(how: 'stop' | 'crash'): Promise<void>;
  bodiesFor(server: string): readonly string[];
}

const b = (name: string, server = 'b.example'): UserId => `@${name}:${server}` as UserId;

async function createWorld(): Promise<World> {
  const engine = await createTestEngine();
  const clock = createTestClock(Date.now());
  const sent: Sent[] = [];
  const attempts: string[] = [];
  const start = (): Promise<Sender> =>
    createSender({
      database: world.at.db.database,
      engine: world.at.engine,
      roomServers: createRoomServers(),
      hub: world.at.hub,
      committer: world.at.committer,
      client: { fetchJson: (request) => world.take(request) },
      policy: createServerPolicy({ serverName: SERVER, allow: [], deny: ['denied.example'] }),
      clock,
      random: secureRandom,
      logger: silentLogger,
      serverName: SERVER,
      eduSources: [
        {
          async list(serverName, limit) {
            const edus = serverName === 'b.example' ? world.stored.slice(0, limit) : [];
            return { edus, delivered: async () => void world.stored.splice(0, edus.length) };
          },
        },
      ],
    });
  const world = {
    at: engine,
    clock,
    sent,
    stored: [],
    attempts,
    answer: (): FederationError | undefined => undefined,
    async take({ destination, path, content = '', method }: FederationRequest): Promise<JsonObject> {
      assert.equal(method, 'PUT');
      attempts.push(destination);
      const body: unknown = JSON.parse(content);
      const failure = await world.answer(destination, body);
      if (failure !== undefined) throw failure;
      const bodies = listAt(body, 'pdus').map((pdu) =>
        String(at(pdu, 'content', 'body') ?? at(pdu, 'content', 'membership') ?? at(pdu, 'type')),
      );
      sent.push({ to: destination, txnId: path.split('/').at(-1) ?? '', bodies, content });
      return {};
    },
    async send(roomId: RoomId, ...events: readonly EventTemplate[]): Promise<void> {
      await world.at.engine.send({ roomId, decide: () => events });
    },
    async settle(): Promise<void> {
      await world.sender.idle();
    },
    async restart(how: 'stop' | 'crash'): Promise<void> {
      if (how === 'stop') await world.sender[Symbol.asyncDispose]();
      world.at = await world.at.restart();
      world.sender = await start();
      await world.settle();
    },
    bodiesFor: (server: string) => sent.filter(({ to }) => to === server).flatMap(({ bodies }) => bodies),
    async [Symbol.asyncDispose](): Promise<void> {
      await world.sender[Symbol.asyncDispose]();
      await world.at[Symbol.asyncDispose]();
    },
  } as unknown as World & { take(request: FederationRequest): Promise<JsonObject> };
  world.sender = await start();
  return world;
}

/** A room with users of these servers in it; nothing of its making is left to send. */
async function roomWith(world: World, ...users: readonly UserId[]): Promise<RoomId> {
  const roomId = await createPublicRoom(world.at);
  for (const userId of users) await world.send(roomId, member(userId, 'join'));
  await world.settle();
  world.sent.length = 0;
  world.attempts.length = 0;
  return roomId;
}

const down = (): FederationError => mayPass('unreachable', 'nobody there');

describe('who gets an event', () => {
  test('every other server with a user in the room, once, in order, and nobody else', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'), b('two'), b('x', 'c.example'), b('y', 'denied.example'));
    await roomWith(world, b('z', 'd.example'));
    for (const body of ['1', '2', '3']) await world.send(roomId, message(body));
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['1', '2', '3']);
    assert.deepEqual(world.bodiesFor('c.example'), ['1', '2', '3']);
    assert.deepEqual(new Set(world.sent.map(({ to }) => to)), new Set(['b.example', 'c.example']));
  });

  test('events of other servers are not ours to send', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'), b('x', 'c.example'));
    await world.send(roomId, message('theirs', b('one')));
    await world.settle();
    assert.deepEqual(world.sent, []);
  });

  test('who is removed from a room hears of it, and of nothing after', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    await world.send(roomId, member(b('one'), 'ban', ALICE));
    await world.send(roomId, message('afterwards'));
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['ban']);
  });

  test('what is sent is the event as it was signed, without what only we know', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    await world.send(roomId, message('hello'));
    await world.settle();
    const body: unknown = JSON.parse(world.sent[0]?.content ?? '');
    assert.equal(textAt(body, 'origin'), SERVER);
    const pdu = at(body, 'pdus', 0);
    assert.equal(at(pdu, 'unsigned'), undefined);
    assert.ok(at(pdu, 'signatures', SERVER));
    assert.equal(textAt(pdu, 'room_id'), roomId);
  });

  test('limit 8: a transaction has fifty events at most', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    const all = Array.from({ length: 120 }, (_, index) => `${index}`);
    await world.send(roomId, ...all.map((body) => message(body)));
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), all);
    assert.ok(world.sent.every(({ bodies }) => bodies.length <= 50));
    assert.equal(new Set(world.sent.map(({ txnId }) => txnId)).size, world.sent.length);
  });
});

describe('servers that do not answer', () => {
  test('C21: a transaction is repeated as it was, later and later, and what came meanwhile follows', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    const tried: unknown[] = [];
    world.answer = (_to, body) => {
      tried.push(body);
      return down();
    };
    await world.send(roomId, message('1'));
    await world.settle();
    await world.send(roomId, message('2'));
    await world.settle();
    assert.equal(tried.length, 1, 'not before its time');
    const delays: number[] = [];
    for (let round = 0; round < 4; round++) {
      const row = world.sender.get('b.example' as ServerName);
      const delay = (row?.retryAt ?? 0) - world.clock.now();
      delays.push(delay);
      world.clock.advance(delay + 100);
      await world.settle();
    }
    assert.equal(tried.length, 5);
    assert.ok(
      delays.every((delay, index) => delay > (delays[index - 1] ?? 0) && delay < 60_000),
      delays.join(),
    );
    assert.deepEqual(new Set(tried.map((body) => JSON.stringify(body))).size, 1);
    world.answer = () => undefined;
    world.clock.advance(HOUR);
    await world.settle();
    assert.deepEqual(
      world.sent.map(({ bodies }) => bodies),
      [['1'], ['2']],
    );
    assert.equal(world.sender.get('b.example' as ServerName), undefined);
  });

  test('C21: whoever is heard from is tried at once', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    world.answer = down;
    await world.send(roomId, message('1'));
    await world.settle();
    for (let round = 0; round < 6; round++) {
      world.clock.advance(5 * 60_000);
      await world.settle();
    }
    world.answer = () => undefined;
    world.sender.heardFrom('b.example' as ServerName);
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['1']);
  });

  test('L7: one server that hangs and hundreds that are dead hold up nobody', async () => {
    await using world = await createWorld();
    const dead = Array.from({ length: 100 }, (_, index) => b('x', `dead${index}.example`));
    const roomId = await roomWith(world, b('one'), b('slow', 'slow.example'));
    await world.send(roomId, ...dead.map((userId) => member(userId, 'join')));
    await world.settle();
    const { promise: hanging, resolve: release } = Promise.withResolvers<undefined>();
    world.answer = (to) => (to === 'slow.example' ? hanging : to.startsWith('dead') ? down() : undefined);
    for (const body of ['1', '2', '3']) {
      await world.send(roomId, message(body));
      for (let waited = 0; !world.bodiesFor('b.example').includes(body) && waited < 5_000; waited += 10)
        await sleep(10);
    }
    assert.deepEqual(world.bodiesFor('b.example'), ['1', '2', '3']);
    assert.equal(world.sender.counts.failing, 100);
    release(undefined);
    await world.settle();
    assert.deepEqual(world.bodiesFor('slow.example'), ['1', '2', '3']);
  });

  test('a server that is away for long gets the newest event of each room, and then lives on', async () => {
    await using world = await createWorld();
    const rooms = [await roomWith(world, b('one')), await roomWith(world, b('one'))];
    world.answer = down;
    for (const [index, roomId] of rooms.entries()) await world.send(roomId, message(`first ${index}`));
    for (let round = 0; round < 12; round++) {
      world.clock.advance(12 * HOUR);
      await world.settle();
    }
    for (const [index, roomId] of rooms.entries()) {
      await world.send(roomId, message(`middle ${index}`));
      await world.send(roomId, message(`last ${index}`));
    }
    await world.settle();
    assert.ok((world.sender.get('b.example' as ServerName)?.failures ?? 0) > 9);
    world.answer = () => undefined;
    world.sender.retry('b.example' as ServerName);
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['last 0', 'last 1']);
    for (const [index, roomId] of rooms.entries()) await world.send(roomId, message(`live ${index}`));
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['last 0', 'last 1', 'live 0', 'live 1']);
  });

  test('nothing from before a server came into a room is sent to it by a catch-up', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    const other = await roomWith(world, b('x', 'c.example'));
    world.answer = down;
    await world.send(roomId, message('1'));
    await world.settle();
    await world.send(other, message('secret'));
    await world.send(other, member(b('one'), 'join'));
    await world.restart('stop');
    world.answer = () => undefined;
    world.sender.retry('b.example' as ServerName);
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['1']);
    await world.send(other, message('open'));
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['1', 'open']);
  });

  test('a removal that could not be told is told after a restart', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    world.answer = down;
    await world.send(roomId, member(b('one'), 'ban', ALICE));
    await world.settle();
    await world.restart('stop');
    await world.send(roomId, message('afterwards'));
    world.answer = () => undefined;
    world.sender.retry('b.example' as ServerName);
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['ban']);
    world.clock.advance(2_000);
    await world.restart('stop');
    assert.deepEqual(world.bodiesFor('b.example'), ['ban'], 'and only once');
  });

  test('I1: what was committed and not sent when the process ended is sent by the next', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    world.clock.advance(2_000);
    await world.sender.idle();
    world.answer = () => new Promise(() => undefined);
    await world.send(roomId, message('1'));
    await world.send(roomId, message('2'));
    world.answer = () => undefined;
    await world.restart('crash');
    assert.deepEqual(world.bodiesFor('b.example').slice(-2), ['1', '2']);
  });

  test('C4: what a server refuses is left out, and the rest goes on', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    world.answer = (_to, body) =>
      listAt(body, 'pdus').some((pdu) => at(pdu, 'content', 'body') === 'poison')
        ? new FederationError('answered', 'refused', { outcome: { kind: 'fail' }, status: 413 })
        : undefined;
    const bodies = ['1', '2', '3', 'poison', '4', '5', '6'];
    await world.send(roomId, ...bodies.map((body) => message(body)));
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['1', '2', '3', '4', '5', '6']);
    assert.equal(world.sender.get('b.example' as ServerName), undefined);
  });

  test('a server that refuses for another reason is tried again with the same', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    world.answer = () => new FederationError('answered', 'no', { outcome: { kind: 'fail' }, status: 401 });
    await world.send(roomId, message('1'));
    await world.settle();
    world.answer = () =>
      new FederationError('answered', 'wait', { outcome: { kind: 'retry', after: HOUR }, status: 429 });
    world.clock.advance(60_000);
    await world.settle();
    world.answer = () => undefined;
    world.clock.advance(HOUR - 1_000);
    await world.settle();
    assert.deepEqual(world.sent, [], 'as long as it asked for');
    world.clock.advance(2_000);
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['1']);
  });
});

describe('what is stored', () => {
  test('of servers that take everything nothing is stored, and of others one row', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'), b('x', 'c.example'));
    const list = () => listDestinations(world.at.db.database, { after: '', limit: 10, onlyFailing: false });
    await world.send(roomId, message('1'));
    await world.settle();
    world.clock.advance(2_000);
    await world.restart('stop');
    assert.deepEqual(await list(), []);
    world.answer = (to) => (to === 'c.example' ? down() : undefined);
    for (const body of ['2', '3', '4']) await world.send(roomId, message(body));
    await world.settle();
    await world.restart('stop');
    const rows = await list();
    assert.deepEqual(
      rows.map(({ serverName, failures }) => [serverName, failures > 0]),
      [['c.example', true]],
    );
    world.answer = () => undefined;
    world.sender.retry('c.example' as ServerName);
    await world.settle();
    assert.deepEqual(world.bodiesFor('c.example'), ['1', '4']);
    await world.restart('stop');
    assert.deepEqual(
      (await list()).map(({ failures, pendingFrom }) => [failures, pendingFrom]),
      [[0, undefined]],
    );
  });
});

describe('ephemeral things', () => {
  test('are the newest of each, and are dropped for servers that do not answer', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    const edusOf = (index: number): readonly unknown[] =>
      listAt(JSON.parse(world.sent[index]?.content ?? '{}'), 'edus');
    const { promise: hanging, resolve: release } = Promise.withResolvers<undefined>();
    world.answer = () => hanging;
    await world.send(roomId, message('1'));
    const server = 'b.example' as ServerName;
    world.sender.addEdus(server, (edus) => {
      edus.addTyping({ roomId, userId: ALICE, isTyping: true });
      edus.addTyping({ roomId, userId: ALICE, isTyping: false });
      const receipt = { roomId, userId: ALICE, ts: 5 };
      edus.addReceipt({ ...receipt, eventId: '$old' as never, threadId: undefined });
      edus.addReceipt({ ...receipt, eventId: '$new' as never, threadId: undefined });
      edus.addReceipt({ ...receipt, eventId: '$thread' as never, threadId: 'main' });
    });
    release(undefined);
    await world.settle();
    const edus = world.sent.flatMap((_, index) => edusOf(index));
    assert.deepEqual(edus, [
      {
        edu_type: 'm.receipt',
        content: { [roomId]: { 'm.read': { [ALICE]: { data: { ts: 5 }, event_ids: ['$new'] } } } },
      },
      {
        edu_type: 'm.receipt',
        content: {
          [roomId]: { 'm.read': { [ALICE]: { data: { thread_id: 'main', ts: 5 }, event_ids: ['$thread'] } } },
        },
      },
      { edu_type: 'm.typing', content: { room_id: roomId, typing: false, user_id: ALICE } },
    ]);
    world.answer = down;
    await world.send(roomId, message('2'));
    await world.settle();
    world.sender.addEdus(server, (queue) => queue.addTyping({ roomId, userId: ALICE, isTyping: true }));
    world.answer = () => undefined;
    world.sent.length = 0;
    world.sender.retry(server);
    await world.settle();
    assert.deepEqual([world.bodiesFor('b.example'), edusOf(0)], [['2'], []]);
  });

  test('EDUs that must not be lost are asked for until they arrived', async () => {
    await using world = await createWorld();
    const server = 'b.example' as ServerName;
    const roomId = await roomWith(world, b('one'));
    world.stored.push(
      ...Array.from({ length: 150 }, (_, index) => ({ edu_type: 'm.direct_to_device', content: { index } })),
    );
    world.answer = down;
    world.sender.wake(server);
    await world.settle();
    assert.equal(world.stored.length, 150);
    await world.send(roomId, message('1'));
    world.answer = () => undefined;
    world.sender.retry(server);
    await world.settle();
    assert.equal(world.stored.length, 0);
    const arrived = world.sent.flatMap(({ content }) => listAt(JSON.parse(content), 'edus'));
    assert.deepEqual(
      arrived.map((edu) => at(edu, 'content', 'index')),
      Array.from({ length: 150 }, (_, index) => index),
    );
    assert.ok(world.sent.every(({ content }) => listAt(JSON.parse(content), 'edus').length <= 100));
    assert.deepEqual(world.bodiesFor('b.example'), ['1']);
  });

  test('C19: an EDU that a server refuses is left out, and those around it arrive', async () => {
    await using world = await createWorld();
    const isPoison = (edu: unknown): boolean => at(edu, 'content', 'index') === 13;
    world.stored.push(...Array.from({ length: 40 }, (_, index) => ({ edu_type: 'm.x', content: { index } })));
    world.answer = (_to, body) =>
      listAt(body, 'edus').some(isPoison)
        ? new FederationError('answered', 'refused', { outcome: { kind: 'fail' }, status: 413 })
        : undefined;
    world.sender.wake('b.example' as ServerName);
    await world.settle();
    const arrived = world.sent.flatMap(({ content }) => listAt(JSON.parse(content), 'edus'));
    assert.equal(arrived.length, 39);
    assert.equal(world.stored.length, 0);
    assert.ok(!arrived.some(isPoison));
  });

  test('a server that failed over something ephemeral gets the next event in its time, and is forgiven', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    const server = 'b.example' as ServerName;
    const type = (): void =>
      world.sender.addEdus(server, (queue) => queue.addTyping({ roomId, userId: ALICE, isTyping: true }));
    world.answer = down;
    type();
    await world.settle();
    type();
    await world.send(roomId, message('1'));
    await world.settle();
    assert.equal(world.attempts.length, 1);
    world.answer = () => undefined;
    world.clock.advance(10_000);
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['1']);
    type();
    await world.settle();
    assert.equal(world.sent.length, 2);
    assert.equal(world.sender.get(server), undefined);
  });

  test('state events go the same way as messages', async () => {
    await using world = await createWorld();
    const roomId = await roomWith(world, b('one'));
    await world.send(roomId, state('m.room.name', { name: 'x' }));
    await world.settle();
    assert.deepEqual(world.bodiesFor('b.example'), ['m.room.name']);
  });
});
