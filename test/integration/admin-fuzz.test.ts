/**
 * Hostile requests to every endpoint of the admin API: bodies, queries and path parameters are made from the declarations'
 * own schemas, and from JSON that breaks servers. Nothing may be answered with a 5xx that the reference does not demand,
 * and the server goes on.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { AdminEndpoint } from '../../src/api/admin/admin-endpoint.ts';
import type { Endpoint } from '../../src/http/endpoint.ts';
import { type AdminServer, startAdminServer } from '../support/admin-server.ts';
import { at, textAt } from '../support/json.ts';

/** JSON text that a body may be, or hold. */
const HOSTILE_JSON = [
  'null',
  '[]',
  '""',
  '0',
  '-1',
  '1e400',
  '1.5',
  '-0',
  '9007199254740993',
  '9223372036854775807',
  '123456789012345678901234567890',
  'true',
  '"\\u0000"',
  '"a\\u0000b"',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"💥"',
  '"%00"',
  '{"__proto__":{"admin":true}}',
  '{"constructor":{"prototype":{}}}',
  '{"toString":1,"hasOwnProperty":1}',
  '{"a":1,"a":2}',
  `${'['.repeat(200)}${']'.repeat(200)}`,
  `${'{"a":'.repeat(60)}1${'}'.repeat(60)}`,
  `"${'x'.repeat(100_000)}"`,
  `[${'0,'.repeat(10_000)}0]`,
] as const;

const BROKEN_BODIES = ['', '{', '{"a":}', 'undefined', `${'['.repeat(100_000)}`, '\ufeff{}', '{"a":NaN}', "{'a':1}"];

/** As they stand in a path or a query string. */
const HOSTILE_TEXT = [
  '',
  '.',
  '..',
  '%2e%2e%2f',
  '%00',
  'a%00b',
  '%ED%A0%80',
  '%FF',
  '%',
  '%F0%9F%92%A5',
  '-1',
  '0',
  '1',
  '1e9',
  '9223372036854775808',
  '99999999999999999999999',
  'NaN',
  'true',
  '__proto__',
  'constructor',
  "'%20or%201=1--",
  '%25',
  '_',
  'x'.repeat(2_000),
  '!',
  '!a',
  '%21a:test.example',
  '%40victim:test.example',
  '%40a:b:c',
  'victim',
  'test.example',
  'bnVsbA',
] as const;

/** What the reference itself answers with 500. */
const MAY_FAIL: ReadonlySet<string> = new Set(['Make PDU', 'Reload Configuration']);
const RUNS = 40;

describe('admin API: hostile requests', () => {
  const mediaPath = mkdtempSync(join(tmpdir(), 'hammerhead-fuzz-'));
  let server: AdminServer;
  let known: readonly string[];
  before(async () => {
    server = await startAdminServer({ mediaPath });
    const { token } = await server.register('victim');
    const room = await server.user(token).createRoom({ preset: 'public_chat', room_version: '11' });
    await room.send('mxc://test.example/abc');
    await room.ok('POST', '/report', { reason: 'x' });
    known = [encodeURIComponent(room.roomId)];
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    rmSync(mediaPath, { recursive: true });
  });

  test('property: no request makes the server fail', async () => {
    const endpoints: readonly (Endpoint | AdminEndpoint)[] = [...server.endpoints, ...server.specEndpoints];
    assert.ok(endpoints.length > 50);
    for (const endpoint of endpoints) {
      await fc.assert(
        fc.asyncProperty(requestOf(endpoint, known), async ({ path, body }) => {
          const answer = await server.request(endpoint.method, path, {
            token: server.admin,
            ...(body === undefined ? {} : { raw: body }),
          });
          const label = `${endpoint.method} ${path} ${body?.slice(0, 200)}: ${answer.status} ${JSON.stringify(answer.body)}`;
          const isDemanded = 'doc' in endpoint && MAY_FAIL.has(endpoint.doc.summary);
          assert.ok(answer.status < 500 || isDemanded, label);
          if (answer.status >= 400) assert.match(textAt(answer.body, 'errcode'), /^M_[A-Z_]+$/, label);
        }),
        { numRuns: RUNS },
      );
    }
    assert.deepEqual(
      server.log.filter((line) => line.startsWith('request failed')),
      [],
    );
    assert.equal((await server.api('GET', '/users')).status, 200, 'the administrator was one all the time');
  });

  test('property: nobody becomes an administrator by any of it', async () => {
    const found = await server.api('GET', '/user-search?admin=true&limit=1000');
    for (const { localpart } of at(found.body, 'chunk') as { localpart: string }[]) {
      assert.ok(localpart === 'root' || localpart === 'victim', localpart);
    }
    assert.equal(Object.getPrototypeOf({}), Object.prototype);
    assert.equal(Reflect.get({}, 'admin'), undefined);
  });
});

interface HostileRequest {
  readonly path: string;
  readonly body: string | undefined;
}

function requestOf(endpoint: Endpoint, known: readonly string[]): fc.Arbitrary<HostileRequest> {
  const text = fc.oneof(fc.constantFrom(...HOSTILE_TEXT, ...known), fc.string().map(encode));
  const path = fc.constantFrom(...endpoint.paths).chain((declared) => {
    const names = [...declared.matchAll(/\{[^}]+\}/g)];
    return fc.tuple(...names.map(() => text)).map((values) => {
      let index = 0;
      return declared.replaceAll(/\{[^}]+\}/g, () => values[index++] ?? '');
    });
  });
  const parameters = Object.keys(endpoint.querySchema?.properties ?? {});
  const query = fc.tuple(...parameters.map((name) => fc.option(text.map((value) => `${name}=${value}`))));
  const body = endpoint.bodySchema === undefined ? fc.constant(undefined) : bodyOf(endpoint.bodySchema);
  return fc.tuple(path, query, body).map(([where, given, sent]) => {
    const pairs = given.filter((pair) => pair !== null);
    return { path: pairs.length === 0 ? where : `${where}?${pairs.join('&')}`, body: sent };
  });
}

const encode = (text: string): string => encodeURIComponent(text.toWellFormed());

/** Mostly what the schema says, with hostile values in it; sometimes anything; sometimes no JSON. */
function bodyOf(schema: unknown): fc.Arbitrary<string> {
  const anything = fc.oneof(fc.constantFrom(...HOSTILE_JSON), fc.json());
  const keys = Object.entries(Object(at(schema, 'properties')));
  const members = keys.map(([key, property]) =>
    fc.option(fc.oneof({ weight: 3, arbitrary: textOf(property) }, { weight: 2, arbitrary: anything })).map((value) => {
      return value === null ? undefined : `${JSON.stringify(key)}:${value}`;
    }),
  );
  const extra = fc.option(fc.constantFrom('"__proto__":{"admin":true}', '"constructor":1', '"unknown":[[]]'));
  const made = fc.tuple(extra, ...members).map((parts) => `{${parts.filter((part) => part != null).join(',')}}`);
  return fc.oneof(
    { weight: 6, arbitrary: made },
    { weight: 2, arbitrary: anything },
    { weight: 1, arbitrary: fc.constantFrom(...BROKEN_BODIES) },
  );
}

/** JSON text that the schema admits, or nearly. */
function textOf(schema: unknown): fc.Arbitrary<string> {
  const either = at(schema, 'anyOf');
  if (Array.isArray(either)) return fc.oneof(...either.map(textOf));
  const choices = at(schema, 'enum');
  if (Array.isArray(choices)) return fc.constantFrom(...choices.map((choice) => JSON.stringify(choice)));
  switch (at(schema, 'type')) {
    case 'boolean':
      return fc.constantFrom('true', 'false');
    case 'null':
      return fc.constant('null');
    case 'integer':
    case 'number':
      return fc.maxSafeInteger().map(String);
    case 'string':
      return fc.oneof(
        fc.string().map((text) => JSON.stringify(text)),
        fc.constantFrom('"victim"', '"@victim:test.example"', '"11"', '"_"', '"test.example"'),
      );
    case 'object':
      return fc.object().map((value) => JSON.stringify(value) ?? 'null');
    default:
      return fc.json();
  }
}
