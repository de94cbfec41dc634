import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forEachLimited } from './limited-concurrency.ts';

test('takes every item once, and only a few at a time', async () => {
  const seen: number[] = [];
  let running = 0;
  let most = 0;
  await forEachLimited(Array(50).keys(), 4, async (item) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    seen.push(item);
  });
  assert.deepEqual(
    seen.sort((a, b) => a - b),
    [...Array(50).keys()],
  );
  assert.equal(most, 4);
});

test('passes a failure on', async () => {
  await assert.rejects(
    forEachLimited([1], 2, () => Promise.reject(new Error('no'))),
    /no/,
  );
});

test('a failure ends it, but not before what was begun has ended', async () => {
  const ended: number[] = [];
  const work = async (item: number): Promise<void> => {
    if (item === 1) throw new Error('no');
    await new Promise((resolve) => setTimeout(resolve, 5));
    ended.push(item);
  };
  await assert.rejects(forEachLimited([0, 1, 2, 3], 2, work), /no/);
  assert.deepEqual(ended, [0]);
});
