import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Clock, systemClock } from '../lib/clock.ts';
import { createNetworkPolicy, type ResolveName } from '../lib/network-policy.ts';
import { createPageClient, FetchError } from './page-client.ts';

const anything = { accept: '*/*', maxBytes: () => 1_000_000 };

/** Listens on 127.0.0.1, and notes who connected. */
async function listen(handle: RequestListener) {
  const hosts: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    hosts.push(request.headers.host);
    handle(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    port,
    hosts,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function createClient(options: { resolve?: ResolveName; clock?: Clock; allowed?: readonly string[] } = {}) {
  return createPageClient({
    clock: options.clock ?? systemClock,
    policy: createNetworkPolicy({ allowed: options.allowed ?? [] }),
    ports: [],
    isBlockedHost: () => false,
    userAgent: 'test',
    resolve: options.resolve,
  });
}

describe('the client for pages', () => {
  test('D7: the address that was judged is the one that is connected to, whatever the name says next', async () => {
    await using server = await listen((_, response) => response.end('inside'));
    const answers = ['127.0.0.1', '10.0.0.1'];
    let asked = 0;
    const resolve: ResolveName = async () => [{ address: answers[asked++] ?? '10.0.0.1', family: 4 }];
    await using client = createClient({ resolve, allowed: ['127.0.0.1/32'] });
    const page = await client.fetch(new URL(`http://rebinding.example:${server.port}/`), anything);
    assert.equal(page?.body.toString(), 'inside');
    assert.deepEqual([asked, server.hosts], [1, [`rebinding.example:${server.port}`]]);
    await assert.rejects(client.fetch(new URL(`http://other.example:${server.port}/`), anything), FetchError);
    assert.equal(server.hosts.length, 1);
  });

  test('D7: of several addresses only those that are allowed are tried', async () => {
    await using server = await listen((_, response) => response.end('x'));
    const both: ResolveName = async () => [
      { address: '::1', family: 6 },
      { address: '127.0.0.1', family: 4 },
    ];
    await using open = createClient({ resolve: both, allowed: ['127.0.0.1/32'] });
    assert.equal((await open.fetch(new URL(`http://a.example:${server.port}/`), anything))?.body.toString(), 'x');
    await using closed = createClient({ resolve: both });
    await assert.rejects(closed.fetch(new URL(`http://a.example:${server.port}/`), anything), FetchError);
    assert.equal(server.hosts.length, 1);
  });

  test('J8: addresses are judged in the form in which they are connected to', async () => {
    await using server = await listen((_, response) => response.end('x'));
    const wrapped = ['::ffff:127.0.0.1', '::ffff:7f00:1', '64:ff9b::7f00:1', '::127.0.0.1', '2002:7f00:1::1'];
    for (const address of wrapped) {
      await using client = createClient({ resolve: async () => [{ address, family: 6 }] });
      await assert.rejects(client.fetch(new URL(`http://a.example:${server.port}/`), anything), FetchError, address);
      await assert.rejects(client.fetch(new URL(`http://[${address}]:${server.port}/`), anything), FetchError, address);
    }
    assert.deepEqual(server.hosts, []);
  });

  test('D7: a redirect to another name is judged anew', async () => {
    await using server = await listen((_, response) => {
      response.writeHead(302, { location: `http://inside.example:${server.port}/` }).end();
    });
    const resolve: ResolveName = async (name) =>
      name === 'inside.example' ? [{ address: '127.0.0.2', family: 4 }] : [{ address: '127.0.0.1', family: 4 }];
    await using client = createClient({ resolve, allowed: ['127.0.0.1/32'] });
    await assert.rejects(client.fetch(new URL(`http://a.example:${server.port}/`), anything), FetchError);
    assert.deepEqual(server.hosts, [`a.example:${server.port}`]);
  });

  test('C12: bytes are counted after decompression', async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    await using server = await listen((_, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-type': 'text/html' }).end(bomb);
    });
    await using client = createClient({ allowed: ['127.0.0.1/32'] });
    const page = await client.fetch(new URL(`http://127.0.0.1:${server.port}/`), anything);
    assert.deepEqual([page?.body.length, page?.isCut], [1_000_000, true]);
  });

  test('C12: whoever trickles is left when the time is over', async () => {
    let timer: NodeJS.Timeout | undefined;
    await using server = await listen((_, response) => {
      response.writeHead(200, { 'content-type': 'text/html' });
      timer = setInterval(() => response.write('x'), 20);
    });
    const ends: (() => void)[] = [];
    const clock: Clock = {
      ...systemClock,
      after(_, callback) {
        ends.push(callback);
        return { [Symbol.dispose]: () => undefined };
      },
    };
    await using client = createClient({ clock, allowed: ['127.0.0.1/32'] });
    const fetching = client.fetch(new URL(`http://127.0.0.1:${server.port}/`), anything);
    setTimeout(() => {
      for (const end of ends) end();
    }, 200);
    await assert.rejects(fetching, FetchError);
    clearInterval(timer);
  });

  test('C12: headers have a bound too', async () => {
    await using server = await listen((_, response) => {
      response.writeHead(200, { 'x-large': 'x'.repeat(100_000) }).end('x');
    });
    await using client = createClient({ allowed: ['127.0.0.1/32'] });
    await assert.rejects(client.fetch(new URL(`http://127.0.0.1:${server.port}/`), anything), FetchError);
  });

  test('types that nobody wants are left unread', async () => {
    await using server = await listen((_, response) => {
      response.writeHead(200, { 'content-type': 'Video/MP4; codecs=x' }).write('x');
    });
    await using client = createClient({ allowed: ['127.0.0.1/32'] });
    const maxBytes = (essence: string) => (essence === 'video/mp4' ? undefined : 5);
    const url = new URL(`http://127.0.0.1:${server.port}/`);
    assert.equal(await client.fetch(url, { accept: '*/*', maxBytes }), undefined);
  });
});
