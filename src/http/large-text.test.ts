import assert from 'node:assert/strict';
import { text as readText } from 'node:stream/consumers';
import { test } from 'node:test';
import { isLargeText, streamText } from './large-text.ts';

test('a large text comes out as it went in, wherever it is cut', async () => {
  for (const shift of ['', 'x', 'xy']) {
    const text = shift + '\u{1F600}e\u0301'.repeat(400_000);
    assert.ok(isLargeText(text));
    assert.equal(await readText(streamText(text)), text);
  }
  assert.equal(isLargeText('small'), false);
});
