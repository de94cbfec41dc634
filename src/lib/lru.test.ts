import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Lru } from './lru.ts';

describe('Lru', () => {
  test('forgets what was used longest ago', () => {
    const evicted: string[] = [];
    const lru = new Lru<string, number>({ maxCost: 2, onEvict: (_, key) => evicted.push(key) });
    lru.set('a', 1);
    lru.set('b', 2);
    assert.equal(lru.get('a'), 1);
    lru.set('c', 3);
    assert.deepEqual(evicted, ['b']);
    assert.deepEqual([lru.peek('a'), lru.peek('b'), lru.peek('c')], [1, undefined, 3]);
  });

  test('does not take a peek for a use', () => {
    const lru = new Lru<string, number>({ maxCost: 2 });
    lru.set('a', 1);
    lru.set('b', 2);
    lru.peek('a');
    lru.set('c', 3);
    assert.equal(lru.has('a'), false);
  });

  test('counts cost', () => {
    const lru = new Lru<string, string>({ maxCost: 10, costOf: (value) => value.length });
    lru.set('a', '12345');
    lru.set('b', '1234');
    assert.equal(lru.cost, 9);
    lru.set('a', '123456');
    assert.deepEqual([lru.cost, lru.size], [10, 2]);
    lru.set('c', '12');
    assert.deepEqual([lru.has('b'), lru.has('a'), lru.cost], [false, true, 8]);
    lru.delete('a');
    assert.equal(lru.cost, 2);
    lru.clear();
    assert.deepEqual([lru.cost, lru.size], [0, 0]);
  });

  test('does not keep what alone exceeds the bound, nor what it was to replace', () => {
    const lru = new Lru<string, string>({ maxCost: 3, costOf: (value) => value.length });
    lru.set('a', '1');
    lru.set('b', '1');
    lru.set('a', '12345');
    assert.deepEqual([lru.has('a'), lru.has('b'), lru.cost], [false, true, 1]);
  });

  test('refuses a cost that is no number', () => {
    const lru = new Lru<string, number>({ maxCost: 3, costOf: () => Number.NaN });
    lru.set('a', 1);
    assert.equal(lru.size, 0);
  });
});
