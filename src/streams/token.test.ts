import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createStreamToken, formatStreamToken, parseStreamToken, positionOf } from './token.ts';

test('a token reads back as what it names', () => {
  const writers = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 32_767 }), fc.maxSafeNat()), {
    selector: ([writer]) => writer,
    minLength: 1,
    maxLength: 64,
  });
  fc.assert(
    fc.property(writers, (list) => {
      const token = { positions: new Map(list) };
      assert.deepEqual(parseStreamToken(formatStreamToken(token)), token);
    }),
  );
  assert.equal(formatStreamToken(createStreamToken(1, 4711)), 'h1_1.4711');
  assert.equal(positionOf(createStreamToken(1, 5), 2), 0);
});

test('anything else is no token', () => {
  const tooMany = `h1${Array.from({ length: 65 }, (_, index) => `_${index}.1`).join('')}`;
  const texts = ['', 'h1', 'h1_', 'h1_1', 'h1_1.', 'h1_.1', 'h1_1.2.3', 'h1_-1.2', 'h1_1.1e3', 's1_1.2', 'h1_99999.1'];
  for (const text of [...texts, 'h1_1.99999999999999999', 'h1_1.2_', tooMany]) {
    assert.equal(parseStreamToken(text), undefined, text);
  }
  fc.assert(
    fc.property(fc.string(), (text) => {
      const token = parseStreamToken(text);
      if (token !== undefined) assert.equal(formatStreamToken(token).length > 0, true);
    }),
  );
});
