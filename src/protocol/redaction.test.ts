import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import vectors from '../../test/vectors/redaction/content.json' with { type: 'json' };
import type { JsonObject, Pdu } from './pdu.ts';
import { redactPdu } from './redaction.ts';
import { getRoomVersion, ROOM_VERSIONS } from './room-version.ts';

const pduOf = (type: string, content: JsonObject, more: JsonObject = {}): Pdu => ({
  ...more,
  type,
  content,
  sender: '@a:x',
  room_id: '!r:x',
  depth: 1,
  origin_server_ts: 1,
  hashes: { sha256: '' },
  signatures: {},
  prev_events: [],
  auth_events: [],
});

for (const { type, versions, content, kept } of vectors) {
  for (const id of versions) {
    test(`${type} in version ${id} keeps ${JSON.stringify(Object.keys(kept))}`, () => {
      const version = getRoomVersion(id);
      assert.ok(version);
      assert.deepEqual(redactPdu(pduOf(type, content as JsonObject), version).content, kept);
    });
  }
}

test('top-level keys: unknown ones go, and since version 11 those that nobody uses any more', () => {
  const more = {
    origin: 'x',
    membership: 'join',
    prev_state: [],
    redacts: '$x',
    unsigned: {},
    extra: 1,
    state_key: '',
  };
  const always = 'auth_events content depth event_id hashes origin_server_ts prev_events room_id sender signatures';
  for (const version of ROOM_VERSIONS.values()) {
    const old = Number(version.id) < 11 ? ['membership', 'origin', 'prev_state'] : [];
    const expected = [...always.split(' '), 'state_key', 'type', ...old].sort();
    const redacted = redactPdu(pduOf('m.x', {}, { ...more, event_id: '$e:x' }), version);
    assert.deepEqual(Object.keys(redacted).sort(), expected, version.id);
  }
});

test('redacting twice is redacting once', () => {
  const content = fc.dictionary(fc.string(), fc.jsonValue()) as fc.Arbitrary<JsonObject>;
  const type = fc.constantFrom(...vectors.map((vector) => vector.type), 'm.other');
  fc.assert(
    fc.property(type, content, fc.constantFrom(...ROOM_VERSIONS.values()), (name, value, version) => {
      const once = redactPdu(pduOf(name, value), version);
      assert.deepEqual(redactPdu(once, version), once);
    }),
  );
});

test('A12: a redacted create event of version 11 and later still says which version the room has', () => {
  const version = getRoomVersion('11');
  assert.ok(version);
  const redacted = redactPdu(pduOf('m.room.create', { room_version: '11' }), version);
  assert.deepEqual(redacted.content, { room_version: '11' });
});
