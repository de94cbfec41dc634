import assert from 'node:assert/strict';
import { test } from 'node:test';
import vectors from '../../test/vectors/hashes/events.json' with { type: 'json' };
import { createEvent, createEventWithId } from './event.ts';
import { parseEventId } from './ids.ts';
import type { JsonObject, Pdu } from './pdu.ts';
import { checkPduFormat } from './pdu-format.ts';
import { getRoomVersion, ROOM_VERSIONS, type RoomVersion } from './room-version.ts';

const HASH = 'A'.repeat(43);

const plainPdu = (more: JsonObject = {}): Pdu => ({
  type: 'm.room.message',
  sender: '@a:example.org',
  room_id: '!room:example.org',
  event_id: '$own:example.org',
  content: { body: 'text' },
  depth: 7,
  origin_server_ts: 5,
  hashes: { sha256: HASH },
  signatures: {},
  prev_events: [],
  auth_events: [],
  ...more,
});

function versionOf(id: string): RoomVersion {
  const version = getRoomVersion(id);
  assert.ok(version);
  return version;
}

test('ids of every room version: its own, or the hash in one of two alphabets', () => {
  for (const { pdu, eventIds } of vectors as unknown as readonly { pdu: Pdu; eventIds: Record<string, string> }[]) {
    for (const [id, eventId] of Object.entries(eventIds)) {
      assert.equal(createEvent(pdu, versionOf(id)).eventId, eventId);
    }
  }
  const forms = { server: /^\$own:example\.org$/, base64: /^\$[\w+/]{43}$/, 'url-safe-base64': /^\$[\w-]{43}$/ };
  for (const version of ROOM_VERSIONS.values()) {
    assert.match(createEvent(plainPdu(), version).eventId, forms[version.eventIds]);
  }
});

test('the create event of version 12 gives the room its id; no other event does', () => {
  const { room_id: _roomId, ...create } = plainPdu({ type: 'm.room.create', state_key: '' });
  const event = createEvent(create as Pdu, versionOf('12'));
  assert.equal(event.roomId, `!${event.eventId.slice(1)}`);
  assert.match(event.roomId, /^![\w-]{43}$/);
  // A room_id that it must not have is not believed.
  assert.notEqual(createEvent({ ...create, room_id: '!x:y' } as Pdu, versionOf('12')).roomId, '!x:y');
  assert.equal(createEvent(plainPdu({ room_id: `!${HASH}` }), versionOf('12')).roomId, `!${HASH}`);
  for (const version of ROOM_VERSIONS.values()) {
    if (version.roomIdFromCreate) continue;
    assert.equal(createEvent(plainPdu({ type: 'm.room.create' }), version).roomId, '!room:example.org');
  }
});

test('references of the pair format are unwrapped, plain ones taken as they are', () => {
  const pairs = {
    prev_events: [['$p:x', { sha256: HASH }]],
    auth_events: [
      ['$q:x', {}],
      ['$r:x', {}],
    ],
  };
  for (const id of ['1', '2']) {
    const event = createEvent(plainPdu(pairs), versionOf(id));
    assert.deepEqual(event.prevEvents, ['$p:x']);
    assert.deepEqual(event.authEvents, ['$q:x', '$r:x']);
  }
  const plain = { prev_events: [`$${HASH}`, '$b'], auth_events: ['$c'] };
  for (const version of ROOM_VERSIONS.values()) {
    if (version.eventIds === 'server') continue;
    const event = createEvent(plainPdu(plain), version);
    assert.deepEqual(event.prevEvents, [`$${HASH}`, '$b']);
    assert.deepEqual(event.authEvents, ['$c']);
  }
});

test('redacts is read at the top before version 11 and in the content since, and of redactions only', () => {
  const both = { redacts: '$top', content: { redacts: '$inside' } };
  for (const version of ROOM_VERSIONS.values()) {
    const expected = version.redactsInContent ? '$inside' : '$top';
    assert.equal(createEvent(plainPdu({ ...both, type: 'm.room.redaction' }), version).redacts, expected);
    assert.equal(createEvent(plainPdu(both), version).redacts, undefined);
    assert.equal(createEvent(plainPdu({ type: 'm.room.redaction' }), version).redacts, undefined);
    const odd = plainPdu({ type: 'm.room.redaction', content: { redacts: ['$x'] } });
    assert.equal(createEvent(odd, version).redacts, undefined);
  }
});

test('A12: what decides is the version that was handed in, never what a create event says', () => {
  const create = plainPdu({ type: 'm.room.create', state_key: '', content: { room_version: '1' } });
  assert.match(createEvent(create, versionOf('10')).eventId, /^\$[\w-]{43}$/);
});

test('the event shows the PDU and keeps it as it is', () => {
  const pdu = plainPdu({ state_key: '', type: 'm.room.topic', extra: 1 });
  const event = createEvent(pdu, versionOf('11'));
  assert.equal(event.pdu, pdu);
  const { type, stateKey, sender, content, originServerTs, depth } = event;
  assert.deepEqual(
    { type, stateKey, sender, content, originServerTs, depth },
    { type: 'm.room.topic', stateKey: '', sender: pdu.sender, content: pdu.content, originServerTs: 5, depth: 7 },
  );
  assert.equal(createEvent(plainPdu(), versionOf('11')).stateKey, undefined);
});

test('a known id is taken over, as that of a redacted event has to be', () => {
  const eventId = parseEventId('$known');
  assert.ok(eventId !== undefined);
  assert.equal(createEventWithId(plainPdu(), versionOf('12'), eventId).eventId, '$known');
});

test('every vector passes the format check of its room version', () => {
  for (const { name, pdu, eventIds } of vectors) {
    for (const id of Object.keys(eventIds)) {
      const checked = checkPduFormat(pdu as unknown as Pdu, versionOf(id));
      // The references of these are short, which only versions with ids by servers allow.
      assert.ok(checked.valid, `${name} in ${id}`);
    }
  }
});
