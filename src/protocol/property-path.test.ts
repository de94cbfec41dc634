import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { getProperty, parsePropertyPath } from './property-path.ts';

describe('parsePropertyPath', () => {
  test('cuts at dots and reads escapes', () => {
    const rows: readonly [string, readonly string[]][] = [
      ['content.body', ['content', 'body']],
      ['content.m\\.relates_to', ['content', 'm.relates_to']],
      ['content.m\\\\foo', ['content', 'm\\foo']],
      ['content.m\\\\.foo', ['content', 'm\\', 'foo']],
      ['a\\x', ['a\\x']],
      ['a\\', ['a\\']],
      ['', ['']],
      ['.', ['', '']],
    ];
    for (const [path, names] of rows) assert.deepEqual(parsePropertyPath(path), names);
  });

  test('reads back what was escaped', () => {
    const name = fc.array(fc.constantFrom('a', '.', '\\'), { maxLength: 5 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.array(name, { minLength: 1 }), (names) => {
        const path = names.map((one) => one.replaceAll('\\', '\\\\').replaceAll('.', '\\.')).join('.');
        assert.deepEqual(parsePropertyPath(path), names);
      }),
    );
  });
});

describe('getProperty', () => {
  test('follows own properties of objects only', () => {
    const event = { a: { b: [1], c: null } };
    assert.deepEqual(getProperty(event, ['a', 'b']), [1]);
    assert.equal(getProperty(event, ['a', 'c']), null);
    for (const names of [['x'], ['a', 'b', '0'], ['a', 'c', 'x'], ['a', 'constructor'], ['toString']]) {
      assert.equal(getProperty(event, names), undefined);
    }
  });
});
