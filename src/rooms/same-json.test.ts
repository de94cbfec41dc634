import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonValue } from '../protocol/pdu.ts';
import { isSameJson } from './same-json.ts';

test('a value is the same as its copy, in any order of keys', () => {
  fc.assert(
    fc.property(fc.jsonValue() as fc.Arbitrary<JsonValue>, (value) => {
      return isSameJson(structuredClone(value), reverseKeys(value));
    }),
  );
});

function reverseKeys(value: JsonValue): JsonValue {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(reverseKeys);
  const entries = Object.entries(value).map(([key, inner]) => [key, reverseKeys(inner as JsonValue)] as const);
  return Object.fromEntries(entries.reverse());
}

const different: readonly (readonly [JsonValue, JsonValue])[] = [
  [1, '1'],
  [null, {}],
  [[], {}],
  [
    [1, 2],
    [2, 1],
  ],
  [{ a: 1 }, { a: 1, b: 1 }],
  [{ a: 1 }, { b: 1 }],
  [{ a: null }, {}],
  [{ a: { b: [1] } }, { a: { b: [2] } }],
];
for (const [a, b] of different) {
  test(`${JSON.stringify(a)} is not ${JSON.stringify(b)}`, () => {
    assert.equal(isSameJson(a, b), false);
    assert.equal(isSameJson(b, a), false);
  });
}
