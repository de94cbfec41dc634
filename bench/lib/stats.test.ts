import assert from 'node:assert/strict';
import { test } from 'node:test';
import { summarize } from './stats.ts';

test('percentiles are nearest-rank and independent of order', () => {
  const samples = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual(summarize(samples), { p50: 50, p95: 95, p99: 99, max: 100 });
});

test('one sample is every percentile, and none is zero', () => {
  assert.deepEqual(summarize([7]), { p50: 7, p95: 7, p99: 7, max: 7 });
  assert.deepEqual(summarize([]), { p50: 0, p95: 0, p99: 0, max: 0 });
});
