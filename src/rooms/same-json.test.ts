import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonValue } from '../protocol/pdu.ts';
import { isSameJson } from './same-json.ts';

test('a value is the same as its copy, in any order of keys', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const copy: JsonValue = JSON.parse(JSON.stringify(value), (_key, inner: unknown) =>
        typeof inner === 'object' && inner !== null && !Array.isArray(inner)
          ? Object.fromEntries(Object.entries(inner).reverse())
          : inner,
      );
      return isSameJson(JSON.parse(JSON.stringify(value)), copy);
    }),
  );
});

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
