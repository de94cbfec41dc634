/**
 * A day of two people with matrix-js-sdk, the library that most web clients are built on: rooms of every kind, messages
 * both ways, history, state, moderation, addresses, a second device, and a restart of the server in mid-sync.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Direction,
  EventType,
  type MatrixClient,
  type MatrixEvent,
  MsgType,
  Preset,
  type Room,
  Visibility,
} from 'matrix-js-sdk';
import { type ServerProcess, startServer } from '../support/server-process.ts';
import { logInSession, registerSession, type Session } from './session.ts';

const stack = new AsyncDisposableStack();
let server: ServerProcess;
let alice: Session;
let bob: Session;

before(async () => {
  server = stack.use(await startServer());
  alice = stack.use(await registerSession(server.url, 'alice'));
  bob = stack.use(await registerSession(server.url, 'bob'));
});

after(() => stack.disposeAsync());

test('a private room: invited, joined, talked in live both ways', async () => {
  const roomId = await createRoom(alice, {
    preset: Preset.PrivateChat,
    name: 'Den',
    topic: 'Quiet',
    invite: [bob.userId],
  });
  const invited = await bob.until('an invite', () => bob.client.getRoom(roomId) ?? undefined);
  assert.equal(invited.getMyMembership(), 'invite');
  assert.equal(invited.name, 'Den');
  await bob.client.joinRoom(roomId);
  await bob.until('membership', () => invited.getMyMembership() === 'join');

  await say(alice, roomId, 'Hello Bob');
  await hear(bob, roomId, 'Hello Bob');
  await say(bob, roomId, 'Hello Alice');
  await hear(alice, roomId, 'Hello Alice');
  assert.equal((await alice.room(roomId)).getJoinRule(), 'invite');
});

test('a private room lets in nobody who was not invited', async () => {
  const roomId = await createRoom(alice, { preset: Preset.PrivateChat });
  await assertForbidden(bob.client.joinRoom(roomId));
});

test('a public room: listed, found by its address, joined, and its aliases changed', async () => {
  const roomId = await createRoom(alice, {
    preset: Preset.PublicChat,
    visibility: Visibility.Public,
    room_alias_name: 'square',
    name: 'Square',
  });
  const alias = `#square:${server.serverName}`;
  assert.equal((await bob.client.getRoomIdForAlias(alias)).room_id, roomId);
  assert.equal((await bob.client.joinRoom(alias)).roomId, roomId);
  const { chunk } = await bob.client.publicRooms({});
  assert.equal(chunk.find((listed) => listed.room_id === roomId)?.canonical_alias, alias);

  const second = `#plaza:${server.serverName}`;
  await alice.client.createAlias(second, roomId);
  assert.equal((await bob.client.getRoomIdForAlias(second)).room_id, roomId);
  await alice.client.deleteAlias(second);
  await assert.rejects(bob.client.getRoomIdForAlias(second), { errcode: 'M_NOT_FOUND' });
});

test('a trusted private room makes its invitees as powerful as its creator', async () => {
  const roomId = await createRoom(alice, { preset: Preset.TrustedPrivateChat, invite: [bob.userId] });
  await bob.client.joinRoom(roomId);
  const room = await bob.room(roomId);
  await bob.until('the power to change power', () =>
    room.currentState.maySendStateEvent(EventType.RoomPowerLevels, bob.userId),
  );
});

test('a direct room is marked as such in the invite, and stays so in account data', async () => {
  const roomId = await createRoom(alice, { preset: Preset.TrustedPrivateChat, is_direct: true, invite: [bob.userId] });
  await alice.client.setAccountData(EventType.Direct, { [bob.userId]: [roomId] });
  const room = await bob.room(roomId);
  assert.equal(room.getDMInviter(), alice.userId);
  await alice.until('m.direct', () => alice.client.getAccountData(EventType.Direct)?.getContent()[bob.userId]);
});

test('an encrypted room says so in its state, and relays what it cannot read', async () => {
  const content = { algorithm: 'm.megolm.v1.aes-sha2' };
  const roomId = await createRoom(alice, {
    preset: Preset.PublicChat,
    initial_state: [{ type: EventType.RoomEncryption, state_key: '', content }],
  });
  await bob.client.joinRoom(roomId);
  const room = await bob.room(roomId);
  await bob.until('encryption', () => room.hasEncryptionStateEvent());
  assert.deepEqual(await bob.client.getStateEvent(roomId, EventType.RoomEncryption, ''), content);
});

test('history pages back to the beginning, each event once', async () => {
  const roomId = await createRoom(alice, { preset: Preset.PublicChat });
  const bodies = Array.from({ length: 60 }, (_, index) => `page ${index}`);
  for (const body of bodies) await say(alice, roomId, body);
  const reader = stack.use(await logInSession(server.url, 'alice'));
  const room = await reader.room(roomId);
  assert.ok(room.getLiveTimeline().getEvents().length < bodies.length, 'the first sync brings only the end');
  await pageBack(reader, room);
  const events = room.getLiveTimeline().getEvents();
  assert.equal(events[0]?.getType(), EventType.RoomCreate);
  assert.deepEqual(
    events.filter(isMessageOf(roomId)).map((event) => event.getContent()['body']),
    bodies,
  );
});

test('state is edited, and a message redacted, for everyone', async () => {
  const roomId = await createSharedRoom();
  const room = await bob.room(roomId);
  await alice.client.setRoomName(roomId, 'Renamed');
  await bob.until('the name', () => room.name === 'Renamed');
  await alice.client.setRoomTopic(roomId, 'News');
  await bob.until(
    'the topic',
    () => room.currentState.getStateEvents(EventType.RoomTopic, '')?.getContent()['topic'] === 'News',
  );
  await assertForbidden(bob.client.setRoomName(roomId, 'Mine'));

  const eventId = await say(alice, roomId, 'Regrets');
  await hear(bob, roomId, 'Regrets');
  await alice.client.redactEvent(roomId, eventId, undefined, { reason: 'Slip' });
  await bob.until('the redaction', () => room.findEventById(eventId)?.isRedacted());
  const redacted = await bob.client.fetchRoomEvent(roomId, eventId);
  assert.deepEqual(redacted.content, {});
});

test('profiles reach the rooms of their user', async () => {
  const roomId = await createSharedRoom();
  await bob.client.setDisplayName('Robert');
  const room = await alice.room(roomId);
  await alice.until('the new name', () => room.getMember(bob.userId)?.name === 'Robert');
});

test('typing and receipts arrive live', async () => {
  const roomId = await createSharedRoom();
  const room = await alice.room(roomId);
  await bob.client.sendTyping(roomId, true, 10_000);
  await alice.until('typing', () => room.getMember(bob.userId)?.typing);
  const eventId = await say(alice, roomId, 'Read me');
  await hear(bob, roomId, 'Read me');
  const event = (await bob.room(roomId)).findEventById(eventId);
  await bob.client.sendReadReceipt(event ?? null);
  await alice.until('the receipt', () => room.getEventReadUpTo(bob.userId, true) === eventId);
});

test('leaving, kicking, banning and unbanning', async () => {
  const roomId = await createSharedRoom();
  const room = await bob.room(roomId);
  await bob.client.leave(roomId);
  await bob.until('having left', () => room.getMyMembership() === 'leave');
  await bob.client.joinRoom(roomId);
  await bob.until('being back', () => room.getMyMembership() === 'join');
  await alice.client.kick(roomId, bob.userId, 'Out');
  await bob.until('the kick', () => room.getMyMembership() === 'leave');
  await assertForbidden(bob.client.sendTextMessage(roomId, 'Still here'));
  await alice.client.ban(roomId, bob.userId, 'Stay out');
  await bob.until('the ban', () => room.getMyMembership() === 'ban');
  await assertForbidden(bob.client.joinRoom(roomId));
  await alice.client.unban(roomId, bob.userId);
  await bob.client.joinRoom(roomId);
  await bob.client.leave(roomId);
  await bob.client.forget(roomId);
  assert.ok(!(await bob.client.getJoinedRooms()).joined_rooms.includes(roomId));
});

test('a second device of one user sees the same, and logs out alone', async () => {
  const roomId = await createSharedRoom();
  const tablet = stack.use(await logInSession(server.url, 'bob'));
  assert.equal((await tablet.room(roomId)).getMyMembership(), 'join');
  await say(tablet, roomId, 'From the tablet');
  await hear(bob, roomId, 'From the tablet');
  await hear(alice, roomId, 'From the tablet');
  const { devices } = await bob.client.getDevices();
  assert.ok(devices.length >= 2);
  await tablet.client.logout(true);
  await assert.rejects(tablet.client.whoami(), { errcode: 'M_UNKNOWN_TOKEN' });
  assert.equal((await bob.client.whoami()).user_id, bob.userId);
});

test('a restart of the server in mid-sync leaves no gap and repeats nothing', async () => {
  const roomId = await createSharedRoom();
  const sent: string[] = [];
  for (let index = 0; index < 10; index++) sent.push(await say(alice, roomId, `before ${index}`));
  await server.stop();
  await server.start();
  for (let index = 0; index < 10; index++) sent.push(await sayPatiently(alice.client, roomId, `after ${index}`));
  await hear(bob, roomId, 'after 9');
  const live = bob.seen.filter(isMessageOf(roomId)).map((event) => event.getId());
  assert.deepEqual(live, [...new Set(live)], 'repeated');
  // A client fills the gap that a limited timeline tells of; one that it is not told of stays.
  const room = await bob.room(roomId);
  await pageBack(bob, room);
  const timeline = room.getLiveTimeline().getEvents().filter(isMessageOf(roomId));
  assert.deepEqual(
    timeline.map((event) => event.getId()),
    sent,
  );
});

type RoomOptions = Parameters<MatrixClient['createRoom']>[0];

async function createRoom(creator: Session, options: RoomOptions): Promise<string> {
  const { room_id: roomId } = await creator.client.createRoom(options);
  await creator.room(roomId);
  return roomId;
}

/** A room of Alice's with Bob in it, whom both of their clients know of. */
async function createSharedRoom(): Promise<string> {
  const roomId = await createRoom(alice, { preset: Preset.PublicChat });
  await bob.client.joinRoom(roomId);
  const room = await bob.room(roomId);
  await bob.until('membership', () => room.getMyMembership() === 'join');
  return roomId;
}

async function say({ client }: Session, roomId: string, body: string): Promise<string> {
  const { event_id: eventId } = await client.sendMessage(roomId, { msgtype: MsgType.Text, body });
  return eventId;
}

/** The first send after a restart may still meet a connection that the old server left. */
async function sayPatiently(client: MatrixClient, roomId: string, body: string): Promise<string> {
  const txnId = client.makeTxnId();
  for (let attempt = 1; ; attempt++) {
    try {
      return (await client.sendEvent(roomId, EventType.RoomMessage, { msgtype: MsgType.Text, body }, txnId)).event_id;
    } catch (error) {
      if (attempt === 5) throw error;
      await sleep(100);
    }
  }
}

/** Pages back to the room's beginning. */
async function pageBack({ client }: Session, room: Room): Promise<void> {
  while (room.getLiveTimeline().getPaginationToken(Direction.Backward) !== null) await client.scrollback(room, 25);
}

function isMessageOf(roomId: string): (event: MatrixEvent) => boolean {
  return (event) => event.getRoomId() === roomId && event.getType() === EventType.RoomMessage;
}

async function hear(session: Session, roomId: string, body: string): Promise<void> {
  await session.until(`"${body}"`, () =>
    session.seen.some((event) => event.getRoomId() === roomId && event.getContent()['body'] === body),
  );
}

async function assertForbidden(attempt: Promise<unknown>): Promise<void> {
  await assert.rejects(attempt, { errcode: 'M_FORBIDDEN' });
}
