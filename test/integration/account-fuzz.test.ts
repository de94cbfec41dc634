/**
 * Whatever is sent to the endpoints of accounts, made from the schema that each declares and bent a little: never a fault
 * of the server, and always an answer in the form of the spec.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Endpoint } from '../../src/http/endpoint.ts';
import { at } from '../support/json.ts';
import { type Registered, startWholeServer, type WholeServer } from '../support/whole-server.ts';

const PLACES =
  /^\/_matrix\/client\/(v3|v1|unstable\/[^/]+)\/(account|capabilities|delete_devices|devices|login|logout|profile|refresh|register|user\/\{userId\}\/(account_data|openid|rooms\/\{roomId\}\/account_data))/;
/** For each endpoint: enough to meet every schema in many ways within some seconds; ten times as many found no more. */
const RUNS = 60;

/** Strings that somebody once tripped over. */
const oddText = fc.constantFrom(
  '',
  '\u0000',
  '\ud800',
  '__proto__',
  'constructor',
  "'; drop table accounts; --",
  '%',
  '../..',
  '@a:test.example',
  '!room:test.example',
  'm.push_rules',
  'm.login.password',
  '\u{1f600}'.repeat(90),
  'x'.repeat(70_000),
);
const text = fc.oneof(
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  { weight: 2, arbitrary: oddText },
);
const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 3, stringUnit: 'binary' }),
  text,
  fc.constantFrom(null, 0, -1, 2 ** 53, 1.5, 1e308, true, [], {}),
);

/** A value that the schema might allow. */
function arbitraryOf(schema: unknown): fc.Arbitrary<unknown> {
  const alternatives = at(schema, 'anyOf');
  if (Array.isArray(alternatives)) return fc.oneof(...alternatives.map(arbitraryOf));
  const constant = at(schema, 'const');
  if (constant !== undefined) return fc.constant(constant);
  const properties = at(schema, 'properties');
  switch (at(schema, 'type')) {
    case 'string':
      return text;
    case 'boolean':
      return fc.boolean();
    case 'integer':
    case 'number':
      return fc.oneof(fc.integer(), fc.double());
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(arbitraryOf(at(schema, 'items')), { maxLength: 5 });
    case 'object':
      if (properties === undefined) return fc.oneof(authLike, fc.dictionary(text, anything, { maxKeys: 4 }));
      return fc.record(
        Object.fromEntries(Object.entries(Object(properties)).map(([key, inner]) => [key, bent(inner)])),
        { requiredKeys: [] },
      );
    default:
      return anything;
  }
}

const bent = (schema: unknown): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 4, arbitrary: arbitraryOf(schema) }, { weight: 1, arbitrary: anything });

/** What stands below `auth` and `identifier`. */
const authLike = fc.record(
  {
    type: fc.oneof(
      fc.constantFrom('m.login.password', 'm.login.dummy', 'm.login.registration_token', 'm.id.user'),
      anything,
    ),
    session: fc.oneof(text, anything),
    user: fc.oneof(text, anything),
    password: fc.oneof(text, anything),
    token: anything,
    identifier: fc.oneof(fc.record({ type: fc.constant('m.id.user'), user: bent({ type: 'string' }) }), anything),
  },
  { requiredKeys: [] },
);

/** Of a URL; what is longer than a header may be is refused before it is a request. */
const shortText = text.map((value) => value.slice(0, 400));

interface Attempt {
  readonly params: readonly string[];
  readonly body: unknown;
  readonly raw: string | undefined;
  readonly query: string;
}

function attempts(endpoint: Endpoint, user: Registered): fc.Arbitrary<Attempt> {
  const param = fc.oneof({ weight: 2, arbitrary: fc.constant(user.userId) }, { weight: 1, arbitrary: shortText });
  const names = Object.keys(Object(at(endpoint.querySchema, 'properties')));
  const query = fc.record(Object.fromEntries(names.map((name) => [name, shortText])), { requiredKeys: [] });
  return fc.record({
    params: fc.array(param, { minLength: 3, maxLength: 3 }),
    body: endpoint.bodySchema === undefined ? fc.constant(undefined) : bent(endpoint.bodySchema),
    raw: fc.option(fc.string({ unit: 'binary', maxLength: 30 }), { nil: undefined, freq: 20 }),
    query: query.map((values) =>
      new URLSearchParams(Object.entries(values).map(([name, value]) => [name, String(value)])).toString(),
    ),
  });
}

/** As `encodeURIComponent`, which takes no half of a surrogate pair. */
const encode = (part: string): string => encodeURIComponent(part.toWellFormed()) || '%00';

describe('fuzzed accounts', () => {
  let server: WholeServer;
  before(async () => {
    server = await startWholeServer({ sessions: { login_tokens: true } });
    await server.register('root');
  });
  after(() => server[Symbol.asyncDispose]());

  test('no body, parameter or query is a fault of the server', async () => {
    const endpoints = server.running.endpoints.filter(({ paths }) => paths.some((path) => PLACES.test(path)));
    assert.ok(endpoints.length >= 40, `${endpoints.length} endpoints`);
    for (const endpoint of endpoints) {
      const name = `${endpoint.method} ${endpoint.paths[0]}`;
      const user = await server.register(`user${endpoints.indexOf(endpoint)}`);
      const check = async ({ params, body, raw, query }: Attempt): Promise<void> => {
        let index = 0;
        const path = (endpoint.paths[0] ?? '').replaceAll(/\{[^}]*\}/g, () => encode(params[index++] ?? ''));
        const content = endpoint.bodySchema === undefined ? {} : raw === undefined ? { body } : { raw };
        const answer = await server.request(endpoint.method, query === '' ? path : `${path}?${query}`, {
          token: user.token,
          ...content,
        });
        assert.ok(answer.status < 500, `${name}: ${answer.status}`);
        if (answer.status >= 400 && at(answer.body, 'flows') === undefined) {
          assert.match(String(at(answer.body, 'errcode')), /^M_[A-Z_]+$/, name);
          assert.equal(typeof at(answer.body, 'error'), 'string', name);
        }
      };
      await fc.assert(fc.asyncProperty(attempts(endpoint, user), check), { numRuns: RUNS });
    }
    assert.deepEqual(server.faults, []);
  });
});
