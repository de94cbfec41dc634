/**
 * A small HTTP proxy that opens tunnels, and remembers to where.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TestAuthority } from './certificates.ts';
import { nextAddress } from './federation.ts';

export interface ConnectProxy extends AsyncDisposable {
  readonly url: string;
  /** What it was asked to connect to, in order. */
  readonly asked: string[];
  readonly credentials: (string | undefined)[];
  /** Where a name that it was asked for leads. */
  readonly names: Map<string, string>;
  /** What it answers; 200 opens the tunnel. */
  status: number;
}

/** With an authority it speaks TLS itself. */
export async function startConnectProxy(authority?: TestAuthority): Promise<ConnectProxy> {
  const address = nextAddress();
  const tls = await authority?.issue(address);
  const open = new Set<Duplex>();
  const server: Server =
    tls === undefined ? createServer() : createSecureServer({ cert: tls.certificate, key: tls.key });
  server.on('connection', (socket: Socket) => keep(open, socket));
  server.on('connect', (request, client: Duplex) => {
    const authority = request.url ?? '';
    proxy.asked.push(authority);
    proxy.credentials.push(request.headers['proxy-authorization']);
    if (proxy.status !== 200) {
      client.end(`HTTP/1.1 ${proxy.status} No\r\n\r\n`);
      return;
    }
    const { hostname, port } = new URL(`tunnel://${authority}`);
    const host = proxy.names.get(hostname) ?? hostname.replaceAll(/[[\]]/g, '');
    const target = connect({ host, port: Number(port) }, () => {
      client.write('HTTP/1.1 200 Open\r\n\r\n');
      client.pipe(target).pipe(client);
    });
    keep(open, target);
    target.on('error', () => client.destroy());
    client.on('error', () => target.destroy());
  });
  server.listen(0, address);
  await once(server, 'listening');
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const proxy: ConnectProxy = {
    url: `${tls === undefined ? 'http' : 'https'}://${address}:${port}`,
    asked: [],
    credentials: [],
    names: new Map(),
    status: 200,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
  return proxy;
}

function keep(open: Set<Duplex>, socket: Duplex): void {
  open.add(socket);
  socket.on('close', () => open.delete(socket));
  socket.on('error', () => undefined);
}
