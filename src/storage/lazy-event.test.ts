import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseJsonText } from '../lib/parse-json.ts';
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { createEventWithId } from '../protocol/event.ts';
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { JsonObject, Pdu } from '../protocol/pdu.ts';
import { DEFAULT_ROOM_VERSION } from '../protocol/room-version.ts';
import { contentTextIn, createLazyEvent } from './lazy-event.ts';

const pdu = (content: JsonObject, more: JsonObject = {}): Pdu => ({
  auth_events: ['$a', '$b'],
  content,
  depth: 7,
  hashes: { sha256: 'x' },
  origin_server_ts: 5,
  prev_events: ['$c'],
  room_id: '!r',
  sender: '@a:b',
  signatures: { b: { 'ed25519:1': 's' } },
  type: 'm.room.message',
  ...more,
});
const row = (event: Pdu) => ({
  event_id: '$id' as EventId,
  room_id: '!r' as RoomId,
  type: event.type,
  state_key: event.state_key ?? null,
  sender: event.sender as UserId,
  depth: event.depth,
  origin_server_ts: event.origin_server_ts,
  pdu: encodeCanonicalJson(event),
});

describe('lazy events', () => {
  test('are the events that parsing gives, and so are their copies', () => {
    for (const more of [{}, { state_key: '' }, { type: 'm.room.redaction', content: { redacts: '$x' } }]) {
      const event = pdu({ body: 'hello' }, more);
      const expected = createEventWithId(event, DEFAULT_ROOM_VERSION, '$id' as EventId);
      const lazy = createLazyEvent(row(event), DEFAULT_ROOM_VERSION);
      assert.deepEqual({ ...lazy }, { ...expected });
      assert.deepEqual(
        [lazy.content, lazy.pdu, lazy.prevEvents],
        [expected.content, expected.pdu, expected.prevEvents],
      );
    }
  });
});

describe('the text of a content', () => {
  test('is that of its value, whatever is in it and around it', () => {
    const key = fc.oneof(fc.string(), fc.constantFrom('content', 'depth', '"content":{', '}', '\\', 'auth_events'));
    const object = fc.dictionary(key, fc.oneof(key, fc.jsonValue({ maxDepth: 3, noUnicodeString: false })));
    fc.assert(
      fc.property(object, fc.dictionary(key, fc.oneof(key, object)), (content, more) => {
        const integers = (value: unknown): JsonObject =>
          parseJsonText(JSON.stringify(value, (_key, inner) => (typeof inner === 'number' ? 1 : inner))) as JsonObject;
        const event = { ...integers(more), ...pdu(integers(content)) };
        const text = contentTextIn(encodeCanonicalJson(event));
        if (text !== undefined) assert.deepEqual(parseJsonText(text), event.content);
      }),
      { numRuns: 300 },
    );
    assert.equal(contentTextIn(encodeCanonicalJson(pdu({ a: '"}\\' }))), '{"a":"\\"}\\\\"}');
    assert.equal(contentTextIn(encodeCanonicalJson(pdu({}, { auth_events: [] }))), '{}');
  });

  test('is left to the parser where a peer put something before it', () => {
    assert.equal(contentTextIn(encodeCanonicalJson(pdu({}, { age: { content: { forged: true } } }))), undefined);
    assert.equal(
      contentTextIn(encodeCanonicalJson(pdu({}, { auth_events: ['$"],"content":{"forged":true}'] }))),
      undefined,
    );
    assert.equal(contentTextIn(encodeCanonicalJson(pdu({}, { auth_events: [['$a', { sha256: 'x' }]] }))), undefined);
  });
});
