import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hasEscapedKey, parseJsonText } from './parse-json.ts';

const ESCAPED: readonly (readonly [key: string, text: string])[] = [
  ['"', '\\"'],
  ['\n', '\\n'],
  ['/', '\\/'],
  ['A', '\\u0041'],
  ['a\t', 'a\\t'],
  ['\u{1f600}', '\\ud83d\\ude00'],
];

test('a key is read rightly after one that V8 would take it for', () => {
  for (const [key, text] of ESCAPED) {
    JSON.parse('{"h":1,"\\\\":2}');
    JSON.parse('{"h":1,"a\\\\":2}');
    assert.deepEqual(parseJsonText(`{"h":1,"${text}":2}`), { h: 1, [key]: 2 });
  }
});

const key = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('"', '\\', '\n', 'a\\', 'a"', '":', '__proto__', ''),
);
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    key,
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    tie('array'),
    tie('object'),
  ),
  array: fc.array(tie('value'), { maxLength: 4 }),
  object: fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
})).value;

test('what was written is read', () => {
  const property = fc.property(value, fc.constantFrom(undefined, 1, '\t'), (written, space) => {
    const text = JSON.stringify(written, null, space);
    assert.equal(JSON.stringify(parseJsonText(text), null, space), text);
  });
  fc.assert(property, { numRuns: 500 });
});

test('the last of duplicate keys counts, and `__proto__` is a key as others', () => {
  const parsed = parseJsonText('{"\\n":1.0,"b":{"__proto__":[]},"\\n":2}') as Record<string, unknown>;
  assert.deepEqual(Object.entries(parsed), [
    ['\n', 2],
    ['b', JSON.parse('{"__proto__":[]}')],
  ]);
});

test('numbers are told with their text and holder, by either parser', () => {
  for (const name of ['a', '\\n']) {
    const text = `{"${name}":1.0,"b":[ 1e2 ,"x",-0],"c":{"d":5 },"${name}":7}`;
    const told: [string, object][] = [];
    const parsed = parseJsonText(text, (source, holder) => told.push([source, holder])) as Record<string, object>;
    const sources = (holder: object | undefined) => told.filter(([, of]) => of === holder).map(([source]) => source);
    assert.deepEqual(sources(parsed), ['7']);
    assert.deepEqual(sources(parsed['b']), ['1e2', '-0']);
    assert.deepEqual(sources(parsed['c']), ['5']);
  }
});

test('what is no JSON is refused', () => {
  const wrong = [
    '',
    '{',
    '}',
    '{"\\n"}',
    '{"\\n":}',
    '{"\\n":1,}',
    '{"\\n":[1,]}',
    '{"\\n":01}',
    '{"\\n":+1}',
    '{"\\n":.5}',
  ];
  wrong.push(
    '{"\\n":1}x',
    '{"\\n":tru}',
    '{"\\x":1}',
    '{"\\u12":1}',
    '{"\\n" 1}',
    '{\\n:1}',
    '{"\\n":"\n"}',
    '{"\\n":1 "b":2}',
  );
  wrong.push('{"\\n":nul', '["\\n":1]', '{"\\n', '{"\\', '{"a":1,"\\n":[}', '{"\\n":1]');
  for (const text of wrong) assert.throws(() => parseJsonText(text), SyntaxError, text);
});

test('escapes in values leave the text to the fast parser, and looking for them takes linear time', () => {
  for (const text of ['{"a":"\\n"}', '["\\":",":"]', '{"a":"b\\"","c":"\\\\"}', '"\\u0041"', '{}', '[]', '1']) {
    assert.equal(hasEscapedKey(text), false, text);
  }
  for (const text of ['{"\\n":1}', '{"a":"\\n","\\u0041" \n: 1}', '{"a\\\\":{}}', '[{"a":"\\\\","b\\"":1}]']) {
    assert.equal(hasEscapedKey(text), true, text);
  }
  // Twelve million characters: anything worse than linear would not end.
  assert.equal(hasEscapedKey(`{"a":"${'\\"'.repeat(3_000_000)}","b":[${'"",'.repeat(2_000_000)}1]}`), false);
});
