/**
 * Transactions of other servers: each part judged alone, nothing acknowledged that could be lost, nothing done twice.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Receiver } from '../../src/engine/receive-pdu.ts';
import { createInbound, type Inbound } from '../../src/federation/inbound.ts';
import type { RemoteReceipt } from '../../src/federation/inbound-edus.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { MatrixError } from '../../src/protocol/errors.ts';
import type { RoomId, ServerName } from '../../src/protocol/ids.ts';
import type { JsonObject, JsonValue } from '../../src/protocol/pdu.ts';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import { sql } from '../../src/storage/sql.ts';
import { ALICE, createPublicRoom, createTestEngine, state, type TestEngine, versionOf } from '../support/engine.ts';
import { createReceiving } from '../support/receiver.ts';
import { RemoteRoom, RemoteServer } from '../support/remote-room.ts';

const remote = new RemoteServer('remote.example');
const EVE = remote.user('eve');

interface Scene {
  readonly at: TestEngine;
  readonly receiver: Receiver;
  readonly typing: string[];
  readonly receipts: RemoteReceipt[];
  inbound(receiver?: Receiver): Inbound;
  joinRoom(version: string): Promise<RemoteRoom>;
}

async function createScene(at: TestEngine): Promise<Scene> {
  const keys = new Map([
    [remote.name, remote.key],
    [at.serverName, at.signingKey],
  ]);
  const { receiver, receive } = createReceiving(at, keys);
  const typing: string[] = [];
  const receipts: RemoteReceipt[] = [];
  const edus = {
    setTyping: (_roomId: RoomId, userId: string, isTyping: boolean) => typing.push(`${userId} ${isTyping}`),
    setPresence: async () => undefined,
    moveReceipt: async (receipt: RemoteReceipt) => {
      receipts.push(receipt);
    },
    onFailed: (cause: unknown) => assert.fail(String(cause)),
  };
  const { engine, db } = at;
  return {
    at,
    receiver,
    typing,
    receipts,
    inbound: (other = receiver) =>
      createInbound({
        serverName: at.serverName,
        database: db.database,
        engine,
        receiver: other,
        joins: { getPending: () => undefined },
        loadOutsideVersions: async () => new Map(),
        edus,
        clock: systemClock,
        logger: silentLogger,
      }),
    async joinRoom(version) {
      const roomId = await createPublicRoom(at, version);
      const room = new RemoteRoom(remote, { roomId, version: versionOf(version) });
      await room.learnFrom(at);
      assert.deepEqual(await receive(roomId, remote.name, room.member(EVE, 'join')), ['accepted']);
      return room;
    },
  };
}

const send = (inbound: Inbound, txnId: string, pdus: readonly JsonValue[], edus: readonly JsonValue[] = []) =>
  inbound.handle({ origin: remote.name, txnId, body: { origin: remote.name, pdus, edus } });

const has = async ({ at }: Scene, room: RemoteRoom): Promise<boolean> =>
  (await at.engine.loadEvent(room.roomId, room.newest)) !== undefined;

test('A24: each PDU is read by the rules of its own room, whatever else is in the transaction', async () => {
  await using at = await createTestEngine();
  const scene = await createScene(at);
  const rooms = await Promise.all([...ROOM_VERSIONS.keys()].map((version) => scene.joinRoom(version)));
  await using inbound = scene.inbound();
  const events = rooms.map((room) => room.message(EVE, 'hello'));
  const answer = await send(
    inbound,
    '1',
    events.map(({ pdu }) => pdu),
  );
  assert.deepEqual(Object.keys(answer['pdus'] as JsonObject).sort(), events.map(({ eventId }) => eventId).sort());
  await inbound.idle();
  for (const room of rooms) assert.ok(await has(scene, room), room.version.id);
});

test('A21: 50 PDUs of which one is none: the others are taken in', async () => {
  await using at = await createTestEngine();
  const scene = await createScene(at);
  const room = await scene.joinRoom('12');
  await using inbound = scene.inbound();
  const pdus: JsonValue[] = Array.from({ length: 50 }, (_, index) => room.message(EVE, `${index}`).pdu);
  const bad = room.make({ type: 'm.x', sender: EVE }).pdu;
  for (const [index, value] of [null, { ...bad, room_id: undefined }, 'x', { ...bad, depth: -1 }].entries()) {
    await send(inbound, `bad ${index}`, [JSON.parse(JSON.stringify(value)), pdus[0] ?? null]);
  }
  await send(inbound, 'good', pdus);
  await inbound.idle();
  assert.ok(await has(scene, room));
});

test('A23: what another transaction commits late, with earlier numbers, is worked on too', async () => {
  await using at = await createTestEngine();
  const scene = await createScene(at);
  const room = await scene.joinRoom('12');
  const { database } = at.db;
  const first = room.message(EVE, 'first');
  const late = room.message(EVE, 'late');
  await database.query(sql`alter table inbound_pdus alter column inbound_id restart with 100`);
  let isIn = false;
  const { receiver } = scene;
  await using inbound = scene.inbound({
    async receive(roomId, from) {
      // Committed after the numbers of the first were seen, before they are removed.
      if (!isIn) {
        isIn = true;
        await database.query(sql`
          insert into inbound_pdus (inbound_id, room_id, origin, pdu, received_at) overriding system value
          values (50, ${roomId}, ${remote.name}, ${JSON.stringify(late.pdu)}, 0)`);
      }
      return receiver.receive(roomId, from);
    },
  });
  await send(inbound, '1', [first.pdu]);
  await inbound.idle();
  await send(inbound, '2', [room.message(EVE, 'next').pdu]);
  await inbound.idle();
  for (const { eventId } of [first, late]) assert.ok(await at.engine.loadEvent(room.roomId, eventId), eventId);
  const [left] = await database.query(sql<{ count: number }>`select count(*)::integer as count from inbound_pdus`);
  assert.equal(left?.count, 0);
});

test('limits: more than 50 PDUs or 100 EDUs are refused as a whole, and so is what is no transaction', async () => {
  await using at = await createTestEngine();
  const scene = await createScene(at);
  const room = await scene.joinRoom('12');
  await using inbound = scene.inbound();
  const pdus = Array.from({ length: 51 }, (_, index) => room.message(EVE, `${index}`).pdu);
  const edus = Array.from({ length: 101 }, () => ({ edu_type: 'm.x', content: {} }));
  const refused = (body: JsonValue) =>
    assert.rejects(inbound.handle({ origin: remote.name, txnId: 'x', body }), (cause) => cause instanceof MatrixError);
  await refused({ pdus, edus: [] });
  await refused({ pdus: [], edus });
  await refused({ pdus: {} });
  await refused([]);
  assert.ok(!(await has(scene, room)));
});

test("A5: the room's access control list is asked for every PDU and EDU", async () => {
  await using at = await createTestEngine();
  const scene = await createScene(at);
  const [open, closed] = [await scene.joinRoom('11'), await scene.joinRoom('11')];
  const acl = { allow: ['*'], deny: [remote.name], allow_ip_literals: true };
  await at.engine.send({ roomId: closed.roomId, decide: () => [state('m.room.server_acl', acl)] });
  await closed.learnFrom(at);
  await using inbound = scene.inbound();
  const events = [open.message(EVE, 'heard'), closed.message(EVE, 'unheard')];
  const typing = [open, closed].map(({ roomId }) => ({
    edu_type: 'm.typing',
    content: { room_id: roomId, user_id: EVE, typing: true },
  }));
  const { pdus } = await send(
    inbound,
    '1',
    events.map(({ pdu }) => pdu),
    typing,
  );
  const answers = pdus as JsonObject;
  assert.deepEqual(answers[events[0]?.eventId ?? ''], {});
  assert.ok('error' in (answers[events[1]?.eventId ?? ''] as JsonObject));
  await inbound.idle();
  assert.deepEqual([await has(scene, open), await has(scene, closed)], [true, false]);
  assert.deepEqual(scene.typing, [`${EVE} true`]);
});

test('A15: EDUs about users of another server, or about rooms that they are not in, are ignored', async () => {
  await using at = await createTestEngine();
  const scene = await createScene(at);
  const { roomId } = await scene.joinRoom('12');
  const other = await createPublicRoom(at);
  await using inbound = scene.inbound();
  const typing = (room: RoomId, user: string, isTyping: JsonValue = true) => ({
    edu_type: 'm.typing',
    content: { room_id: room, user_id: user, typing: isTyping },
  });
  const receipt = (room: string, user: string) => ({
    edu_type: 'm.receipt',
    content: { [room]: { 'm.read': { [user]: { event_ids: ['$event'], data: { ts: 1, thread_id: 'main' } } } } },
  });
  const wrong = [
    typing(roomId, ALICE),
    typing(other, EVE),
    typing(roomId, EVE, 'yes'),
    receipt(roomId, ALICE),
    receipt(other, EVE),
  ];
  const odd = [
    null,
    {},
    { edu_type: 'm.unknown', content: {} },
    { edu_type: 'm.receipt', content: { [roomId]: null } },
  ];
  await send(inbound, '1', [], [...wrong, ...odd, typing(roomId, EVE), receipt(roomId, EVE)]);
  assert.deepEqual(scene.typing, [`${EVE} true`]);
  assert.deepEqual(scene.receipts, [{ roomId, userId: EVE, eventId: '$event', threadId: 'main', ts: 1 }]);
});

test('I4, A22: what was acknowledged is taken in after a crash; who asks again gets the same answer', async () => {
  await using at = await createTestEngine();
  const scene = await createScene(at);
  const room = await scene.joinRoom('12');
  const event = room.message(EVE, 'survives');
  const crashing: Receiver = { receive: () => Promise.reject(new Error('the process ends here')) };
  let answer: JsonObject;
  {
    await using inbound = scene.inbound(crashing);
    answer = await send(inbound, 'once', [event.pdu]);
    await inbound.idle();
  }
  assert.ok(!(await has(scene, room)));
  await using again = scene.inbound();
  await again.start();
  await again.idle();
  assert.ok(await has(scene, room));
  const later = room.message(EVE, 'not in the first');
  assert.deepEqual(await send(again, 'once', [later.pdu]), answer);
  await again.idle();
  assert.ok(!(await has(scene, room)), 'the same transaction id is not looked at again');
  const rows = await at.db.database.query(sql`select from inbound_pdus`);
  assert.equal(rows.length, 0);
  const elsewhere = { origin: 'other.example' as ServerName, txnId: 'once', body: { pdus: [later.pdu] } };
  await again.handle(elsewhere);
  await again.idle();
  assert.ok(await has(scene, room));
});
