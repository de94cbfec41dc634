/**
 * Requests for an endpoint made from its declaration: right, nearly right and hostile values for every part of the path,
 * the query and the body.
 */
import fc from 'fast-check';
import type { Endpoint } from '../../src/http/endpoint.ts';
import { at, entriesAt, listAt } from './json.ts';

export interface FuzzedRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly body: string | undefined;
}

/** Text that servers trip over. */
const HOSTILE = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.constantFrom(
    '',
    '\0',
    '__proto__',
    'constructor',
    '..',
    '%00',
    '%2F',
    '!',
    '#',
    '@',
    '$',
    '!a:b',
    '#a:b',
    '@a:b',
    '{}',
    '[]',
    'null',
    '-1',
    '0',
    '1e400',
    '9007199254740993',
    'h1_1.0',
    'h1_1.9007199254740991',
    'h1_2.1',
    'n1',
    'p9999999',
    '\ud800',
    'ﷺ',
    "'",
    '\\',
    'x'.repeat(300),
    `!${'x'.repeat(5_000)}`,
  ),
);

/** `known`: ids that exist, so that requests reach beyond the first check. */
export function requestsFor(endpoint: Endpoint, path: string, known: readonly string[]): fc.Arbitrary<FuzzedRequest> {
  const text = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...known) }, { weight: 2, arbitrary: HOSTILE });
  const names = Array.from(path.matchAll(/\{([^{}]+)\}/g), ([part]) => part);
  return fc
    .record({
      params: fc.tuple(...names.map((name) => paramOf(name, known, text))),
      query: fc.dictionary(fc.constantFrom('x', ...keysOf(endpoint.querySchema)), queryValue(text), { maxKeys: 5 }),
      body: endpoint.bodySchema === undefined ? fc.constant(undefined) : bodyOf(endpoint.bodySchema, text),
    })
    .map(({ params, query, body }) => ({
      method: endpoint.method,
      path: `${names.reduce((filled, name, index) => filled.replace(name, () => encode(params[index] ?? '')), path)}${search(query)}`,
      body,
    }));
}

/** Mostly an id of the kind that belongs there. */
function paramOf(name: string, known: readonly string[], text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const sigil = { '{roomId}': '!', '{roomIdOrAlias}': '!', '{eventId}': '$', '{userId}': '@', '{roomAlias}': '#' }[
    name
  ];
  const fitting = known.filter((id) => sigil !== undefined && id.startsWith(sigil));
  return fitting.length === 0 ? text : fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...fitting) }, text);
}

function queryValue(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof(text, fc.integer({ min: -2, max: 2_000 }).map(String), fc.constantFrom('b', 'f', 'true', 'join'));
}

function bodyOf(schema: unknown, text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const fitting = anyValue(schema, text).map((value) => JSON.stringify(value) ?? '');
  return fc.oneof(
    { weight: 8, arbitrary: fitting },
    fc.json(),
    fc.string(),
    fc.constantFrom('', '[', '{"a":', '"\\u0000"', '{"x":1e400}', '['.repeat(2_000)),
  );
}

/** A value of the schema, with now and then something else in the place of any part. */
function anyValue(schema: unknown, text: fc.Arbitrary<string>): fc.Arbitrary<unknown> {
  const variants = listAt(schema, 'anyOf');
  if (variants.length > 0) return fc.oneof(...variants.map((variant) => anyValue(variant, text)));
  return fc.oneof({ weight: 10, arbitrary: rightValue(schema, text) }, fc.jsonValue({ maxDepth: 3 }));
}

function rightValue(schema: unknown, text: fc.Arbitrary<string>): fc.Arbitrary<unknown> {
  const constant = at(schema, 'const');
  if (constant !== undefined) return fc.constant(constant);
  switch (at(schema, 'type')) {
    case 'object': {
      const properties = entriesAt(schema, 'properties').map(([key, property]) => [key, anyValue(property, text)]);
      if (properties.length === 0) return fc.dictionary(text, fc.oneof(text, fc.jsonValue()), { maxKeys: 3 });
      return fc.record(Object.fromEntries(properties), { requiredKeys: [] });
    }
    case 'array':
      return fc.array(anyValue(at(schema, 'items'), text), { maxLength: 3 });
    case 'string':
      return text;
    case 'integer':
    case 'number':
      return fc.oneof(fc.integer({ min: -2, max: 2_000 }), fc.double(), fc.maxSafeInteger());
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    default:
      return fc.jsonValue();
  }
}

function keysOf(schema: unknown): readonly string[] {
  return entriesAt(schema, 'properties').map(([key]) => key);
}

function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

function search(query: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(query).map(([key, value]) => `${encode(key)}=${encode(value)}`);
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}
