import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PersistentMap } from './persistent-map.ts';

test('the changes between two maps are those that a comparison key by key finds', () => {
  const key = fc.integer({ min: 0, max: 60 }).map((number) => `k${number}`);
  const change = fc.record({ key, value: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }) });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 120 }), fc.array(change, { maxLength: 40 }), (first, second) => {
      const apply = (map: PersistentMap<number>, changes: typeof first): PersistentMap<number> =>
        changes.reduce(
          (now, { key: name, value }) => (value === undefined ? now.delete(name) : now.set(name, value)),
          map,
        );
      const before = apply(PersistentMap.empty<number>(), first);
      const after = apply(before, second);
      const names = new Set([...before, ...after].map(([name]) => name));
      const expected = [...names]
        .filter((name) => before.get(name) !== after.get(name))
        .map((name) => ({ key: name, before: before.get(name), after: after.get(name) }));
      const sort = (list: readonly { readonly key: string }[]) => list.toSorted((a, b) => (a.key < b.key ? -1 : 1));
      assert.deepEqual(sort([...after.changesSince(before)]), sort(expected));
    }),
  );
});

test('a few changes to a large map are found among all that stayed', () => {
  const large = PersistentMap.from(Array.from({ length: 20_000 }, (_, index) => [`k${index}`, index] as const));
  const changed = large.set('k5', -1).delete('k77').set('new', 0).set('k6', 6);
  const found = [...changed.changesSince(large)].toSorted((a, b) => (a.key < b.key ? -1 : 1));
  assert.deepEqual(found, [
    { key: 'k5', before: 5, after: -1 },
    { key: 'k77', before: 77, after: undefined },
    { key: 'new', before: undefined, after: 0 },
  ]);
  assert.deepEqual([...large.changesSince(large)], []);
});
