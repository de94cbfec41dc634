import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import vectors from '../../test/vectors/signing/appendix.json' with { type: 'json' };
import { CanonicalJsonError, encodeCanonicalJson } from './canonical-json.ts';
import { hasValidContentHash, referenceHash } from './hashes.ts';
import type { JsonObject, JsonValue, Pdu } from './pdu.ts';
import { ROOM_VERSIONS } from './room-version.ts';
import { hashAndSignEvent, type UnsignedPdu } from './sign-event.ts';
import {
  createSigningKey,
  decodeBase64,
  encodeBase64,
  parseSigningKey,
  signJson,
  verifyEventSignature,
  verifyJson,
} from './signing.ts';

const key = createSigningKey(decodeBase64(vectors.seed) ?? Buffer.alloc(0), '1');
const { server } = vectors;
const verifying = { serverName: server, keyId: 'ed25519:1', publicKey: key.publicKey };
const json = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })) as fc.Arbitrary<JsonObject>;

test("the appendix's JSON vectors", () => {
  for (const { value, signature } of vectors.json) {
    const signed = signJson<JsonObject>(value as JsonObject, server, key);
    assert.deepEqual(signed['signatures'], { [server]: { 'ed25519:1': signature } });
    assert.ok(verifyJson(signed, verifying));
  }
});

test("the appendix's event vectors", () => {
  const version = ROOM_VERSIONS.get('1');
  assert.ok(version);
  for (const { event, hash, signature } of vectors.events) {
    const { hashes: _hashes, signatures: _signatures, ...body } = event as JsonObject;
    const { pdu } = hashAndSignEvent(body as UnsignedPdu, version, { serverName: server, key });
    assert.equal(pdu.hashes.sha256, hash);
    assert.equal(pdu.signatures[server]?.['ed25519:1'], signature);
    assert.ok(verifyEventSignature(pdu, version, verifying));
  }
});

test('what was signed verifies, and with any byte of the text changed it does not', () => {
  fc.assert(
    fc.property(json, fc.nat(), fc.integer({ min: 0, max: 7 }), (value, at, bit) => {
      const { signatures: _signatures, unsigned: _unsigned, ...plain } = value;
      const signed = signJson<JsonObject>(plain, server, key);
      assert.ok(verifyJson(signed, verifying));
      const canonical = encodeCanonicalJson(plain);
      const text = Buffer.from(canonical);
      flipBit(text, at, bit);
      const changed = parseObject(text);
      // A changed byte may still say the same, such as the last digit of a long fraction.
      if (changed === undefined || encodeIfPossible(changed) === canonical) return;
      assert.equal(verifyJson({ ...changed, signatures: signed['signatures'] ?? {} }, verifying), false);
    }),
    { numRuns: 100 },
  );
});

test('with any bit of the signature or of the public key changed nothing verifies', () => {
  const value: JsonObject = { one: 1, two: 'Two' };
  const signature = decodeBase64(key.sign(encodeCanonicalJson(value))) ?? Buffer.alloc(0);
  const signedBy = (bytes: Buffer): JsonObject => ({
    ...value,
    signatures: { [server]: { 'ed25519:1': encodeBase64(bytes) } },
  });
  assert.ok(verifyJson(signedBy(signature), verifying));
  for (let bit = 0; bit < signature.length * 8; bit++) {
    assert.equal(verifyJson(signedBy(flipped(signature, bit)), verifying), false, `bit ${bit} of the signature`);
  }
  const publicKey = decodeBase64(key.publicKey) ?? Buffer.alloc(0);
  for (let bit = 0; bit < publicKey.length * 8; bit++) {
    const other = { ...verifying, publicKey: encodeBase64(flipped(publicKey, bit)) };
    assert.equal(verifyJson(signedBy(signature), other), false, `bit ${bit} of the key`);
  }
  for (const length of [0, 1, 63, 65]) {
    assert.equal(verifyJson(signedBy(Buffer.alloc(length, signature)), verifying), false, `${length} bytes`);
  }
});

test('a signature counts for the server and the key under which it stands, and no other', () => {
  const signed = signJson<JsonObject>({ one: 1 }, server, key);
  assert.equal(verifyJson(signed, { ...verifying, serverName: 'other' }), false);
  assert.equal(verifyJson(signed, { ...verifying, keyId: 'ed25519:2' }), false);
  assert.equal(verifyJson(signed, { ...verifying, serverName: '__proto__', keyId: 'constructor' }), false);
});

test('signing keeps the signatures of others, and covers neither them nor unsigned', () => {
  const others = { other: { 'ed25519:x': 'c2ln' }, [server]: { 'ed25519:0': 'b2xk' } };
  const signed = signJson<JsonObject>({ one: 1, unsigned: { age: 1 }, signatures: others }, server, key);
  assert.deepEqual(signed['signatures'], {
    other: { 'ed25519:x': 'c2ln' },
    [server]: { 'ed25519:0': 'b2xk', 'ed25519:1': key.sign('{"one":1}') },
  });
  assert.ok(verifyJson({ ...signed, unsigned: { age: 2 } }, verifying));
});

function flipBit(bytes: Buffer, at: number, bit: number): void {
  const index = at % bytes.length;
  bytes[index] = (bytes[index] ?? 0) ^ (1 << bit);
}

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  flipBit(copy, bit >> 3, bit & 7);
  return copy;
}

function encodeIfPossible(value: JsonObject): string | undefined {
  try {
    return encodeCanonicalJson(value);
  } catch (error) {
    assert.ok(error instanceof CanonicalJsonError);
    return undefined;
  }
}

function parseObject(text: Buffer): JsonObject | undefined {
  try {
    const value: JsonValue = JSON.parse(text.toString());
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

for (const version of ROOM_VERSIONS.values()) {
  test(`events of version ${version.id}: redaction keeps id and signature, a change breaks the content hash`, () => {
    const body = {
      type: 'm.room.message',
      sender: '@a:domain',
      room_id: '!r:domain',
      event_id: '$1:domain',
      content: { body: 'text' },
      depth: 3,
      origin_server_ts: 5,
      prev_events: [],
      auth_events: [],
    };
    const signed = hashAndSignEvent(body, version, { serverName: server, key });
    assert.equal(signed.referenceHash, referenceHash(signed.pdu, version));
    assert.ok(hasValidContentHash(signed.pdu));
    const changed: Pdu = { ...signed.pdu, content: { body: 'other' } };
    assert.equal(hasValidContentHash(changed), false);
    assert.equal(referenceHash(changed, version), signed.referenceHash);
    assert.ok(verifyEventSignature(changed, version, verifying));
    assert.equal(verifyEventSignature({ ...signed.pdu, sender: '@b:domain' }, version, verifying), false);
  });
}

test('signatures that are none are false and never thrown', () => {
  fc.assert(
    fc.property(json, fc.jsonValue(), (value, signatures) => {
      assert.equal(verifyJson({ ...value, signatures: signatures as JsonValue }, verifying), false);
    }),
  );
});

test('a key file reads back as what was written', () => {
  const again = parseSigningKey(key.format());
  assert.equal(again?.publicKey, key.publicKey);
  assert.equal(again?.keyId, 'ed25519:1');
  for (const text of ['', 'ed25519 1', 'rsa 1 AAAA', 'ed25519 1 short', `ed25519 a:b ${vectors.seed}`]) {
    assert.equal(parseSigningKey(text), undefined);
  }
});
