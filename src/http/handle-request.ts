/**
 * The way of one request: endpoint by method, authentication, rate limit, body, handler, answer, log line. Errors of all
 * kinds become answers here and nowhere else; a fault is logged with its cause and shown as 500 `M_UNKNOWN`.
 *
 * Invariants: every answer, errors included, carries the CORS headers; a log line never holds a query string or a header,
 * so no token gets into the log.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName } from '../protocol/ids.ts';
import { Answer, type AnswerHeaders, errorAnswer } from './answer.ts';
import type { Authenticator } from './authenticate.ts';
import type { ReadBody } from './body.ts';
import { type AddressSource, rateLimitKey } from './client-address.ts';
import type { Endpoint, RequestContext, Requester } from './endpoint.ts';
import { isLargeText, streamText } from './large-text.ts';
import type { RateLimiter } from './rate-limiter.ts';
import type { Methods, Route } from './routes.ts';
import type { ServerAuthenticator } from './server-auth.ts';

export interface RequestSummary {
  readonly method: string;
  /** The declared path, with names in the place of parameters; undefined for unknown paths. */
  readonly route: string | undefined;
  readonly status: number;
  readonly errcode: string | undefined;
  /** Milliseconds from the request's headers to its answer. */
  readonly took: number;
}

export interface RequestHandlerOptions {
  readonly authenticator: Pick<Authenticator, 'authenticate'> & Partial<Pick<Authenticator, 'onForgotten'>>;
  /** For endpoints with auth `server`. */
  readonly serverAuthenticator?: ServerAuthenticator | undefined;
  readonly rateLimiter: RateLimiter;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: Random;
  readonly readAddress: (source: AddressSource) => string;
  readonly onRequest?: (summary: RequestSummary) => void;
}

/** A request whose path is known. */
export interface RoutedRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly methods: Methods;
  readonly params: readonly string[];
  readonly query: Readonly<Record<string, unknown>>;
}

const CORS_HEADERS: AnswerHeaders = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
  'access-control-allow-headers': 'X-Requested-With, Content-Type, Authorization',
};
/** Why a handler's signal was aborted: its requester may have lost the right to the answer. */
const REVOKED = 'revoked';
/** Browsers ask again after this; Chromium's own upper bound is two hours. */
const PREFLIGHT = new Answer(204, '', { headers: { 'access-control-max-age': '7200' } });
const WRONG_METHOD = new MatrixError('M_UNRECOGNIZED', 'This endpoint does not take that method', { status: 405 });
const STOPPING = new MatrixError('M_UNKNOWN', 'The server is stopping', {
  status: 503,
  headers: { 'retry-after': '5' },
});

/** A request whose handler waits on its signal. */
interface Waiting {
  readonly controller: AbortController;
  readonly requester: Requester | undefined;
}

/** What is known of a request by the time that it fails. */
interface Seen {
  requester: Requester | undefined;
  isAuthenticated: boolean;
  body: unknown;
}

export class RequestHandler {
  readonly #options: RequestHandlerOptions;
  readonly #waiting = new Set<Waiting>();
  /** Tells the requests of this process from those before. */
  readonly #idPrefix: string;
  #count = 0;
  #isStopping = false;

  constructor(options: RequestHandlerOptions) {
    this.#options = options;
    this.#idPrefix = options.random.alphanumeric(6);
    options.authenticator.onForgotten?.((accountId, deviceIds) => this.#release(accountId, deviceIds));
  }

  handle(routed: RoutedRequest): void {
    const { request, response, methods } = routed;
    const context = this.#createContext(request, response);
    const method = request.method ?? '';
    const found = methods.get(method === 'HEAD' ? 'GET' : method);
    if (found !== undefined) {
      const { endpoint, path } = found;
      const answer =
        endpoint.onOutcome === undefined
          ? this.#answer(endpoint, path, routed, context)
          : this.#answerAndTell(found, routed, context);
      answer.then(
        (answer) => this.#send(context, answer, path),
        (cause: unknown) => this.#send(context, this.#answerError(context, cause), path),
      );
      return;
    }
    this.#send(context, method === 'OPTIONS' ? PREFLIGHT : errorAnswer(withAllow(methods)), undefined);
  }

  /** Answers what reached no endpoint. */
  refuse(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
    const isPreflight = request.method === 'OPTIONS';
    this.#send(this.#createContext(request, response), isPreflight ? PREFLIGHT : answer, undefined);
  }

  /** From now on requests are refused, and those that wait are told. */
  stop(): void {
    this.#isStopping = true;
    for (const { controller } of this.#waiting) controller.abort('shutdown');
  }

  /** Who waits with a token that may have become invalid waits no longer. */
  #release(accountId: number, deviceIds: ReadonlySet<string> | undefined): void {
    for (const { controller, requester } of this.#waiting) {
      if (requester?.accountId !== accountId) continue;
      if (deviceIds === undefined || deviceIds.has(requester.deviceId)) controller.abort(REVOKED);
    }
  }

  /** As `#answer`, and tells the endpoint's keeper of records how it ended. */
  async #answerAndTell({ endpoint, path }: Route, routed: RoutedRequest, context: Context): Promise<Answer> {
    const answer = await this.#answer(endpoint, path, routed, context).catch((cause: unknown) =>
      this.#answerError(context, cause),
    );
    const { method } = endpoint;
    await endpoint.onOutcome?.({ context, method, path, params: routed.params, ...context.seen, answer });
    return answer;
  }

  async #answer(endpoint: Endpoint, path: string, routed: RoutedRequest, context: Context): Promise<Answer> {
    if (this.#isStopping) throw STOPPING;
    if (endpoint.auth === 'server') return this.#answerServer(endpoint, path, routed, context);
    const { request, params, query } = routed;
    const { authenticator, rateLimiter } = this.#options;
    let requester: Requester | undefined;
    const { authorization } = request.headers;
    const queryToken = typeof query['access_token'] === 'string' ? query['access_token'] : undefined;
    const authenticate = () => authenticator.authenticate({ authorization, queryToken, client: context }, endpoint);
    if (endpoint.auth !== 'none') {
      const result = authenticate();
      requester = result instanceof Promise ? await result : result;
    }
    context.seen.requester = requester;
    context.seen.isAuthenticated = true;
    if (endpoint.rateLimit !== undefined) {
      rateLimiter.take(endpoint.rateLimit, requester?.userId ?? rateLimitKey(context.ip));
    }
    const body = await readBody(endpoint, request);
    context.seen.body = body?.value;
    const exchange = { context, path, rawParams: params, rawQuery: query, body, requester, origin: undefined };
    const result = await endpoint.run(exchange);
    // The token was good when the request came; the answer goes to whoever it belongs to now.
    try {
      if (context.isRevoked) await authenticate();
    } catch (cause) {
      discard(result);
      throw cause;
    }
    return result;
  }

  /** A signature covers the body too: the header is judged first, as far as it goes, then the body is read. */
  async #answerServer(endpoint: Endpoint, path: string, routed: RoutedRequest, context: Context): Promise<Answer> {
    const { request, params, query } = routed;
    const { serverAuthenticator, rateLimiter } = this.#options;
    if (serverAuthenticator === undefined) throw new Error('an endpoint for servers, and nobody to check them');
    const claim = serverAuthenticator.begin(request.headersDistinct['authorization'] ?? []);
    const body = await readBody(endpoint, request);
    const origin = await claim.verify({ method: request.method ?? '', uri: request.url ?? '', body });
    context.origin = origin;
    if (endpoint.rateLimit !== undefined) rateLimiter.take(endpoint.rateLimit, origin);
    return endpoint.run({ context, path, rawParams: params, rawQuery: query, body, requester: undefined, origin });
  }

  #answerError(context: Context, cause: unknown): Answer {
    if (cause instanceof MatrixError) return errorAnswer(cause);
    context.logger.error({ err: cause }, 'request failed');
    const headers = { 'x-request-id': context.requestId };
    return errorAnswer(new MatrixError('M_UNKNOWN', 'Internal server error', { headers }));
  }

  #createContext(request: IncomingMessage, response: ServerResponse): Context {
    this.#count += 1;
    const requestId = `${this.#idPrefix}-${this.#count.toString(36)}`;
    return new Context({ request, response, requestId, waiting: this.#waiting, options: this.#options });
  }

  #send(context: Context, answer: Answer, route: string | undefined): void {
    const { request, response } = context;
    const isClosing = this.#isStopping ? { connection: 'close' } : undefined;
    const { body, status } = answer;
    if (!response.destroyed) {
      if (typeof body === 'string' || Buffer.isBuffer(body)) {
        const length = status === 204 || status === 304 ? undefined : { 'content-length': Buffer.byteLength(body) };
        response.writeHead(status, { ...CORS_HEADERS, ...answer.headers, ...length, ...isClosing });
        // A client that goes away ends it, and that is all.
        if (isLargeText(body) && request.method !== 'HEAD') pipeline(streamText(body), response, () => undefined);
        else response.end(body);
      } else {
        response.writeHead(status, { ...CORS_HEADERS, ...answer.headers, ...isClosing });
        // A source that breaks in mid-answer can only be shown to the client by breaking the connection.
        body.on('error', (cause) => response.destroy(cause));
        response.on('close', () => body.destroy());
        if (request.method === 'HEAD') response.end();
        else body.pipe(response);
      }
    } else {
      discard(answer);
    }
    context.finish();
    const took = this.#options.clock.monotonic() - context.startedAt;
    const method = request.method ?? '';
    this.#options.onRequest?.({ method, route, status, errcode: answer.errcode, took });
    this.#log(context, { method, route, status, errcode: answer.errcode, took: Math.round(took * 1000) / 1000 });
  }

  #log({ requestId, ip, request, origin }: Context, summary: RequestSummary): void {
    const path = request.url?.split('?', 1)[0]?.replace(SECRET_IN_PATH, '$1<redacted>');
    const server = origin === undefined ? undefined : { server: origin };
    this.#options.logger.info({ requestId, path, ip, ...server, ...summary }, 'request');
  }
}

function readBody(endpoint: Endpoint, request: IncomingMessage): Promise<ReadBody> | undefined {
  return endpoint.readBody?.(request);
}

/** An answer that nobody gets must not keep its file open. */
function discard({ body }: Answer): void {
  if (typeof body === 'object' && !Buffer.isBuffer(body)) body.destroy();
}

function withAllow(methods: Methods): MatrixError {
  return new MatrixError('M_UNRECOGNIZED', WRONG_METHOD.message, {
    status: WRONG_METHOD.status,
    headers: { allow: [...methods.keys(), 'OPTIONS'].join(', ') },
  });
}

interface ContextParts {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  readonly waiting: Set<Waiting>;
  readonly options: RequestHandlerOptions;
}

/** Address, logger and signal cost something and are often not asked for: made on first use. */
class Context implements RequestContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  readonly startedAt: number;
  /** The server that signed the request, once that is proved. */
  origin: ServerName | undefined;
  readonly seen: Seen = { requester: undefined, isAuthenticated: false, body: undefined };
  readonly #parts: ContextParts;
  #ip: string | undefined;
  #logger: Logger | undefined;
  #waiting: Waiting | undefined;

  constructor(parts: ContextParts) {
    this.#parts = parts;
    this.request = parts.request;
    this.response = parts.response;
    this.requestId = parts.requestId;
    this.startedAt = parts.options.clock.monotonic();
  }

  get ip(): string {
    const forwarded = this.request.headers['x-forwarded-for'];
    this.#ip ??= this.#parts.options.readAddress({
      socketAddress: this.request.socket.remoteAddress,
      forwardedFor: Array.isArray(forwarded) ? forwarded.join(',') : forwarded,
    });
    return this.#ip;
  }

  get userAgent(): string {
    return this.request.headers['user-agent'] ?? '';
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  get logger(): Logger {
    this.#logger ??= this.#parts.options.logger.child({ requestId: this.requestId });
    return this.#logger;
  }

  get signal(): AbortSignal {
    if (this.#waiting === undefined) {
      const controller = new AbortController();
      this.#waiting = { controller, requester: this.seen.requester };
      this.#parts.waiting.add(this.#waiting);
      if (this.response.destroyed) controller.abort('gone');
      this.response.once('close', () => controller.abort('gone'));
    }
    return this.#waiting.controller.signal;
  }

  get isRevoked(): boolean {
    return this.#waiting?.controller.signal.reason === REVOKED;
  }

  finish(): void {
    if (this.#waiting !== undefined) this.#parts.waiting.delete(this.#waiting);
  }
}

/** Whoever has a registration token can register, and the admin API names them in its paths. */
const SECRET_IN_PATH = /(\/registration-tokens\/)[^/]+/i;
