/**
 * HTTPS to servers that mean no good: slow ones, endless ones, bombs, wrong certificates, private addresses.
 */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { createFederationClient } from '../../src/federation/client.ts';
import { FederationError } from '../../src/federation/federation-error.ts';
import { createServerPolicy } from '../../src/federation/server-policy.ts';
import { createTransport, type Target, type Transport, type TransportRequest } from '../../src/federation/transport.ts';
import { createWellKnown } from '../../src/federation/well-known.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createNetworkPolicy } from '../../src/lib/network-policy.ts';
import type { ServerName } from '../../src/protocol/ids.ts';
import { parseXMatrix } from '../../src/protocol/request-signing.ts';
import { createSigningKey } from '../../src/protocol/signing.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import { type ScriptedServer, startScriptedServer } from '../support/federation.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let hostile: ScriptedServer;
let transport: Transport;

const LOOPBACK = { allowed: ['127.0.0.0/8', '::1'] };

function createTestTransport(
  options: { policy?: Parameters<typeof createNetworkPolicy>[0]; names?: Record<string, string> } = {},
) {
  const { names = {} } = options;
  return createTransport({
    clock: systemClock,
    policy: createNetworkPolicy(options.policy ?? LOOPBACK),
    userAgent: 'test',
    certificates: [authority.certificate],
    async resolveName(name) {
      const address = names[name];
      if (address === undefined) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
      return [{ address, family: 4 }];
    },
  });
}

before(async () => {
  authority = stack.use(await createTestAuthority());
  hostile = stack.use(await startScriptedServer(authority));
  transport = stack.use(createTestTransport());
});

after(() => stack.disposeAsync());

const targetOf = ({ address, port, serverName }: ScriptedServer): Target => ({
  host: address,
  port,
  hostHeader: serverName,
});

function send(request: Partial<TransportRequest> = {}, through = transport) {
  return through.send({
    target: targetOf(hostile),
    method: 'GET',
    path: '/',
    deadlineMs: 5_000,
    maxBytes: 1_000,
    ...request,
  });
}

async function failure(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (cause) {
    if (cause instanceof FederationError) return `${cause.outcome.kind} ${cause.reason}`;
    throw cause;
  }
  return 'none';
}

/** Writes a piece over and over until the other side has had enough. */
function pour(response: ServerResponse, piece: Buffer, pause: number): void {
  const timer = setInterval(() => response.write(piece), pause);
  response.on('close', () => clearInterval(timer));
}

describe('the answers of hostile servers', () => {
  test('C12: a body that never ends, announced or not, is cut at the bound', async () => {
    hostile.handle = (_request, response) => void response.writeHead(200).end('x'.repeat(1_001));
    assert.equal(await failure(send()), 'fail too_large');
    hostile.handle = (_request, response) => pour(response.writeHead(200), Buffer.alloc(10_000), 1);
    assert.equal(await failure(send()), 'fail too_large');
    hostile.handle = (_request, response) => void response.writeHead(200).end('x'.repeat(1_000));
    assert.equal((await send()).body.length, 1_000);
  });

  test('C12: a bomb is measured by what it would become', async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    assert.ok(bomb.length < 100_000);
    hostile.handle = (_request, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb);
    assert.equal(await failure(send({ maxBytes: 100_000 })), 'fail too_large');
    const plain = gzipSync('{"a":1}');
    hostile.handle = (_request, response) => void response.writeHead(200, { 'content-encoding': 'GZip' }).end(plain);
    assert.equal((await send()).body.toString(), '{"a":1}');
  });

  test('C12: encodings that nobody asked for, and broken ones, are no answers', async () => {
    for (const encoding of ['br', 'deflate', 'gzip, gzip', 'gzip']) {
      hostile.handle = (_request, response) => void response.writeHead(200, { 'content-encoding': encoding }).end('no');
      assert.equal(await failure(send()), 'fail malformed', encoding);
    }
  });

  test('C12: the deadline is for the whole, however bravely the bytes drip', async () => {
    hostile.handle = (_request, response) => pour(response.writeHead(200), Buffer.from('x'), 20);
    assert.equal(await failure(send({ deadlineMs: 300 })), 'retry timeout');
    hostile.handle = () => undefined;
    assert.equal(await failure(send({ deadlineMs: 300 })), 'retry timeout');
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    assert.equal(await failure(send({ signal: controller.signal })), 'fail cancelled');
  });

  test('headers without end are no answer', async () => {
    hostile.handle = (_request, response) => void response.writeHead(200, { 'x-long': 'y'.repeat(40_000) }).end();
    assert.equal(await failure(send()), 'fail malformed');
  });

  test('a connection that breaks is tried once more, and then it is unreachable', async () => {
    hostile.requests.length = 0;
    hostile.handle = (request) => void request.socket.destroy();
    assert.equal(await failure(send()), 'retry unreachable');
    assert.equal(hostile.requests.length, 2);
    hostile.handle = (request, response) => {
      if (hostile.requests.length === 3) request.socket.destroy();
      else response.writeHead(200).end('ok');
    };
    assert.equal((await send()).body.toString(), 'ok');
  });

  test('a redirect is an answer like any other', async () => {
    hostile.handle = (_request, response) => void response.writeHead(302, { location: 'https://127.0.0.1/' }).end();
    assert.equal((await send()).status, 302);
  });

  test('C8: a well-known that is too large, or that drips, delegates nothing', async () => {
    const named = stack.use(await startScriptedServer(authority, { names: ['a.example'] }));
    const through = stack.use(createTestTransport({ names: { 'a.example': named.address } }));
    const ask = () => createWellKnown({ transport: through, clock: systemClock }).load(`a.example:${named.port}`);
    const document = { 'm.server': 'b.example:1', padding: 'x'.repeat(60_000) };
    named.handle = (_request, response) => void response.writeHead(200).end(JSON.stringify(document));
    assert.equal(await ask(), undefined);
    const bomb = gzipSync(JSON.stringify(document));
    named.handle = (_request, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb);
    assert.equal(await ask(), undefined);
    named.handle = (_request, response) => void response.writeHead(200).end('{"m.server":"b.example:1"}');
    assert.equal(await ask(), 'b.example:1');
    assert.deepEqual(named.requests.slice(0, 1), ['GET /.well-known/matrix/server']);
  });
});

describe('which servers are connected to', () => {
  test('D7: private addresses are refused after the look-up, and in every way of writing them', async () => {
    await using strict = createTestTransport({ policy: {}, names: { 'inside.example': hostile.address } });
    hostile.requests.length = 0;
    const hosts = [
      'inside.example',
      hostile.address,
      '::1',
      '::ffff:127.0.0.1',
      '64:ff9b::7f00:1',
      '0x7f.1',
      '2130706433',
      '127.1',
    ];
    for (const host of hosts) {
      const target = { host, port: hostile.port, hostHeader: host.includes(':') ? `[${host}]` : host };
      assert.equal(await failure(send({ target }, strict)), 'fail denied', host);
    }
    assert.deepEqual(hostile.requests, []);
  });

  test('J8: an address in disguise is judged as what it is, when it is allowed too', async () => {
    hostile.handle = (_request, response) => void response.writeHead(200).end('ok');
    const number = hostile.address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
    const target = { ...targetOf(hostile), host: String(number) };
    assert.equal((await send({ target })).body.toString(), 'ok');
  });

  test('limit 12: the certificate has to be valid for the name in the Host header', async () => {
    const named = stack.use(await startScriptedServer(authority, { names: ['right.example'] }));
    named.handle = (request, response) => void response.writeHead(200).end(request.headers.host);
    const through = stack.use(
      createTestTransport({ names: { 'srv.example': named.address, 'right.example': named.address } }),
    );
    const target = { host: 'srv.example', port: named.port, hostHeader: 'right.example' };
    assert.equal((await send({ target }, through)).body.toString(), 'right.example');
    assert.equal(await failure(send({ target: { ...target, hostHeader: 'srv.example' } }, through)), 'retry untrusted');
    assert.equal(await failure(send({ target: { ...target, hostHeader: named.address } }, through)), 'retry untrusted');
    await using distrusting = createTransport({
      clock: systemClock,
      policy: createNetworkPolicy(LOOPBACK),
      userAgent: 'test',
      resolveName: async () => [{ address: named.address, family: 4 }],
    });
    assert.equal(await failure(send({ target }, distrusting)), 'retry untrusted');
  });

  test('nobody there, and no such name, may pass', async () => {
    assert.equal(await failure(send({ target: { ...targetOf(hostile), port: 1 } })), 'retry unreachable');
    const unknown = { host: 'nowhere.example', port: 1, hostHeader: 'nowhere.example' };
    assert.equal(await failure(send({ target: unknown })), 'retry unresolved');
  });
});

describe('signed requests', () => {
  const destination = 'b.example' as ServerName;
  const createClient = (targets: () => readonly Target[], deny: readonly string[] = []) =>
    createFederationClient({
      serverName: 'a.example' as ServerName,
      signingKey: createSigningKey(Buffer.alloc(32, 3), '1'),
      policy: createServerPolicy({ serverName: 'a.example' as ServerName, allow: [], deny }),
      resolver: { resolve: async () => targets() },
      transport,
    });

  test('carry an X-Matrix header, and a canonical body', async () => {
    let seen: { authorization: string; body: string; agent: string } | undefined;
    hostile.handle = async (request, response) => {
      const body = (await request.toArray()).join('');
      const { authorization = '', 'user-agent': agent = '' } = request.headers;
      seen = { authorization, body, agent };
      response.writeHead(200).end('{"ok":true}');
    };
    const client = createClient(() => [targetOf(hostile)]);
    const answer = await client.fetchJson({ destination, method: 'PUT', path: '/x', body: { b: 1, a: [] } });
    assert.deepEqual(answer, { ok: true });
    assert.equal(seen?.body, '{"a":[],"b":1}');
    assert.equal(seen?.agent, 'test');
    const header = parseXMatrix(seen?.authorization ?? '');
    assert.deepEqual([header?.origin, header?.destination, header?.keyId], ['a.example', 'b.example', 'ed25519:1']);
  });

  test('error answers are decisions, with what the server said', async () => {
    const client = createClient(() => [targetOf(hostile)]);
    const cases: readonly (readonly [number, object, Record<string, string>, string])[] = [
      [404, { errcode: 'M_NOT_FOUND' }, {}, 'fail answered 404 M_NOT_FOUND undefined'],
      [403, { errcode: 5 }, {}, 'fail answered 403 undefined undefined'],
      [429, { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 1500 }, {}, 'retry answered 429 M_LIMIT_EXCEEDED 1500'],
      [429, {}, { 'retry-after': '7' }, 'retry answered 429 undefined 7000'],
      [429, {}, { 'retry-after': '999999999' }, 'retry answered 429 undefined 3600000'],
      [502, {}, {}, 'retry answered 502 undefined undefined'],
      [302, {}, { location: '/' }, 'fail answered 302 undefined undefined'],
    ];
    for (const [status, body, headers, expected] of cases) {
      hostile.handle = (_request, response) => void response.writeHead(status, headers).end(JSON.stringify(body));
      const cause = await client.fetchJson({ destination, method: 'GET', path: '/x' }).catch((error: unknown) => error);
      assert.ok(cause instanceof FederationError);
      const after = cause.outcome.kind === 'retry' ? cause.outcome.after : undefined;
      assert.equal(`${cause.outcome.kind} ${cause.reason} ${cause.status} ${cause.errcode} ${after}`, expected);
    }
    for (const text of ['<html>', '[]', '"x"', '', '{"a":']) {
      hostile.handle = (_request, response) => void response.writeHead(200).end(text);
      assert.equal(await failure(client.fetchJson({ destination, method: 'GET', path: '/x' })), 'fail malformed', text);
    }
  });

  test('a target that is not there is stood in for by the next', async () => {
    hostile.handle = (_request, response) => void response.writeHead(200).end('{}');
    const dead = { ...targetOf(hostile), port: 1 };
    const client = createClient(() => [dead, targetOf(hostile)]);
    assert.deepEqual(await client.fetchJson({ destination, method: 'GET', path: '/x' }), {});
    const nobody = createClient(() => [dead, dead]);
    assert.equal(await failure(nobody.fetchJson({ destination, method: 'GET', path: '/x' })), 'retry unreachable');
  });

  test('denied servers, and we ourselves, are not asked', async () => {
    const client = createClient(() => assert.fail('was looked for'), ['*.evil.example', 'b.example']);
    for (const name of ['b.example', 'b.example:8448', 'X.EVIL.example', 'a.example']) {
      const request = { destination: name as ServerName, method: 'GET', path: '/x' } as const;
      assert.equal(await failure(client.fetchJson(request)), 'fail denied', name);
    }
  });
});
