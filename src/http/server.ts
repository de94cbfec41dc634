/**
 * The HTTP server: mounts endpoints on listeners and takes every request through the same steps. Fastify routes; nothing
 * outside this file knows it. Each path answers all methods itself, so that a wrong method is 405 and OPTIONS always works.
 *
 * Stopping: no new connections, long polls are told to answer, what is under way gets some seconds, the rest is cut off.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#api-standards
 */
import { unlink } from 'node:fs/promises';
import { createServer as createHttpListener, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsListener } from 'node:https';
import { type AddressInfo, connect, type ListenOptions } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import { type Answer, errorAnswer } from './answer.ts';
import type { Authenticator } from './authenticate.ts';
import { createAddressReader } from './client-address.ts';
import type { Endpoint } from './endpoint.ts';
import { RequestHandler, type RequestSummary } from './handle-request.ts';
import type { RateLimiter } from './rate-limiter.ts';
import { groupByShape } from './routes.ts';
import type { ServerAuthenticator } from './server-auth.ts';

export type Listener =
  | {
      readonly address: string;
      readonly port: number;
      readonly tls?: { readonly certificate: string; readonly key: string };
    }
  | { readonly unix: string };

export interface HttpServerOptions {
  readonly endpoints: readonly Endpoint[];
  /** TLS certificates and keys as PEM text. */
  readonly listeners: readonly Listener[];
  readonly authenticator: Pick<Authenticator, 'authenticate'>;
  /** Where other servers are answered too. */
  readonly serverAuthenticator?: ServerAuthenticator | undefined;
  readonly rateLimiter: RateLimiter;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** Addresses or CIDR ranges whose X-Forwarded-For is believed. */
  readonly trustedProxies?: readonly string[];
  /** Told of each answered request, for metrics. */
  readonly onRequest?: (summary: RequestSummary) => void;
  /** How long requests under way may take when the server stops. */
  readonly drainMs?: number;
}

export interface HttpServer {
  /** Opens all listeners, or none: what was opened is closed again when one fails. */
  listen(): Promise<void>;
  /** Where it listens: URLs, or `unix:PATH`. */
  addresses(): readonly string[];
  /** When the listeners were opened, unix milliseconds; undefined before. */
  readonly startedAt: number | undefined;
  close(): Promise<void>;
}

/** Leaves time for the committer and PostgreSQL within the ten seconds that stopping may take. */
const DRAIN_MS = 5_000;
/** Longer than usual proxies keep theirs, so that they close first and no request meets a closing connection. */
const KEEP_ALIVE_MS = 75_000;
const HEADERS_TIMEOUT_MS = 60_000;
/** For the whole request to arrive: 50 MB at 128 kbit/s. Readers of bodies have stricter bounds of their own. */
const REQUEST_TIMEOUT_MS = 60 * 60_000;
/** Request line and headers together. */
const MAX_HEADER_BYTES = 32 * 1024;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'];

export function createHttpServer(options: HttpServerOptions): HttpServer {
  return new FastifyServer(options);
}

class FastifyServer implements HttpServer {
  readonly #options: HttpServerOptions;
  readonly #handler: RequestHandler;
  readonly #app: FastifyInstance;
  readonly #servers: { readonly listener: Listener; readonly server: Server }[] = [];
  #startedAt: number | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    const readAddress = createAddressReader(options.trustedProxies ?? []);
    this.#handler = new RequestHandler({ ...options, readAddress });
    this.#app = mount(options.endpoints, this.#handler);
  }

  get startedAt(): number | undefined {
    return this.#startedAt;
  }

  async listen(): Promise<void> {
    await this.#app.ready();
    try {
      for (const listener of this.#options.listeners) {
        const server = createListener(listener, this.#app.routing);
        this.#servers.push({ listener, server });
        await open(server, listener);
      }
    } catch (cause) {
      await this.close();
      throw cause;
    }
    this.#startedAt = this.#options.clock.now();
  }

  addresses(): readonly string[] {
    return this.#servers.map(({ listener, server }) => {
      if ('unix' in listener) return `unix:${listener.unix}`;
      const host = listener.address.includes(':') ? `[${listener.address}]` : listener.address;
      return `${listener.tls === undefined ? 'http' : 'https'}://${host}:${portOf(server.address()) ?? listener.port}`;
    });
  }

  async close(): Promise<void> {
    const closed = this.#servers.map(({ server }) => closeServer(server));
    this.#handler.stop();
    using _cut = this.#options.clock.after(this.#options.drainMs ?? DRAIN_MS, () => {
      for (const { server } of this.#servers) server.closeAllConnections();
    });
    await Promise.all(closed);
    this.#servers.length = 0;
    await this.#app.close();
  }
}

/** Groups endpoints by the shape of their path, and lets Fastify find the shape. */
function mount(endpoints: readonly Endpoint[], handler: RequestHandler): FastifyInstance {
  const app = Fastify({
    logger: false,
    routerOptions: { maxParamLength: MAX_HEADER_BYTES, caseSensitive: true, ignoreTrailingSlash: false },
    exposeHeadRoutes: false,
    return503OnClosing: false,
    frameworkErrors: (cause, request, reply) => {
      reply.hijack();
      handler.refuse(request.raw, reply.raw, answerFrameworkError(cause));
    },
  });
  for (const [url, methods] of groupByShape(endpoints)) {
    app.route<{ Params: Record<string, string>; Querystring: Record<string, unknown> }>({
      method: METHODS,
      url,
      // Taken over as soon as the route is known: bodies are read by the endpoint's own reader, after authentication, and
      // Fastify must not judge their type, which for uploads may be any text.
      onRequest(request, reply) {
        reply.hijack();
        const { raw, params, query } = request;
        handler.handle({ request: raw, response: reply.raw, methods, params: Object.values(params), query });
      },
      handler: () => undefined,
    });
  }
  app.setNotFoundHandler((request, reply) => {
    reply.hijack();
    handler.refuse(request.raw, reply.raw, UNKNOWN_PATH);
  });
  app.setErrorHandler((cause, request, reply) => {
    reply.hijack();
    handler.refuse(request.raw, reply.raw, answerFrameworkError(cause));
  });
  return app;
}

const UNKNOWN_PATH = errorAnswer(new MatrixError('M_UNRECOGNIZED', 'No such endpoint'));

/** What Fastify itself refuses, such as a path with broken percent-encoding. */
function answerFrameworkError(cause: unknown): Answer {
  if (hasCode(cause, 'FST_ERR_BAD_URL'))
    return errorAnswer(new MatrixError('M_INVALID_PARAM', 'The path is badly encoded'));
  return errorAnswer(new MatrixError('M_UNKNOWN', 'The request could not be read', { status: 400 }));
}

type Route = (request: IncomingMessage, response: ServerResponse) => void;

function createListener(listener: Listener, route: Route): Server {
  const options = {
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  if ('unix' in listener || listener.tls === undefined) return createHttpListener(options, route);
  return createTlsListener({ ...options, cert: listener.tls.certificate, key: listener.tls.key }, route);
}

async function open(server: Server, listener: Listener): Promise<void> {
  const target = 'unix' in listener ? { path: listener.unix } : { host: listener.address, port: listener.port };
  try {
    await listen(server, target);
  } catch (cause) {
    // A server that was killed leaves its socket behind.
    if (!('unix' in listener) || !hasCode(cause, 'EADDRINUSE') || (await isAnswered(listener.unix))) throw cause;
    await unlink(listener.unix);
    await listen(server, target);
  }
}

function listen(server: Server, target: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(target, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Whether somebody listens on a unix socket. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

function hasCode(cause: unknown, code: string): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === code;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // A server that never came to listen reports an error here, and is closed all the same.
    server.close(() => resolve());
  });
}

function portOf(address: AddressInfo | string | null): number | undefined {
  return typeof address === 'object' ? address?.port : undefined;
}
