import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PersistentMap } from './persistent-map.ts';

const key = fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom('__proto__', 'constructor', 'hasOwnProperty'));
const operation = fc.tuple(key, fc.option(fc.integer(), { nil: undefined }));

test('behaves as a Map, and older versions keep what they held', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const model = new Map<string, number>();
      let map = PersistentMap.empty<number>();
      const history: [PersistentMap<number>, Map<string, number>][] = [];
      for (const [name, value] of operations) {
        if (value === undefined) model.delete(name);
        else model.set(name, value);
        map = value === undefined ? map.delete(name) : map.set(name, value);
        history.push([map, new Map(model)]);
      }
      for (const [version, expected] of history) {
        assert.equal(version.size, expected.size);
        assert.deepEqual(new Map(version), expected);
        for (const [name, value] of expected) assert.equal(version.get(name), value);
      }
    }),
  );
});

test('holds many keys, and keys whose hashes collide', () => {
  let map = PersistentMap.empty<number>();
  for (let index = 0; index < 20_000; index++) map = map.set(`@user${index}:example.org`, index);
  assert.equal(map.size, 20_000);
  for (let index = 0; index < 20_000; index += 97) assert.equal(map.get(`@user${index}:example.org`), index);
  assert.equal([...map].length, 20_000);
});
