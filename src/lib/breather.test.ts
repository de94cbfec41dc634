import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBreather } from './breather.ts';

test('lets others go on after a slice, and not before', async () => {
  let now = 0;
  const breathe = createBreather({ monotonic: () => now });
  now = 9;
  assert.equal(breathe(), undefined);
  now = 10;
  let others = 0;
  setImmediate(() => {
    others += 1;
  });
  await breathe();
  assert.equal(others, 1);
  now = 19;
  assert.equal(breathe(), undefined);
});
