import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { get } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { Type } from 'typebox';
import { bytes, rawJson } from '../../src/http/answer.ts';
import { defineEndpoint, listRoutes } from '../../src/http/endpoint.ts';
import { createRateLimiter } from '../../src/http/rate-limiter.ts';
import { AnyObject } from '../../src/http/schema.ts';
import { createHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { secureRandom } from '../../src/lib/random.ts';
import { type AccountsServer, startAccountsServer } from '../support/accounts-server.ts';
import { at } from '../support/json.ts';

const SPEC = 'https://spec.matrix.org/v1.19/client-server-api/';

const echo = defineEndpoint({
  method: 'PUT',
  path: [
    '/_matrix/client/v3/test/{roomId}/state/{eventType}',
    '/_matrix/client/v3/test/{roomId}/state/{eventType}/{stateKey}',
  ],
  auth: 'none',
  query: Type.Object({
    limit: Type.Optional(Type.Integer({ minimum: 0 })),
    flag: Type.Optional(Type.Boolean()),
    via: Type.Optional(Type.Array(Type.String())),
  }),
  body: AnyObject,
  allowNul: true,
  spec: SPEC,
  handle: ({ params, query, body }) => ({ params, query, body }),
});
const strict = defineEndpoint({
  method: 'POST',
  path: '/_matrix/client/v3/test/strict',
  auth: 'none',
  body: Type.Object({ name: Type.String(), nested: Type.Optional(Type.Object({ count: Type.Integer() })) }),
  bodyLimit: 1024,
  spec: SPEC,
  handle: ({ body }) => ({ name: body.name }),
});
const broken = defineEndpoint({
  method: 'GET',
  path: '/_matrix/client/v3/test/broken',
  auth: 'none',
  spec: SPEC,
  handle() {
    throw new Error('the cause that only the log may show');
  },
});
const raw = defineEndpoint({
  method: 'GET',
  path: '/_matrix/client/v3/test/raw',
  auth: 'none',
  spec: SPEC,
  handle: () => rawJson('{"ready":"made"}'),
});
const stream = defineEndpoint({
  method: 'GET',
  path: '/_matrix/client/v3/test/stream',
  auth: 'none',
  query: Type.Object({ breaks: Type.Optional(Type.Boolean()) }),
  spec: SPEC,
  handle({ query }) {
    async function* parts() {
      yield 'one';
      if (query.breaks === true) throw new Error('the source broke');
      yield 'two';
    }
    return bytes(Readable.from(parts()), { headers: { 'content-type': 'text/plain' } });
  },
});
const address = defineEndpoint({
  method: 'GET',
  path: '/_matrix/client/v3/test/address',
  auth: 'none',
  spec: SPEC,
  handle: ({ ip }) => ({ ip }),
});
const limited = defineEndpoint({
  method: 'GET',
  path: '/_matrix/client/v3/test/limited',
  auth: 'none',
  rateLimit: 'search',
  spec: SPEC,
  handle: () => ({}),
});
const aborted: unknown[] = [];
const poll = defineEndpoint({
  method: 'GET',
  path: '/_matrix/client/v3/test/poll',
  auth: 'none',
  spec: SPEC,
  handle: ({ signal }) =>
    new Promise<object>((resolve) => {
      signal.addEventListener('abort', () => {
        aborted.push(signal.reason);
        resolve({ reason: signal.reason });
      });
    }),
});
const ENDPOINTS = [echo, strict, broken, raw, stream, address, limited, poll];

describe('http', () => {
  let server: AccountsServer;
  before(async () => {
    server = await startAccountsServer({
      endpoints: ENDPOINTS,
      limits: { search: { perSecond: 0.5, burst: 2 } },
      trustedProxies: ['127.0.0.0/8', '10.0.0.0/8'],
    });
  });
  after(() => server[Symbol.asyncDispose]());

  test('parameters are decoded exactly once', async () => {
    const { body } = await server.request('PUT', '/_matrix/client/v3/test/!a%2Fb%252F%3Ac/state/m.x/%40k%20%C3%A9', {
      body: {},
    });
    assert.deepEqual(at(body, 'params'), { roomId: '!a/b%2F:c', eventType: 'm.x', stateKey: '@k é' });
  });

  test('a path may end in an empty parameter, or have fewer of them', async () => {
    const empty = await server.request('PUT', '/_matrix/client/v3/test/!r/state/m.x/', { body: {} });
    assert.deepEqual(at(empty.body, 'params'), { roomId: '!r', eventType: 'm.x', stateKey: '' });
    const without = await server.request('PUT', '/_matrix/client/v3/test/!r/state/m.x', { body: {} });
    assert.deepEqual(at(without.body, 'params'), { roomId: '!r', eventType: 'm.x' });
  });

  for (const path of [
    '/_matrix/client/v3/test/%zz/state/a',
    '/_matrix/client/v3/test/%c3%28/state/a',
    '/_matrix/client/v3/test/a%00b/state/a',
  ]) {
    test(`a badly encoded path is refused: ${path}`, async () => {
      const { status, body } = await server.request('PUT', path, { body: {} });
      assert.equal(status, 400);
      assert.equal(at(body, 'errcode'), 'M_INVALID_PARAM');
    });
  }

  test('query parameters get the types of the schema', async () => {
    const { body } = await server.request(
      'PUT',
      '/_matrix/client/v3/test/r/state/t?limit=12&flag=true&via=a&via=b%20c&other=1',
      { body: {} },
    );
    assert.deepEqual(at(body, 'query'), { limit: 12, flag: true, via: ['a', 'b c'] });
  });

  for (const query of [
    'limit=x',
    'limit=-1',
    'limit=1.5',
    'limit=1e9',
    'limit=99999999999999999999',
    'limit=',
    'flag=yes',
    'via=%00',
  ]) {
    test(`a query parameter of the wrong type is refused: ${query}`, async () => {
      const { status, body } = await server.request('PUT', `/_matrix/client/v3/test/r/state/t?${query}`, { body: {} });
      assert.equal(status, 400);
      assert.equal(at(body, 'errcode'), 'M_INVALID_PARAM');
    });
  }

  test('keys that name prototypes are ordinary keys', async () => {
    const text = '{"__proto__":{"polluted":true},"constructor":1,"toString":2}';
    const response = await fetch(`${server.url}/_matrix/client/v3/test/__proto__/state/constructor/toString`, {
      method: 'PUT',
      body: text,
    });
    const answer = await response.text();
    assert.ok(answer.includes('"__proto__":{"polluted":true}'), answer);
    assert.equal(at(JSON.parse(answer), 'params', 'roomId'), '__proto__');
    assert.equal(Reflect.get({}, 'polluted'), undefined);
  });

  const bodies: readonly [string, string | Uint8Array<ArrayBuffer>, number, string][] = [
    ['no JSON', '{"name":', 400, 'M_NOT_JSON'],
    ['nothing', '', 400, 'M_NOT_JSON'],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0x61, 0x81, 0x22, 0x3a, 0x31, 0x7d]), 400, 'M_NOT_JSON'],
    ['a list', '[]', 400, 'M_BAD_JSON'],
    ['a missing key', '{}', 400, 'M_BAD_JSON'],
    ['a wrong type', '{"name":1}', 400, 'M_BAD_JSON'],
    ['a wrong type further in', '{"name":"x","nested":{"count":"1"}}', 400, 'M_BAD_JSON'],
    ['an escaped NUL', '{"name":"a\\u0000b"}', 400, 'M_BAD_JSON'],
    ['half a surrogate pair', '{"name":"\\ud800"}', 400, 'M_BAD_JSON'],
    ['deep nesting', '['.repeat(600), 400, 'M_BAD_JSON'],
    ['too much', JSON.stringify({ name: 'x'.repeat(2000) }), 413, 'M_TOO_LARGE'],
  ];
  for (const [what, text, status, errcode] of bodies) {
    test(`a body that holds ${what} is refused with ${errcode}`, async () => {
      const answer = await server.request('POST', '/_matrix/client/v3/test/strict', { raw: text });
      assert.equal(at(answer.body, 'errcode'), errcode);
      assert.equal(answer.status, status);
    });
  }

  test('a body whose length is not announced is cut off at the limit', async () => {
    const chunks = new ReadableStream({
      pull(controller) {
        controller.enqueue(Buffer.alloc(64 * 1024, 0x20));
      },
    });
    const request = { method: 'POST', body: chunks, duplex: 'half' } as const;
    const outcome = await fetch(`${server.url}/_matrix/client/v3/test/strict`, request).then(
      (response) => response.status,
      () => 'connection closed',
    );
    assert.ok(outcome === 413 || outcome === 'connection closed', String(outcome));
  });

  for (const type of [
    'application/json',
    'application/json; charset=utf-8',
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/vnd.x+json',
  ]) {
    test(`JSON is taken under the type ${type}`, async () => {
      const { status } = await server.request('POST', '/_matrix/client/v3/test/strict', {
        raw: '{"name":"x"}',
        headers: { 'content-type': type },
      });
      assert.equal(status, 200);
    });
  }

  for (const type of ['multipart/form-data; boundary=x', 'Multipart/Form-Data', 'image/png', 'nonsense']) {
    test(`C7: ${type} is refused before its body is read`, async () => {
      const head = `POST /_matrix/client/v3/test/strict HTTP/1.1\r\nHost: x\r\nContent-Type: ${type}\r\nContent-Length: 900\r\n\r\n`;
      const answer = await talk(server.url, head);
      assert.match(answer, /^HTTP\/1\.1 415 /);
      assert.match(answer, /access-control-allow-origin: \*/i);
    });
  }

  test('unknown paths are 404 and known ones with another method 405', async () => {
    for (const path of ['/_matrix/unknown', '/_matrix/client/v3/login/unknown', '/', '/_matrix/client/v3/login/']) {
      const { status, body, headers } = await server.request('GET', path);
      assert.deepEqual([status, at(body, 'errcode')], [404, 'M_UNRECOGNIZED'], path);
      assert.equal(headers.get('access-control-allow-origin'), '*');
    }
    const wrong = await server.request('PUT', '/_matrix/client/v3/login', { body: {} });
    assert.deepEqual([wrong.status, at(wrong.body, 'errcode')], [405, 'M_UNRECOGNIZED']);
    assert.match(wrong.headers.get('allow') ?? '', /POST/);
  });

  test('OPTIONS is answered everywhere, without a token', async () => {
    for (const path of ['/_matrix/client/v3/account/whoami', '/_matrix/unknown']) {
      const { status, headers } = await server.request('OPTIONS', path);
      assert.equal(status, 204);
      assert.match(headers.get('access-control-allow-headers') ?? '', /Authorization/);
      assert.match(headers.get('access-control-allow-methods') ?? '', /DELETE/);
    }
  });

  test('HEAD is GET without a body', async () => {
    const { status, headers, body } = await server.request('HEAD', '/_matrix/client/versions');
    assert.equal(status, 200);
    assert.equal(body, undefined);
    assert.ok(Number(headers.get('content-length')) > 10);
  });

  test('a fault is shown as M_UNKNOWN and logged with its cause', async () => {
    const { status, body, headers } = await server.request('GET', '/_matrix/client/v3/test/broken');
    assert.equal(status, 500);
    assert.deepEqual(body, { errcode: 'M_UNKNOWN', error: 'Internal server error' });
    assert.match(headers.get('x-request-id') ?? '', /^\w+-\w+$/);
    assert.ok(server.log.some((line) => line.includes('the cause that only the log may show')));
  });

  test('ready-made JSON is passed on', async () => {
    const { body, headers } = await server.request('GET', '/_matrix/client/v3/test/raw');
    assert.deepEqual(body, { ready: 'made' });
    assert.equal(headers.get('content-type'), 'application/json');
  });

  test('a stream is passed on, and one that breaks breaks the connection', async () => {
    const whole = await fetch(`${server.url}/_matrix/client/v3/test/stream`);
    assert.equal(await whole.text(), 'onetwo');
    assert.equal(whole.headers.get('content-type'), 'text/plain');
    const broken = fetch(`${server.url}/_matrix/client/v3/test/stream?breaks=true`);
    await assert.rejects(broken.then((response) => response.text()));
  });

  test('one log line a request, without its query', async () => {
    server.log.length = 0;
    await server.request('GET', '/_matrix/client/versions?access_token=canary');
    const lines = server.log.filter((line) => line.startsWith('request '));
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /"path":"\/_matrix\/client\/versions"/);
    assert.match(lines[0] ?? '', /"status":200/);
    assert.ok(!server.log.join().includes('canary'));
  });

  test('rate limits say when to come back', async () => {
    const ask = () =>
      server.request('GET', '/_matrix/client/v3/test/limited', { headers: { 'x-forwarded-for': '192.0.2.7' } });
    assert.equal((await ask()).status, 200);
    assert.equal((await ask()).status, 200);
    const { status, body, headers } = await ask();
    assert.deepEqual([status, at(body, 'errcode')], [429, 'M_LIMIT_EXCEEDED']);
    const wait = Number(at(body, 'retry_after_ms'));
    assert.ok(wait > 0 && wait <= 2000, String(wait));
    assert.equal(headers.get('retry-after'), String(Math.ceil(wait / 1000)));
    server.clock.advance(wait);
    assert.equal((await ask()).status, 200);
  });

  const forwarded: readonly [string, string][] = [
    ['203.0.113.9', '203.0.113.9'],
    ['198.51.100.1, 203.0.113.10', '203.0.113.10'],
    ['203.0.113.11, 10.1.2.3', '203.0.113.11'],
    ['nonsense', '127.0.0.1'],
    ['', '127.0.0.1'],
  ];
  for (const [header, expected] of forwarded) {
    test(`E9: behind a trusted proxy, X-Forwarded-For "${header}" means ${expected}`, async () => {
      const { body } = await server.request('GET', '/_matrix/client/v3/test/address', {
        headers: { 'x-forwarded-for': header },
      });
      assert.equal(at(body, 'ip'), expected);
    });
  }
});

test('E9: without trusted proxies X-Forwarded-For is not believed', async () => {
  await using server = await startAccountsServer({ endpoints: ENDPOINTS });
  const { body } = await server.request('GET', '/_matrix/client/v3/test/address', {
    headers: { 'x-forwarded-for': '203.0.113.9' },
  });
  assert.equal(at(body, 'ip'), '127.0.0.1');
});

test('long polls hear of a client that goes away, and answer when the server stops', async () => {
  const server = await startAccountsServer({ endpoints: ENDPOINTS });
  aborted.length = 0;
  const leaving = fetch(`${server.url}/_matrix/client/v3/test/poll`, { signal: AbortSignal.timeout(100) });
  await assert.rejects(leaving);
  const staying = server.request('GET', '/_matrix/client/v3/test/poll');
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(aborted, ['gone']);
  await server.http.close();
  assert.deepEqual((await staying).body, { reason: 'shutdown' });
  await assert.rejects(server.request('GET', '/_matrix/client/versions'));
  await server[Symbol.asyncDispose]();
});

for (const [what, lines, body] of [
  ['a length and chunks', ['Content-Length: 4', 'Transfer-Encoding: chunked'], '0\r\n\r\n'],
  ['two lengths', ['Content-Length: 2', 'Content-Length: 3'], '{}x'],
  ['a length that is no number', ['Content-Length: +2'], '{}'],
  ['an encoding that is none', ['Transfer-Encoding: xchunked'], '0\r\n\r\n'],
  ['a header over two lines', ['X-Folded: a', ' b', 'Content-Length: 2'], '{}'],
] as const) {
  test(`C11: a request with ${what} is refused, and what follows on its connection is no request`, async () => {
    await using server = await startAccountsServer({ endpoints: ENDPOINTS });
    const head = ['POST /_matrix/client/v3/test/raw HTTP/1.1', 'Host: x', ...lines, '', ''].join('\r\n');
    const smuggled = 'GET /_matrix/client/v3/test/raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
    const answer = await talk(server.url, head + body + smuggled, 'end');
    assert.match(answer, /^HTTP\/1\.1 4\d\d /);
    assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1, answer);
  });
}

test('C11: pipelined requests are answered in order', async () => {
  await using server = await startAccountsServer({ endpoints: ENDPOINTS });
  const one = 'GET /_matrix/client/v3/test/raw HTTP/1.1\r\nHost: x\r\n\r\n';
  const two = 'GET /_matrix/unknown HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
  const answer = await talk(server.url, one + two, 'end');
  assert.ok(answer.indexOf('"ready"') !== -1 && answer.indexOf('"ready"') < answer.indexOf('M_UNRECOGNIZED'), answer);
});

/** Sends bytes and returns what comes back: the first piece, or everything until the end. */
function talk(url: string, text: string, until: 'first' | 'end' = 'first'): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(text));
    let received = '';
    socket.setTimeout(5_000, () => socket.destroy(new Error(`no answer, only: ${received}`)));
    socket.on('data', (chunk) => {
      received += chunk.toString();
      if (until === 'first') socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(received));
  });
}

test('listens on a unix socket, also where a killed server left one behind', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'hh-http-'));
  const path = join(folder, 'socket');
  const options = {
    endpoints: [raw],
    listeners: [{ unix: path }],
    authenticator: { authenticate: () => undefined },
    rateLimiter: createRateLimiter({ clock: systemClock, limits: {} }),
    logger: silentLogger,
    clock: systemClock,
    random: secureRandom,
  };
  const child = spawn(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log(1))`,
  ]);
  await once(child.stdout, 'data');
  await assert.rejects(createHttpServer(options).listen(), { code: 'EADDRINUSE' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  const server = createHttpServer(options);
  await server.listen();
  assert.deepEqual(server.addresses(), [`unix:${path}`]);
  const status = await new Promise((resolve, reject) => {
    get({ socketPath: path, path: '/_matrix/client/v3/test/raw' }, (response) => resolve(response.statusCode)).on(
      'error',
      reject,
    );
  });
  assert.equal(status, 200);
  await server.close();
  await rm(folder, { recursive: true });
});

test('registration tokens in paths are not logged, whatever becomes of the request', async () => {
  const logged: string[] = [];
  const server = createHttpServer({
    endpoints: [raw],
    listeners: [{ address: '127.0.0.1', port: 0 }],
    authenticator: { authenticate: () => undefined },
    rateLimiter: createRateLimiter({ clock: systemClock, limits: {} }),
    logger: { ...silentLogger, info: (fields) => void logged.push(String(fields['path'])) },
    clock: systemClock,
    random: secureRandom,
  });
  await server.listen();
  const [url = ''] = server.addresses();
  const path = '/_hammerhead/v0/admin/registration-tokens';
  for (const rest of ['', '/open-sesame', '/open-sesame/more?x=open-sesame']) await fetch(`${url}${path}${rest}`);
  await server.close();
  assert.deepEqual(logged, [path, `${path}/<redacted>`, `${path}/<redacted>/more`]);
});

test('declarations list their routes', () => {
  const routes = listRoutes(ENDPOINTS).map(({ path, endpoint }) => `${endpoint.method} ${path}`);
  assert.equal(routes.length, ENDPOINTS.length + 1);
  assert.ok(routes.includes('PUT /_matrix/client/v3/test/{roomId}/state/{eventType}'));
  assert.deepEqual(
    routes.map((route) => route.slice(route.indexOf(' '))).toSorted(),
    routes.map((route) => route.slice(route.indexOf(' '))),
  );
});
