import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import vectors from '../../test/vectors/pdu-format/fields.json' with { type: 'json' };
import { encodeCanonicalJson } from './canonical-json.ts';
import { createEvent } from './event.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import { checkPduFormat, MAX_PDU_BYTES, type PduFormat } from './pdu-format.ts';
import { getRoomVersion, ROOM_VERSIONS, type RoomVersion } from './room-version.ts';
import { parseJsonWithOddNumbers } from './strict-json.ts';

interface Vector {
  readonly name: string;
  readonly versions: readonly string[];
  readonly set?: JsonObject;
  readonly remove?: readonly string[];
  /** What the reason for dropping it has to name; the PDU is valid without. */
  readonly reason?: string;
  readonly oversize?: string;
}

const HASH = 'A'.repeat(43);

/** A message as servers of this room version send it. */
function plainPdu(version: RoomVersion): JsonObject {
  const isPaired = version.eventIds === 'server';
  return {
    type: 'm.room.message',
    sender: '@a:example.org',
    room_id: version.roomIdFromCreate ? `!${HASH}` : '!room:example.org',
    content: { body: 'text', count: 1 },
    depth: 7,
    origin_server_ts: 1_700_000_000_000,
    hashes: { sha256: HASH },
    signatures: { 'example.org': { 'ed25519:1': 'c2ln' } },
    prev_events: isPaired ? [['$p:example.org', { sha256: HASH }]] : [`$${HASH}`],
    auth_events: isPaired ? [['$q:example.org', { sha256: HASH }]] : [`$${HASH}`],
    ...(isPaired ? { event_id: '$e:example.org' } : {}),
  };
}

function changed({ set = {}, remove = [] }: Vector, version: RoomVersion): JsonObject {
  return Object.fromEntries(Object.entries({ ...plainPdu(version), ...set }).filter(([key]) => !remove.includes(key)));
}

function versionOf(id: string): RoomVersion {
  const version = getRoomVersion(id);
  assert.ok(version);
  return version;
}

const reasonOf = (format: PduFormat): string | undefined => (format.valid ? undefined : format.reason);

for (const vector of vectors as readonly Vector[]) {
  test(`${vector.name} (${vector.versions.join(', ')})`, () => {
    for (const version of vector.versions.map(versionOf)) {
      const given = changed(vector, version);
      const format = checkPduFormat(given, version);
      if (vector.reason !== undefined) {
        assert.match(reasonOf(format) ?? 'it was valid', new RegExp(vector.reason), `in version ${version.id}`);
        continue;
      }
      assert.ok(format.valid, `version ${version.id}: ${reasonOf(format)}`);
      const { unsigned: _unsigned, ...kept } = given;
      assert.deepEqual(format.pdu, kept);
      assert.match(format.oversize ?? '', new RegExp(`^${vector.oversize ?? '$'}`));
    }
  });
}

test('A21: what is no object is dropped', () => {
  for (const value of [null, true, 1, 'x', [], [{}]]) {
    assert.equal(checkPduFormat(value, versionOf('12')).valid, false);
  }
});

test('A21: of 50 PDUs the malformed ones are dropped alone', () => {
  for (const malformed of [null, 'x', {}, [], { type: 'm.room.message' }]) {
    const pdus: JsonValue[] = Array.from({ length: 50 }, () => plainPdu(versionOf('10')));
    pdus[6] = malformed;
    const formats = pdus.map((pdu) => checkPduFormat(pdu, versionOf('10')));
    assert.deepEqual(
      formats.flatMap(({ valid }, index) => (valid ? [] : [index])),
      [6],
    );
  }
});

/** A transaction's text in which one event holds the number as written. */
function transactionWith(
  number: string,
  place: (pdu: string, number: string) => string,
  version: RoomVersion,
): JsonValue {
  const text = JSON.stringify(plainPdu(version));
  const body = `{"origin":"example.org","pdus":[${text},${place(text, number)},${text}]}`;
  const { value, oddNumbers } = parseJsonWithOddNumbers(Buffer.from(body));
  const { pdus } = value as { readonly pdus: readonly JsonValue[] };
  return pdus.map((pdu) => checkPduFormat(pdu, version, oddNumbers).valid);
}

const PLACES = {
  'in the content': (pdu: string, number: string) => pdu.replace('"count":1', `"count":${number}`),
  'deep in an unknown key': (pdu: string, number: string) => pdu.replace('{', `{"extra":[{"x":[${number}]}],`),
  'at the top': (pdu: string, number: string) => pdu.replace('{', `{"extra":${number},`),
  'as depth': (pdu: string, number: string) => pdu.replace('"depth":7', `"depth":${number}`),
} as const;

for (const [where, place] of Object.entries(PLACES)) {
  test(`A19: a number that is not written canonically ${where} drops that event alone, since version 6`, () => {
    for (const number of ['1.0', '1e2', '-0', '9007199254740993']) {
      for (const version of ROOM_VERSIONS.values()) {
        const isValid = !version.strictCanonicalJson;
        assert.deepEqual(transactionWith(number, place, version), [true, isValid, true], `${number} in ${version.id}`);
      }
    }
  });
}

test('A19: in unsigned numbers may look as they like', () => {
  const place = (pdu: string, number: string) => pdu.replace('{', `{"unsigned":{"age":${number},"x":[${number}]},`);
  for (const version of ROOM_VERSIONS.values()) {
    assert.deepEqual(transactionWith('1.0', place, version), [true, true, true]);
  }
});

test('A19: what is not finite has no canonical form in any version', () => {
  const place = (pdu: string, number: string) => pdu.replace('"count":1', `"count":${number}`);
  for (const version of ROOM_VERSIONS.values()) {
    assert.deepEqual(transactionWith('1e400', place, version), [true, false, true]);
  }
});

test('1: the canonical event may have 65,536 bytes, signatures included and unsigned not', () => {
  for (const version of ROOM_VERSIONS.values()) {
    for (const character of ['a', 'é', '😀']) {
      const empty = Buffer.byteLength(encodeCanonicalJson({ ...plainPdu(version), content: { body: '' } }));
      const room = MAX_PDU_BYTES - empty;
      const width = Buffer.byteLength(character);
      const body = character.repeat(Math.floor(room / width)) + 'b'.repeat(room % width);
      const unsigned = { x: 'y'.repeat(1_000) };
      const full = { ...plainPdu(version), content: { body }, unsigned };
      assert.equal(reasonOf(checkPduFormat(full, version)), undefined);
      const over = { ...full, content: { body: `${body}b` } };
      assert.match(reasonOf(checkPduFormat(over, version)) ?? '', /65536 bytes/);
      const signed = { ...full, signatures: { 'example.org': { 'ed25519:1': 'c2lnc' } } };
      assert.match(reasonOf(checkPduFormat(signed, version)) ?? '', /65536 bytes/);
    }
  }
});

test('3: at most 20 prev events and 10 auth events', () => {
  for (const version of ROOM_VERSIONS.values()) {
    const references = Array.from({ length: 21 }, (_, index) => {
      const id = `$${String(index).padStart(43, 'A')}`;
      return version.eventIds === 'server' ? [id, { sha256: HASH }] : id;
    });
    const check = (prev: number, auth: number) => {
      const lists = { prev_events: references.slice(0, prev), auth_events: references.slice(0, auth) };
      return reasonOf(checkPduFormat({ ...plainPdu(version), ...lists }, version));
    };
    assert.equal(check(20, 10), undefined);
    assert.match(check(21, 10) ?? '', /prev_events/);
    assert.match(check(20, 11) ?? '', /auth_events/);
  }
});

test('J5: keys that JavaScript knows are kept, and lend nothing that is missing', () => {
  const pdu = JSON.parse(JSON.stringify(plainPdu(versionOf('12'))).replace('{', '{"__proto__":{"x":1},"toString":2,'));
  const format = checkPduFormat(pdu, versionOf('12'));
  assert.ok(format.valid);
  assert.equal(encodeCanonicalJson(format.pdu), encodeCanonicalJson(pdu));
  const lent = JSON.parse(`{"__proto__":${JSON.stringify(plainPdu(versionOf('12')))}}`);
  assert.equal(checkPduFormat(lent, versionOf('12')).valid, false);
});

test('J6: what is nested deeper than the encoder goes is dropped and does not throw', () => {
  let deep: JsonValue = [];
  for (let depth = 0; depth < 5_000; depth++) deep = [deep];
  for (const version of ROOM_VERSIONS.values()) {
    assert.equal(checkPduFormat({ ...plainPdu(version), extra: deep }, version).valid, false);
  }
});

const version = fc.constantFrom(...ROOM_VERSIONS.values());
const json = fc.jsonValue({ noUnicodeString: false }) as fc.Arbitrary<JsonValue>;

test('no JSON makes the check throw', () => {
  fc.assert(fc.property(json, version, (value, of) => typeof checkPduFormat(value, of).valid === 'boolean'));
});

test('no JSON in place of one key makes the check throw, and what is valid makes an event', () => {
  const key = fc.constantFrom(...Object.keys(plainPdu(versionOf('1'))), 'state_key', 'redacts', 'unsigned', 'extra');
  const odd = fc.oneof(json, fc.string({ unit: 'binary' }), fc.double(), fc.maxSafeInteger(), fc.array(json));
  fc.assert(
    fc.property(version, key, odd, (of, name, value) => {
      const format = checkPduFormat({ ...plainPdu(of), [name]: value as JsonValue }, of);
      if (format.valid) assert.match(createEvent(format.pdu, of).eventId, /^\$/);
    }),
    { numRuns: 2_000 },
  );
});
