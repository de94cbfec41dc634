import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import appendix from '../../test/vectors/canonical-json/appendix.json' with { type: 'json' };
import cases from '../../test/vectors/canonical-json/cases.json' with { type: 'json' };
import { parseJsonText } from '../lib/parse-json.ts';
import {
  CanonicalJsonError,
  checkCanonical,
  compareCodePoints,
  encodeCanonicalJson,
  MAX_JSON_DEPTH,
} from './canonical-json.ts';
import type { JsonValue } from './pdu.ts';

for (const { name, value, text } of cases) {
  test(name, () => assert.equal(encodeCanonicalJson(value as JsonValue), text));
}

for (const { name, text, canonical } of appendix.examples) {
  test(`the appendix's example: ${name}`, () => assert.equal(encodeCanonicalJson(JSON.parse(text)), canonical));
}

const json = fc.jsonValue({ noUnicodeString: false, maxDepth: 5 }) as fc.Arbitrary<JsonValue>;

test('encoding what was encoded gives the same text, and the same value', () => {
  fc.assert(
    fc.property(json, (value) => {
      if (checkCanonical(value) !== undefined) return;
      const text = encodeCanonicalJson(value);
      assert.equal(encodeCanonicalJson(parseJsonText(text) as JsonValue), text);
      assert.deepEqual(parseJsonText(text), value);
    }),
  );
});

test('the order in which keys were set does not matter', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.integer()), (object) => {
      const reversed = Object.fromEntries(Object.entries(object).reverse());
      assert.equal(encodeCanonicalJson(reversed), encodeCanonicalJson(object));
    }),
  );
});

test('J4: the order is that of code points', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (a, b) => {
      const expected = Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      assert.equal(Math.sign(compareCodePoints(a, b)), expected);
    }),
  );
});

test('J3, J6, A19: what servers could read differently is refused', () => {
  let deep: JsonValue = [];
  for (let depth = 0; depth < 20_000; depth++) deep = [deep];
  for (const value of ['\ud800', { '\udc00': 1 }, Number.NaN, Number.POSITIVE_INFINITY, deep]) {
    assert.throws(() => encodeCanonicalJson(value as JsonValue), CanonicalJsonError);
    assert.notEqual(checkCanonical(value as JsonValue), undefined);
  }
  for (const value of [1.5, 2 ** 53, -(2 ** 53), -0, { a: [0.1] }]) assert.notEqual(checkCanonical(value), undefined);
  assert.equal(checkCanonical({ a: [1, 'x', null, true, 2 ** 53 - 1] }), undefined);
});

test('J5: keys that JavaScript knows are keys like any other', () => {
  const value = JSON.parse('{"constructor":2,"__proto__":{"x":1},"toString":3}') as JsonValue;
  assert.equal(encodeCanonicalJson(value), '{"__proto__":{"x":1},"constructor":2,"toString":3}');
});

test('J6: the greatest depth that is allowed is encoded, and one more is not', () => {
  const nested = (depth: number): JsonValue => JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as JsonValue;
  assert.equal(encodeCanonicalJson(nested(MAX_JSON_DEPTH)).length, 2 * MAX_JSON_DEPTH);
  assert.throws(() => encodeCanonicalJson(nested(MAX_JSON_DEPTH + 1)), CanonicalJsonError);
});
