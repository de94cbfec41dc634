import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MinHeap } from './min-heap.ts';

test('MinHeap gives what was pushed in order', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20)), (values) => {
      const heap = new MinHeap<{ value: number }>((x, y) => x.value - y.value);
      for (const value of values) heap.push({ value });
      assert.equal(heap.size, values.length);
      const popped: number[] = [];
      for (let item = heap.pop(); item !== undefined; item = heap.pop()) popped.push(item.value);
      assert.deepEqual(
        popped,
        values.toSorted((x, y) => x - y),
      );
    }),
  );
});
