/**
 * What servers tell each other beside events: who is there, messages to devices, news of devices; and that nothing of a
 * room goes to a server that its access control list keeps out.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { JsonObject, JsonValue } from '../../src/protocol/pdu.ts';
import { sql } from '../../src/storage/sql.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import {
  type ScriptedServer,
  startHomeserver,
  startScriptedServer,
  type TestClient,
  type TestHomeserver,
} from '../support/federation.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { PeerRoom } from '../support/peer-room.ts';
import { askAs } from '../support/signed-requests.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let here: TestHomeserver;
let peer: ScriptedServer;
let alice: TestClient;
let roomId: string;
let room: PeerRoom;
/** What `here` sent to the scripted server, in order. */
const received: { readonly edus: readonly unknown[]; readonly pdus: readonly unknown[] }[] = [];

before(async () => {
  authority = stack.use(await createTestAuthority());
  here = stack.use(await startHomeserver({ authority }));
  peer = stack.use(await startScriptedServer(authority));
  const { handle } = peer;
  peer.handle = (request, response) => {
    if (request.url?.startsWith('/_matrix/federation/v1/send/') !== true) return handle(request, response);
    request.toArray().then((chunks) => {
      const body: unknown = JSON.parse(chunks.join(''));
      received.push({ edus: listAt(body, 'edus'), pdus: listAt(body, 'pdus') });
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"pdus":{}}');
    }, assert.fail);
    return undefined;
  };
  alice = await here.register('alice');
  roomId = textAt(await alice.ok('POST', '/createRoom', { preset: 'public_chat', room_version: '11' }), 'room_id');
  room = new PeerRoom(peer, here, { roomId, version: '11' });
  await room.join('eve');
});

after(() => stack.disposeAsync());

let transactions = 0;

async function sendEdus(edus: readonly JsonValue[], txnId = `e${transactions++}`): Promise<void> {
  const body: JsonObject = { origin: peer.serverName, origin_server_ts: 1, pdus: [], edus };
  const path = `/_matrix/federation/v1/send/${txnId}`;
  assert.equal((await askAs(peer, here, { method: 'PUT', path, body })).status, 200);
}

const edu = (type: string, content: JsonObject): JsonObject => ({ edu_type: type, content });
const eve = (): string => room.remote.user('eve');
const presenceOf = (userId: string): Promise<{ status: number; body: unknown }> =>
  alice.call('GET', `/presence/${encodeURIComponent(userId)}/status`);

function statusesTold(userId: string): readonly unknown[] {
  const edus = received.flatMap((transaction) => transaction.edus);
  const pushed = edus
    .filter((one) => at(one, 'edu_type') === 'm.presence')
    .flatMap((one) => listAt(one, 'content', 'push'));
  return pushed.filter((status) => at(status, 'user_id') === userId);
}

async function say(inRoom: string, body: string): Promise<void> {
  const path = `/rooms/${encodeURIComponent(inRoom)}/send/m.room.message/t${transactions++}`;
  await alice.ok('PUT', path, { msgtype: 'm.text', body });
}

function bodiesTold(): readonly unknown[] {
  return received.flatMap(({ pdus }) => pdus).map((pdu) => at(pdu, 'content', 'body'));
}

test('presence of ours reaches servers that share a room', async () => {
  const path = `/presence/${encodeURIComponent(alice.userId)}/status`;
  await alice.ok('PUT', path, { presence: 'unavailable', status_msg: 'at lunch' });
  await until(async () => statusesTold(alice.userId).some((status) => at(status, 'status_msg') === 'at lunch'));
  const last = statusesTold(alice.userId).at(-1);
  assert.equal(at(last, 'presence'), 'unavailable');
  assert.equal(typeof at(last, 'last_active_ago'), 'number');
});

test('presence of others is taken in, and reaches a sync that waits', async () => {
  const since = textAt(await alice.ok('GET', '/sync?set_presence=offline'), 'next_batch');
  const waiting = alice.ok('GET', `/sync?set_presence=offline&timeout=20000&since=${encodeURIComponent(since)}`);
  const status = { user_id: eve(), presence: 'online', status_msg: 'here', last_active_ago: 5_000 };
  await sendEdus([edu('m.presence', { push: [status] })]);
  const [told] = listAt(await waiting, 'presence', 'events');
  assert.equal(at(told, 'sender'), eve());
  assert.equal(at(told, 'content', 'status_msg'), 'here');
  assert.equal(at((await presenceOf(eve())).body, 'presence'), 'online');
});

test('A15: a server speaks for its own users only, and of those only whom we share a room with', async () => {
  const status = (userId: string): JsonObject => ({ user_id: userId, presence: 'online', status_msg: 'forged' });
  const stranger = room.remote.user('stranger');
  const bad = [null, 7, {}, { user_id: eve(), presence: 'dancing' }, { user_id: 'eve', presence: 'online' }];
  await sendEdus([
    edu('m.presence', { push: [status(alice.userId), status(stranger), ...bad] }),
    edu('m.presence', { push: 'x' }),
  ]);
  assert.notEqual(at((await presenceOf(alice.userId)).body, 'status_msg'), 'forged');
  const rows = await here.test.database.query(sql<{ user_id: string }>`select user_id from presence`);
  assert.ok(!rows.some((row) => row.user_id === stranger));
});

const messagesKept = () =>
  here.test.database.query(sql<{ sender: string; content: string; message_id: string }>`
    select sender, content, message_id from received_to_device order by received_id`);

test('F4, A15: messages to devices are kept once, for devices of ours, from users of their server', async () => {
  const to = (sender: string, messageId: string, messages: JsonObject): JsonObject =>
    edu('m.direct_to_device', { sender, type: 'm.x', message_id: messageId, messages });
  const forAlice = { [alice.userId]: { '*': { hello: 'you\u0000' } } };
  await sendEdus([to(eve(), 'm1', forAlice)]);
  await sendEdus([to(eve(), 'm1', forAlice)]);
  await sendEdus([
    to(alice.userId, 'm2', forAlice),
    to(eve(), 'm3', { [alice.userId]: { NOSUCHDEVICE: {} }, '@nobody:elsewhere.example': { '*': {} }, x: 7 }),
    to(eve(), 'm4', { [alice.userId]: { '*': 'text' } }),
    to(eve(), '', forAlice),
    to(eve(), 'm5', { [alice.userId]: { '*': { large: 'x'.repeat(70_000) } } }),
    edu('m.direct_to_device', {}),
  ]);
  assert.deepEqual(await messagesKept(), [{ sender: eve(), content: '{"hello":"you\\u0000"}', message_id: 'm1' }]);
});

test('A15: of devices and signing keys elsewhere the newest is kept, from their own server', async () => {
  const update = (userId: string, streamId: JsonValue, name: string): JsonObject =>
    edu('m.device_list_update', {
      user_id: userId,
      device_id: 'D',
      stream_id: streamId,
      prev_id: [],
      device_display_name: name,
    });
  const stranger = room.remote.user('stranger');
  await sendEdus([update(eve(), 5, 'new'), update(eve(), 4, 'old')]);
  await sendEdus([
    update(eve(), 3, 'older'),
    update(alice.userId, 9, 'forged'),
    update(stranger, 1, 'unknown'),
    update(eve(), '7', 'no number'),
    edu('m.signing_key_update', { user_id: eve(), master_key: { keys: {} } }),
    edu('m.signing_key_update', { user_id: alice.userId, master_key: {} }),
  ]);
  const updates = await here.test.database.query(sql<{ user_id: string; content: string }>`
    select user_id, content from received_device_updates`);
  assert.deepEqual(
    updates.map(({ user_id, content }) => [user_id, at(JSON.parse(content), 'device_display_name')]),
    [[eve(), 'new']],
  );
  const keys = await here.test.database.query(sql<{ user_id: string }>`select user_id from received_signing_keys`);
  assert.deepEqual(
    keys.map(({ user_id }) => user_id),
    [eve()],
  );
});

test('B9: devices of our users are told, of others nothing', async () => {
  const ask = (path: string, body?: JsonObject) => room.ask(`/user/${path}`, body);
  const devices = await ask(`devices/${encodeURIComponent(alice.userId)}`);
  assert.equal(devices.status, 200);
  assert.equal(at(devices.body, 'user_id'), alice.userId);
  assert.equal(listAt(devices.body, 'devices').length, 1);
  assert.equal((await ask(`devices/${encodeURIComponent(eve())}`)).status, 400);
  assert.equal((await ask(`devices/@nobody:${here.serverName}`)).status, 404);
  const query = await ask('keys/query', { device_keys: { [alice.userId]: [], [eve()]: [] } });
  assert.deepEqual(query.body, { device_keys: { [alice.userId]: {} } });
  const claim = await ask('keys/claim', { one_time_keys: { [eve()]: { D: 'signed_curve25519' } } });
  assert.deepEqual(claim.body, { one_time_keys: {} });
});

test('A5: nothing of a room goes to a server that its access control list keeps out', async () => {
  const other = textAt(await alice.ok('POST', '/createRoom', { preset: 'public_chat', room_version: '11' }), 'room_id');
  const otherRoom = new PeerRoom(peer, here, { roomId: other, version: '11' });
  await otherRoom.join('frank');
  await say(other, 'still allowed');
  await until(async () => bodiesTold().includes('still allowed'));
  const acl = { allow: ['*'], deny: [peer.address], allow_ip_literals: true };
  await alice.ok('PUT', `/rooms/${encodeURIComponent(other)}/state/m.room.server_acl`, acl);
  await say(other, 'kept from you');
  const typing = `/rooms/${encodeURIComponent(other)}/typing/${encodeURIComponent(alice.userId)}`;
  await alice.ok('PUT', typing, { typing: true, timeout: 30_000 });
  // What is sent to the server by way of the room that lets it be comes after all this.
  await say(roomId, 'the last');
  await until(async () => bodiesTold().includes('the last'));
  assert.ok(!bodiesTold().includes('kept from you'));
  const acls = received.flatMap(({ pdus }) => pdus).filter((pdu) => at(pdu, 'type') === 'm.room.server_acl');
  assert.equal(acls.length, 1, 'but the event that keeps it out');
  const typingTold = received.flatMap(({ edus }) => edus).filter((one) => at(one, 'edu_type') === 'm.typing');
  assert.ok(!typingTold.some((one) => at(one, 'content', 'room_id') === other));
});

test('a receipt that comes with its event is not lost, nor for another that names no event', async () => {
  await room.join('gina');
  await room.learn();
  const event = room.room.message(room.remote.user('eve'), 'read at once');
  const read = (eventId: string): JsonObject => ({ event_ids: [eventId], data: { ts: 1 } });
  const receipt = { 'm.read': { [room.remote.user('gina')]: read('$\0'), [eve()]: read(event.eventId) } };
  const body: JsonObject = {
    origin: peer.serverName,
    origin_server_ts: 1,
    pdus: [event.pdu],
    edus: [edu('m.receipt', { [roomId]: receipt })],
  };
  const path = `/_matrix/federation/v1/send/e${transactions++}`;
  assert.equal((await askAs(peer, here, { method: 'PUT', path, body })).status, 200);
  await until(async () => {
    const rows = await here.test.database.query(sql<{ user_id: string }>`
      select user_id from receipts where event_id = ${event.eventId}`);
    return rows.some((row) => row.user_id === eve());
  });
});
