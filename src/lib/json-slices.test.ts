import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SliceError, sliceObject } from './json-slices.ts';

const OPTIONS = { lists: new Set(['a', 'b']), maxBytes: 100, maxElements: 5, breathe: () => undefined };

async function slice(text: string): Promise<unknown> {
  const { values, lists } = await sliceObject(Buffer.from(text), OPTIONS);
  return {
    values: Object.fromEntries([...values].map(([key, bytes]) => [key, bytes.toString()])),
    lists: Object.fromEntries([...lists].map(([key, all]) => [key, all.map(String)])),
  };
}

describe('slices of JSON', () => {
  test('members, and the elements of the lists asked for', async () => {
    const text = ' { "a" : [ {"x":[1,"]}"]} , 2,"\\"]" ] , "c":{"d":[1]} ,"e":null, "b":[]} ';
    assert.deepEqual(await slice(text), {
      values: { c: '{"d":[1]}', e: 'null' },
      lists: { a: ['{"x":[1,"]}"]}', '2', '"\\"]"'], b: [] },
    });
  });

  test('an escaped key is the key that it stands for, and the last of several counts', async () => {
    assert.deepEqual(await slice('{"\\u0061":[1],"c":1,"c":2}'), { values: { c: '2' }, lists: { a: ['1'] } });
  });

  test('what is asked for as a list and is none is a value', async () => {
    assert.deepEqual(await slice('{"a":{"x":1}}'), { values: { a: '{"x":1}' }, lists: {} });
  });

  const wrong = [
    '',
    '[]',
    '{',
    '{"a"',
    '{"a":',
    '{"a":[1',
    '{"a":[1,',
    '{"a":[,1]}',
    '{"a":[1 2]}',
    '{"a":[{]}',
    '{"c":"x}',
    '{1:2}',
    '{"c":1 "d":2}',
    '{"a":[1,2,3],"b":[1,2,3]}',
    `{"c":"${'x'.repeat(200)}"}`,
    `{${Array.from({ length: 200 }, (_, index) => `"k${index}":1`).join()}}`,
  ];
  for (const text of wrong) {
    test(`refuses ${text.slice(0, 40)}`, () => assert.rejects(slice(text), SliceError));
  }
});
