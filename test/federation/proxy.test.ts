/**
 * Everything that others name is reached through the operator's proxy, where there is one, and what may not be reached is
 * not reached by that way either.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import { FederationError } from '../../src/federation/federation-error.ts';
import { createTransport, type Target, type Transport } from '../../src/federation/transport.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Secret } from '../../src/lib/logger.ts';
import { createNetworkPolicy } from '../../src/lib/network-policy.ts';
import type { ProxySettings } from '../../src/lib/outbound-connector.ts';
import { createPageClient } from '../../src/media/page-client.ts';
import { createPushGateway } from '../../src/push/push-gateway.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import { type ConnectProxy, startConnectProxy } from '../support/connect-proxy.ts';
import { type ScriptedServer, startHomeserver, startScriptedServer } from '../support/federation.ts';
import { at, textAt } from '../support/json.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let proxy: ConnectProxy;
let named: ScriptedServer;

before(async () => {
  authority = stack.use(await createTestAuthority());
  proxy = stack.use(await startConnectProxy());
  named = stack.use(await startScriptedServer(authority, { names: ['there.example'] }));
});

beforeEach(() => {
  proxy.asked.length = 0;
  proxy.credentials.length = 0;
  proxy.names.clear();
  proxy.status = 200;
  named.handle = (request, response) => void response.writeHead(200).end(request.headers.host);
});

after(() => stack.disposeAsync());

const settings = (more: Partial<ProxySettings> = {}): ProxySettings => ({
  url: proxy.url,
  username: undefined,
  password: undefined,
  bypassHosts: [],
  bypassNetworks: [],
  resolvesNames: true,
  ...more,
});

interface Setting extends Partial<ProxySettings> {
  readonly allowed?: readonly string[];
  /** What the name leads to; an error by default where nobody may look it up. */
  readonly addresses?: readonly string[];
}

function createClient({ allowed = ['127.0.0.0/8'], addresses, ...more }: Setting = {}): Transport {
  return stack.use(
    createTransport({
      clock: systemClock,
      policy: createNetworkPolicy({ allowed }),
      userAgent: 'test',
      certificates: [authority.certificate],
      proxy: settings(more),
      async resolveName() {
        if (addresses === undefined) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
        return addresses.map((address) => ({ address, family: 4 }));
      },
    }),
  );
}

const target = (): Target => ({ host: 'there.example', port: named.port, hostHeader: 'there.example' });

const ask = async (client: Transport, more: Partial<Target> = {}): Promise<string> => {
  const request = { target: { ...target(), ...more }, method: 'GET', path: '/', maxBytes: 1_000 } as const;
  try {
    return (await client.send({ ...request, deadlineMs: 5_000 })).body.toString();
  } catch (cause) {
    if (cause instanceof FederationError) return `${cause.outcome.kind} ${cause.reason}`;
    throw cause;
  }
};

describe('with a proxy', () => {
  test('a server is reached through it, at the address that was judged, with its own certificate', async () => {
    assert.equal(await ask(createClient({ addresses: [named.address] })), 'there.example');
    assert.deepEqual(proxy.asked, [`${named.address}:${named.port}`]);
    assert.deepEqual(proxy.credentials, [undefined]);
    const elsewhere = { hostHeader: 'elsewhere.example' };
    assert.equal(await ask(createClient({ addresses: [named.address] }), elsewhere), 'retry untrusted');
  });

  test('it may speak TLS itself, with a certificate of an authority that is trusted', async () => {
    await using secure = await startConnectProxy(authority);
    assert.equal(await ask(createClient({ addresses: [named.address], url: secure.url })), 'there.example');
    assert.deepEqual(secure.asked, [`${named.address}:${named.port}`]);
  });

  test('D7: what is denied is not asked of it: addresses, however written, and names that lead to them', async () => {
    const client = createClient({ allowed: [], addresses: [named.address, '10.0.0.1'] });
    for (const host of ['there.example', named.address, '127.1', '2130706433', '::1', '::ffff:127.0.0.1']) {
      assert.equal(await ask(client, { host }), 'fail denied', host);
    }
    assert.deepEqual(proxy.asked, []);
  });

  test('of several addresses only those that are allowed are asked for, one after another', async () => {
    const addresses = ['10.0.0.1', '127.255.255.254', named.address];
    assert.equal(await ask(createClient({ addresses })), 'there.example');
    assert.deepEqual(proxy.asked, [`127.255.255.254:${named.port}`, `${named.address}:${named.port}`]);
  });

  test('names are left to it where the operator says so; addresses are judged all the same', async () => {
    proxy.names.set('there.example', named.address);
    const client = createClient({ resolvesNames: false, allowed: [] });
    assert.equal(await ask(client), 'there.example');
    assert.deepEqual(proxy.asked, [`there.example:${named.port}`]);
    assert.equal(await ask(client, { host: '127.0.0.1' }), 'fail denied');
  });

  test('hosts and networks can be exempt', async () => {
    const addresses = [named.address];
    assert.equal(await ask(createClient({ addresses, bypassHosts: ['*.EXAMPLE'] })), 'there.example');
    assert.equal(await ask(createClient({ addresses, bypassNetworks: ['127.0.0.0/8'] })), 'there.example');
    assert.equal(await ask(createClient({ allowed: [], addresses, bypassHosts: ['*'] })), 'fail denied');
    assert.deepEqual(proxy.asked, []);
  });

  test('credentials go to it alone, and nowhere else', async () => {
    const password = new Secret('open sesame');
    const client = createClient({ addresses: [named.address], username: 'us', password });
    named.handle = (request, response) => void response.writeHead(200).end(JSON.stringify(request.headers));
    assert.equal((await ask(client)).includes('authorization'), false);
    assert.deepEqual(proxy.credentials, [`Basic ${Buffer.from('us:open sesame').toString('base64')}`]);
    assert.equal(JSON.stringify(settings({ password })).includes('sesame'), false);
  });

  test('what it refuses, and that it is not there, may pass', async () => {
    const client = createClient({ addresses: [named.address] });
    for (const status of [403, 407, 502]) {
      proxy.status = status;
      assert.equal(await ask(client), 'retry unreachable');
    }
    const gone = createClient({ addresses: [named.address], url: 'http://127.0.0.1:1' });
    assert.equal(await ask(gone), 'retry unreachable');
  });

  test('push gateways and pages are reached through it, over HTTP too', async () => {
    const page = createServer((_request, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
    ).listen(0, '127.0.0.1');
    await once(page, 'listening');
    stack.defer(() => void page.close().closeAllConnections());
    const bound = page.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
    const shared = {
      clock: systemClock,
      policy: createNetworkPolicy({ allowed: ['127.0.0.0/8'] }),
      userAgent: 'test',
      resolve: async () => [{ address: '127.0.0.1', family: 4 }],
      proxy: settings(),
    };
    const url = new URL(`http://page.example:${port}/`);
    await using gateway = createPushGateway(shared);
    assert.deepEqual(await gateway.notify(url, {}), []);
    await using pages = createPageClient({ ...shared, ports: [], isBlockedHost: () => false });
    const fetched = await pages.fetch(url, { accept: '*/*', maxBytes: () => 1_000 });
    assert.equal(fetched?.body.toString(), '{}');
    assert.deepEqual(proxy.asked, [`127.0.0.1:${port}`, `127.0.0.1:${port}`]);
  });
});

test('two whole servers talk through it: well-known files, keys, requests', async () => {
  const config = { proxy: { url: proxy.url, username: 'us', password: 'open sesame' } };
  await using here = await startHomeserver({ authority, config });
  await using there = await startHomeserver({ authority });
  const [alice, bob] = await Promise.all([here.register('alice'), there.register('bob')]);
  const room = textAt(await bob.ok('POST', '/createRoom', { preset: 'public_chat' }), 'room_id');
  const joined = await alice.ok('POST', `/join/${encodeURIComponent(room)}?via=${there.serverName}`, {});
  assert.equal(at(joined, 'room_id'), room);
  assert.ok(proxy.asked.length > 0);
  assert.deepEqual(new Set(proxy.asked), new Set([there.serverName]));
});
