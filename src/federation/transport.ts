/**
 * HTTPS to other servers: kept connections per target, certificates checked, and nothing without a bound: connecting, the
 * whole exchange (one deadline for headers and body together, so that dripping bytes gain nothing), and the answer's size
 * after decompression. Redirects are answers like any other.
 *
 * Invariant: an address that the policy denies is never connected to, whatever way of writing it the target's name uses:
 * the connector judges the very address that it is about to open.
 */
import type { Readable } from 'node:stream';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { createGunzip } from 'node:zlib';
import { type buildConnector, type Dispatcher, Pool } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { Lru } from '../lib/lru.ts';
import type { NetworkPolicy, ResolveName } from '../lib/network-policy.ts';
import { createOutboundConnector, type ProxySettings } from '../lib/outbound-connector.ts';
import { collectAnswer, flattenHeaders, isZipped, type TransportAnswer, tooLarge } from './collect-answer.ts';
import { isFinal, mayPass } from './federation-error.ts';
import { isBrokenConnection, toFederationError } from './transport-failures.ts';

export interface Target {
  /** A name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** The Host header; the certificate has to be valid for the name or address in it, which also goes into TLS's SNI. */
  readonly hostHeader: string;
}

export interface TransportRequest {
  readonly target: Target;
  readonly method: 'GET' | 'PUT' | 'POST';
  /** Encoded, with its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly deadlineMs: number;
  /** Of the answer, after decompression. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/** An answer whose body is read as it comes; the request's deadline and size bound reading it too. */
export interface OpenedAnswer extends Disposable, Pick<TransportAnswer, 'status' | 'headers'> {
  /** Throws a `FederationError` for whatever breaks on the way. */
  readonly chunks: AsyncIterable<Buffer>;
}

export interface Transport extends AsyncDisposable {
  /** Any status is an answer; whatever keeps us from one is thrown as a `FederationError`. */
  send(request: TransportRequest): Promise<TransportAnswer>;
  /** The same without waiting for the body: whoever opens disposes. */
  open(request: TransportRequest): Promise<OpenedAnswer>;
}

export interface TransportOptions {
  readonly clock: Clock;
  readonly policy: NetworkPolicy;
  readonly userAgent: string;
  /** PEM texts of authorities that are trusted besides the system's. */
  readonly certificates?: readonly string[];
  readonly resolveName?: ResolveName | undefined;
  readonly proxy?: ProxySettings | undefined;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** Peers are sent to again within seconds or after minutes; what lies between costs a handshake. */
const KEEP_ALIVE_MS = 30_000;
const MAX_HEADER_BYTES = 32 * 1024;
/** To one target at once; what is more waits, within its deadline. */
const MAX_CONNECTIONS = 8;
/** A target that is not in use holds no socket, only an entry. */
const MAX_TARGETS = 2_000;
/** A kept connection may be closed by its other end just as we use it: asking once more tells that from a broken peer. */
const ATTEMPTS = 2;

export function createTransport(options: TransportOptions): Transport {
  const { clock } = options;
  const pools = createPools(createConnector(options));
  return {
    async send(request) {
      using bounds = new Bounds(clock, request);
      const { signal } = bounds;
      return await bounds.within(() =>
        exchange(pools, request, (pool) =>
          collectAnswer(pool, dispatchOptions(options, request), { ...request, signal }),
        ),
      );
    },

    async open(request) {
      using stack = new DisposableStack();
      const bounds = stack.use(new Bounds(clock, request));
      const opened = await bounds.within(() =>
        exchange(pools, request, async (pool) => {
          const { signal } = bounds;
          return openBody(await pool.request({ ...dispatchOptions(options, request), signal }), request);
        }),
      );
      // The rest of an answer that nobody reads.
      stack.defer(() => bounds.cancel());
      const resources = stack.move();
      return {
        ...opened,
        chunks: bounds.guard(opened.chunks),
        [Symbol.dispose]: () => resources.dispose(),
      };
    },

    [Symbol.asyncDispose]: () => pools.destroy(),
  };
}

/** What ends an exchange before its time: the deadline, or a caller that gave up. */
class Bounds implements Disposable {
  readonly #controller = new AbortController();
  readonly #resources = new DisposableStack();

  constructor(clock: Clock, { signal, deadlineMs }: TransportRequest) {
    const controller = this.#controller;
    const giveUp = (): void => controller.abort(isFinal('cancelled', 'the caller gave up', signal?.reason));
    if (signal?.aborted === true) giveUp();
    signal?.addEventListener('abort', giveUp);
    this.#resources.defer(() => signal?.removeEventListener('abort', giveUp));
    this.#resources.use(clock.after(deadlineMs, () => controller.abort(mayPass('timeout', 'took too long'))));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  async within<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      throw this.#blame(cause);
    }
  }

  async *guard(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    try {
      yield* chunks;
    } catch (cause) {
      throw this.#blame(cause);
    }
  }

  #blame(cause: unknown) {
    return toFederationError(this.signal.aborted ? this.signal.reason : cause);
  }

  /** Ends what is still under way. */
  cancel(): void {
    this.#controller.abort(isFinal('cancelled', 'the answer is not read any further'));
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}

interface Pools {
  of(target: Target): Pool;
  destroy(): Promise<void>;
}

function createPools(connect: buildConnector.connector): Pools {
  const alive = new Set<Pool>();
  const close = (pool: Pool): void => {
    const forget = (): boolean => alive.delete(pool);
    pool.close().then(forget, forget);
  };
  const pools = new Lru<string, Pool>({ maxCost: MAX_TARGETS, onEvict: close });
  return {
    of({ host, port, hostHeader }) {
      const key = `${host} ${port} ${hostHeader}`;
      const known = pools.get(key);
      if (known !== undefined) return known;
      const pool = new Pool(`https://${host.includes(':') ? `[${host}]` : host}:${port}`, {
        connect,
        connections: MAX_CONNECTIONS,
        pipelining: 1,
        allowH2: false,
        keepAliveTimeout: KEEP_ALIVE_MS,
        maxHeaderSize: MAX_HEADER_BYTES,
        // The request's own deadline covers both.
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      alive.add(pool);
      pools.set(key, pool);
      return pool;
    },
    async destroy() {
      await Promise.all([...alive].map((pool) => pool.destroy()));
    },
  };
}

function createConnector({
  policy,
  proxy,
  resolveName,
  certificates = [],
}: TransportOptions): buildConnector.connector {
  const secureContext = createTrust(certificates);
  return createOutboundConnector({ policy, proxy, resolveName, secureContext, timeoutMs: CONNECT_TIMEOUT_MS });
}

/** Node's own list with NODE_EXTRA_CA_CERTS, what the system trusts, and what the configuration adds. */
function createTrust(certificates: readonly string[]): SecureContext {
  const ca = new Set([...getCACertificates('default'), ...getCACertificates('system'), ...certificates]);
  return createSecureContext({ ca: [...ca] });
}

function dispatchOptions(
  { userAgent }: Pick<TransportOptions, 'userAgent'>,
  { target, method, path, body, headers }: TransportRequest,
): Dispatcher.DispatchOptions {
  return {
    method,
    path,
    headers: {
      'user-agent': userAgent,
      accept: 'application/json',
      'accept-encoding': 'gzip',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
      host: target.hostHeader,
    },
    body: body ?? null,
  };
}

async function exchange<T>(
  pools: Pools,
  { target }: Pick<TransportRequest, 'target'>,
  attempt: (pool: Pool) => Promise<T>,
): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt(pools.of(target));
    } catch (cause) {
      if (count >= ATTEMPTS || !isBrokenConnection(cause)) throw cause;
    }
  }
}

function openBody(answer: Dispatcher.ResponseData, { maxBytes }: TransportRequest): Omit<OpenedAnswer, symbol> {
  const { statusCode: status, body: source } = answer;
  // What breaks after we have left is of no interest.
  source.on('error', () => undefined);
  const headers = flattenHeaders(answer.headers);
  return { status, headers, chunks: readUpTo(decode(source, headers['content-encoding']), maxBytes) };
}

async function* readUpTo(source: Readable, maxBytes: number): AsyncGenerator<Buffer> {
  let size = 0;
  for await (const chunk of source) {
    // Streams of bytes give buffers.
    const bytes: Buffer = chunk;
    size += bytes.length;
    if (size > maxBytes) throw tooLarge(maxBytes);
    yield bytes;
  }
}

function decode(source: Readable, encoding: string | undefined): Readable {
  if (!isZipped(encoding)) return source;
  const decoder = createGunzip();
  source.on('error', (cause) => decoder.destroy(cause));
  decoder.on('close', () => source.destroy());
  return source.pipe(decoder);
}
