import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { Event } from '../protocol/pdu.ts';
import { getRoomVersion } from '../protocol/room-version.ts';
import type { StoredEvent } from '../storage/events.ts';
import { renderClientEvent, renderStrippedState, renderSyncEventText } from './client-events.ts';

const alice = '@alice:test' as UserId;
const bob = '@bob:test' as UserId;
const version = getRoomVersion('11');
assert.ok(version);

function createEvent(fields: Partial<Event>): Event {
  return {
    eventId: '$event' as EventId,
    roomId: '!room:test' as RoomId,
    type: 'm.room.message',
    stateKey: undefined,
    sender: alice,
    content: { body: 'hello' },
    originServerTs: 1000,
    depth: 1,
    prevEvents: [],
    authEvents: [],
    redacts: undefined,
    pdu: {
      type: '',
      sender: '',
      content: {},
      origin_server_ts: 0,
      depth: 1,
      hashes: { sha256: '' },
      signatures: {},
      prev_events: [],
      auth_events: [],
    },
    ...fields,
  };
}

function store(event: Event, fields: Partial<StoredEvent> = {}): StoredEvent {
  const none = { replaces: undefined, redactedBecause: undefined, transaction: undefined };
  return {
    nid: 1,
    event,
    version: version as StoredEvent['version'],
    stateBefore: 1,
    stateAfter: 1,
    ...none,
    ...fields,
  };
}

test('a message has what clients need and nothing of federation', () => {
  assert.deepEqual(renderClientEvent(store(createEvent({})), { userId: bob }, 1500), {
    type: 'm.room.message',
    sender: alice,
    content: { body: 'hello' },
    event_id: '$event',
    origin_server_ts: 1000,
    room_id: '!room:test',
    unsigned: { age: 500 },
  });
  const inSync = JSON.parse(renderSyncEventText(store(createEvent({})), { userId: bob }, 1500));
  assert.equal('room_id' in inSync, false);
});

test('the transaction id is for the sending device only', () => {
  const transaction = { userId: alice, deviceId: 'A', txnId: 't"1' };
  const stored = store(createEvent({}), { transaction });
  const txnIdFor = (userId: UserId, deviceId?: string) =>
    Object(renderClientEvent(stored, { userId, deviceId }, 0)['unsigned'])['transaction_id'];
  assert.equal(txnIdFor(alice, 'A'), 't"1');
  assert.equal(txnIdFor(alice, 'B'), undefined);
  assert.equal(txnIdFor(alice), undefined);
  assert.equal(txnIdFor(bob, 'A'), undefined);
});

test('state tells what it replaced, and a redaction of that is not undone by a cache', () => {
  const event = createEvent({ type: 'm.room.name', stateKey: '', content: { name: 'new' } });
  const replaces = { eventId: '$old' as EventId, sender: bob, content: { name: 'old' } };
  const unsignedOf = (stored: StoredEvent) => Object(renderClientEvent(stored, { userId: bob }, 1000)['unsigned']);
  assert.deepEqual(unsignedOf({ ...store(event, { replaces }) }), {
    age: 0,
    replaces_state: '$old',
    prev_content: { name: 'old' },
    prev_sender: bob,
  });
  assert.deepEqual(unsignedOf(store(event, { replaces: { ...replaces, content: {} } })).prev_content, {});
});

test('a redaction names its target at the top and in its content, and the target tells why', () => {
  const redaction = createEvent({
    type: 'm.room.redaction',
    redacts: '$target' as EventId,
    content: { reason: 'spam' },
  });
  const rendered = renderClientEvent(store(redaction), { userId: bob }, 0);
  assert.equal(rendered['redacts'], '$target');
  assert.deepEqual(rendered['content'], { reason: 'spam', redacts: '$target' });
  const target = store(createEvent({ content: {} }), { redactedBecause: redaction });
  const because = Object(renderClientEvent(target, { userId: bob }, 0)['unsigned'])['redacted_because'];
  assert.equal(because.type, 'm.room.redaction');
  assert.equal(because.room_id, '!room:test');
});

test('stripped state has four fields', () => {
  const state = { ...createEvent({ type: 'm.room.name' }), stateKey: '' };
  assert.deepEqual(Object.keys(renderStrippedState(state)).sort(), ['content', 'sender', 'state_key', 'type']);
});
