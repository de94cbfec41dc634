import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createStreamToken, formatStreamToken } from '../streams/token.ts';
import { formatPosition, parsePosition } from './pagination-token.ts';

test('tokens are those of sync', () => {
  assert.equal(formatPosition(1, 42), formatStreamToken(createStreamToken(1, 42)));
  assert.equal(parsePosition(1, 'from', formatPosition(1, 42)), 42);
  assert.equal(parsePosition(2, 'from', formatPosition(1, 42)), 0);
  assert.equal(parsePosition(1, 'from', formatPosition(1, -1)), 0);
});

for (const text of ['', 'x', 's1_2', 'h1_1', 'h1_1.-1', 'h1_1.99999999999999999']) {
  test(`${text.slice(0, 30)} is no token`, () => {
    assert.throws(() => parsePosition(1, 'from', text), { errcode: 'M_INVALID_PARAM' });
  });
}
