import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseJsonText } from '../lib/parse-json.ts';
import { encodeCanonicalJson } from './canonical-json.ts';
import { type ErrorCode, MatrixError } from './errors.ts';
import type { JsonValue } from './pdu.ts';
import { hasOddNumbers, holdsOddNumber, parseJson, parseJsonWithOddNumbers } from './strict-json.ts';

const bytesOf = (text: string): Buffer => Buffer.from(text);

function refuses(bytes: Uint8Array, errcode: ErrorCode): void {
  assert.throws(
    () => parseJson(bytes),
    (error) => error instanceof MatrixError && error.errcode === errcode,
  );
}

test('J1: of duplicate keys the last one counts, and so does how its number is written', () => {
  assert.deepEqual(parseJson(bytesOf('{"a":1,"b":0,"a":2}')), { a: 2, b: 0 });
  const { value, oddNumbers } = parseJsonWithOddNumbers(bytesOf('{"a":1.0,"a":2}'));
  assert.deepEqual(value, { a: 2 });
  assert.equal(holdsOddNumber(value, oddNumbers), false);
});

const ODD = ['1.0', '1e2', '1E2', '-0', '0.5', '-1.5', '0e0', '-0.0', '1e400', '-1e400', '1e-400', '10e+2'];
const OUT_OF_RANGE = [
  '9007199254740992',
  '-9007199254740992',
  '9007199254740993',
  '9223372036854775807',
  '1'.repeat(400),
];
const EVEN = [
  '0',
  '1',
  '-1',
  '10',
  '123456789012345',
  '9007199254740991',
  '-9007199254740991',
  '-10',
  '999999999999999',
];

for (const number of [...ODD, ...OUT_OF_RANGE]) {
  test(`J2, A19: ${number.slice(0, 40)} is odd wherever it stands`, () => {
    for (const text of placesOf(number)) assert.ok(hasOddNumbers(bytesOf(text)), text);
  });
}

for (const number of EVEN) {
  test(`J2: ${number} is not odd`, () => {
    for (const text of placesOf(number)) assert.equal(hasOddNumbers(bytesOf(text)), false, text);
  });
}

function placesOf(number: string): readonly string[] {
  return [
    number,
    `[${number}]`,
    `[ 1 ,${number}\n]`,
    `{"a":${number}}`,
    `{"a":{"b":[[],{"c":\t${number} }]}}`,
    `{"\\"":"\\\\","x":${number},"y":"z"}`,
  ];
}

test('J2: what looks like a number in a string is text', () => {
  const texts = ['1.0', '-0', '1e2', '"1.0', '\\', '\\"1.5', '\\\\"-0', '99999999999999999999', 'é1.5', '\u2028-0'];
  for (const text of texts) {
    assert.equal(hasOddNumbers(bytesOf(JSON.stringify({ [text]: [text, 1, text] }))), false, text);
    assert.equal(hasOddNumbers(bytesOf(JSON.stringify({ [text]: [text, 1.5, text] }))), true, text);
  }
});

test('J3: bytes that are not UTF-8 are no JSON', () => {
  const broken = [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]];
  for (const bytes of broken) refuses(Buffer.concat([bytesOf('"'), Buffer.from(bytes), bytesOf('"')]), 'M_NOT_JSON');
  // A byte order mark is no white space.
  refuses(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytesOf('{}')]), 'M_NOT_JSON');
});

test('J3: an escape can make half of a surrogate pair, which has no canonical form', () => {
  const value = parseJson(bytesOf('{"a":"\\ud800"}'));
  assert.throws(() => encodeCanonicalJson(value));
});

test('J4: keys stay in the order in which they came; canonical JSON orders them', () => {
  assert.deepEqual(Object.keys(parseJson(bytesOf('{"😀":1,"\uFFFD":2,"a":3}')) ?? {}), ['😀', '\uFFFD', 'a']);
});

test('J5: keys that JavaScript knows arrive as ordinary ones, and change no prototype', () => {
  for (const number of ['1', '1.0']) {
    const text = `{"__proto__":{"x":${number}},"constructor":{"prototype":{"y":1}},"toString":2,"hasOwnProperty":3}`;
    const { value, oddNumbers } = parseJsonWithOddNumbers(bytesOf(text));
    assert.equal(JSON.stringify(value), text.replace('1.0', '1'));
    assert.equal(holdsOddNumber(value, oddNumbers), number === '1.0');
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
    assert.equal(Reflect.get({}, 'x') ?? Reflect.get({}, 'y'), undefined);
  }
});

test('J6: nesting is bounded before anything recursive sees it', () => {
  for (const [open, close] of [
    ['[', ']'],
    ['{"a":', '}'],
  ] as const) {
    const nested = (depth: number) => bytesOf(`${open.repeat(depth)}1${close.repeat(depth)}`);
    assert.ok(parseJson(nested(512)));
    refuses(nested(513), 'M_BAD_JSON');
    refuses(nested(200_000), 'M_BAD_JSON');
    assert.throws(() => parseJsonWithOddNumbers(nested(513)), MatrixError);
    assert.throws(() => parseJson(nested(11), 10), MatrixError);
  }
  assert.deepEqual(
    parseJson(bytesOf(`"${'['.repeat(1000)}\\"${'{'.repeat(1000)}"`)),
    `${'['.repeat(1000)}"${'{'.repeat(1000)}`,
  );
  assert.deepEqual(
    parseJson(bytesOf(`[${'[],'.repeat(1000)}[]]`)),
    Array.from({ length: 1001 }, () => []),
  );
});

test('what is no JSON is M_NOT_JSON, however its numbers look', () => {
  for (const text of [
    '',
    '{',
    '"',
    '"\\',
    '01',
    '1.',
    '.5',
    '+1',
    '-',
    'NaN',
    '{"x":NaN}',
    'Infinity',
    '1e',
    '{"a":1,}',
    '--0',
    "'a'",
  ]) {
    refuses(bytesOf(text), 'M_NOT_JSON');
    assert.throws(() => parseJsonWithOddNumbers(bytesOf(text)), MatrixError);
  }
});

test('which parts hold odd numbers is told apart', () => {
  const text = '{"pdus":[{"depth":1},{"depth":1.0},{"content":{"a":[{"b":-0}]}},{"content":{"a":"1.0"}}],"ts":1}';
  const { value, oddNumbers } = parseJsonWithOddNumbers(bytesOf(text));
  assert.deepEqual(value, JSON.parse(text));
  const { pdus } = value as { readonly pdus: readonly JsonValue[] };
  assert.deepEqual(
    pdus.map((pdu) => holdsOddNumber(pdu, oddNumbers)),
    [false, true, true, false],
  );
});

/** The text of a number: plain integers, and every way of writing one that JSON allows. */
const numberText = fc.oneof(
  fc.maxSafeInteger().map(String),
  fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }).map(String),
  fc.bigInt({ min: 2n ** 53n - 3n, max: 2n ** 53n + 3n }).map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
  fc.stringMatching(/^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?$/),
);
const space = fc.constantFrom('', '', ' ', '\n\t', '\r ');
const stringText = fc.oneof(fc.string({ unit: 'binary' }), numberText).map((text) => JSON.stringify(text));
const { document } = fc.letrec<{ document: string }>((tie) => ({
  document: fc.oneof(
    { maxDepth: 4 },
    numberText,
    stringText,
    fc.constantFrom('true', 'false', 'null'),
    fc.tuple(space, fc.array(tie('document'))).map(([gap, items]) => `[${gap}${items.join(`${gap},`)}${gap}]`),
    fc
      .tuple(space, fc.uniqueArray(fc.tuple(stringText, tie('document')), { selector: ([key]) => key }))
      .map(([gap, pairs]) => `{${pairs.map(([key, inner]) => `${gap}${key}:${gap}${inner}`).join(',')}${gap}}`),
  ),
}));

test("J2: odd numbers are found exactly where the parser's own source text has them", () => {
  fc.assert(
    fc.property(document, (text) => {
      let isOdd = false;
      const noteSource = (_key: string, value: unknown, ...[context]: readonly unknown[]): unknown => {
        if (typeof value === 'number') isOdd ||= !isCanonical(String(Reflect.get(Object(context), 'source')));
        return value;
      };
      JSON.parse(text, noteSource);
      // Not what V8 made of it, which reads some keys wrongly.
      const expected = parseJsonText(text) as JsonValue;
      const bytes = bytesOf(text);
      assert.equal(hasOddNumbers(bytes), isOdd, text);
      const { value, oddNumbers } = parseJsonWithOddNumbers(bytes);
      assert.deepEqual(value, expected);
      assert.deepEqual(parseJson(bytes), expected);
      if (typeof value === 'object' && value !== null) assert.equal(holdsOddNumber(value, oddNumbers), isOdd);
    }),
    { numRuns: 1_000 },
  );
});

/** By the grammar of the appendices, worked out on whole numbers of any size. */
function isCanonical(source: string): boolean {
  if (!/^(0|-?[1-9][0-9]*)$/.test(source)) return false;
  const value = BigInt(source);
  return value < 2n ** 53n && value > -(2n ** 53n);
}

test('no bytes make the parser throw anything but an answer', () => {
  const pieces = fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', '-', '0', '1.', 'e', 'null', '\0', 'é');
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.array(pieces, { maxLength: 40 }).map((parts) => bytesOf(parts.join(''))),
  );
  fc.assert(
    fc.property(bytes, (given) => {
      hasOddNumbers(given);
      try {
        parseJsonWithOddNumbers(given);
      } catch (error) {
        assert.ok(error instanceof MatrixError);
      }
    }),
    { numRuns: 1_000 },
  );
});
