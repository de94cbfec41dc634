import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSyncToken, parseSyncToken } from './sync-token.ts';
import { createStreamToken, positionOf } from './token.ts';

test('a sync token comes back as it was', () => {
  const token = { stream: createStreamToken(1, 4711), typing: { boot: 'aB-_9', serial: 12 } };
  const text = formatSyncToken(token);
  assert.match(text, /^[A-Za-z0-9._~-]+$/);
  assert.deepEqual(parseSyncToken(text), token);
  const withPresence = { ...token, presence: 7 };
  assert.deepEqual(parseSyncToken(formatSyncToken(withPresence)), withPresence);
});

test('a plain stream token is a sync token without typing', () => {
  const parsed = parseSyncToken('h1_1.10');
  assert.equal(parsed?.typing, undefined);
  assert.equal(parsed === undefined ? undefined : positionOf(parsed.stream, 1), 10);
});

test('texts that we never made are no tokens', () => {
  for (const text of [
    '',
    's1_2',
    'h1_1.1~',
    'h1_1.1~a',
    'h1_1.1~a.b',
    'h1_1.1~a.1~b.2',
    'h1_1.1~a.-1',
    'h1_1.1~a.1.b',
    'h1_1.1~a.1.2.3',
    '~a.1',
  ]) {
    assert.equal(parseSyncToken(text), undefined, text);
  }
  assert.equal(parseSyncToken(`h1_1.1~${'a'.repeat(5000)}.1`), undefined);
});
