/**
 * The vectors' hashes and ids were worked out with another server's implementation, for every room version.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import vectors from '../../test/vectors/hashes/events.json' with { type: 'json' };
import { contentHash, eventIdOf, hasValidContentHash, referenceHash } from './hashes.ts';
import type { JsonValue, Pdu } from './pdu.ts';
import { getRoomVersion, ROOM_VERSIONS, type RoomVersion } from './room-version.ts';

interface Vector {
  readonly name: string;
  readonly pdu: Pdu;
  readonly eventIds: Readonly<Record<string, string>>;
  /** Of versions whose ids do not show it. */
  readonly referenceHashes?: Readonly<Record<string, string>>;
}

const VECTORS = vectors as unknown as readonly Vector[];

function versionOf(id: string): RoomVersion {
  const version = getRoomVersion(id);
  assert.ok(version);
  return version;
}

test('the vectors cover every room version', () => {
  const covered = new Set(VECTORS.flatMap(({ eventIds }) => Object.keys(eventIds)));
  assert.deepEqual([...covered].sort(), [...ROOM_VERSIONS.keys()].sort());
});

for (const { name, pdu, eventIds, referenceHashes } of VECTORS) {
  for (const [id, eventId] of Object.entries(eventIds)) {
    test(`${name} in version ${id}`, () => {
      const version = versionOf(id);
      assert.equal(contentHash(pdu), pdu.hashes.sha256);
      assert.ok(hasValidContentHash(pdu));
      assert.equal(eventIdOf(pdu, version), eventId);
      assert.equal(referenceHash(pdu, version), referenceHashes?.[id] ?? eventId.slice(1));
    });
  }
}

test('neither hash covers signatures and unsigned; the content hash covers everything else', () => {
  const json = fc.jsonValue({ maxDepth: 2, noUnicodeString: false }) as fc.Arbitrary<JsonValue>;
  const vector = fc.constantFrom(...VECTORS);
  fc.assert(
    fc.property(vector, json, ({ pdu, eventIds }, value) => {
      const changed: Pdu = { ...pdu, signatures: {}, unsigned: { value } };
      assert.ok(hasValidContentHash(changed));
      assert.ok(!hasValidContentHash({ ...pdu, 'org.example.added': 1 }));
      for (const id of Object.keys(eventIds)) {
        assert.equal(referenceHash(changed, versionOf(id)), referenceHash(pdu, versionOf(id)));
      }
    }),
  );
});

test('the order of keys changes no hash, padding of the hash does not count, and another hash is wrong', () => {
  for (const { pdu } of VECTORS) {
    const turned = Object.fromEntries(Object.entries(pdu).reverse());
    assert.equal(contentHash(turned), contentHash(pdu));
    assert.ok(hasValidContentHash({ ...pdu, hashes: { sha256: `${pdu.hashes.sha256}=` } }));
    assert.ok(!hasValidContentHash({ ...pdu, hashes: { sha256: pdu.hashes.sha256.slice(1) } }));
    assert.ok(!hasValidContentHash({ ...pdu, hashes: { sha256: '' } }));
  }
});
