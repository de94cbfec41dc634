/**
 * Endpoint declarations. An API file says what a request is (method, path, who may ask, schemas, bounds) and what to do
 * with it; the server does the rest: matching, authentication, rate limits, reading and checking bodies, error answers.
 * Declarations are data too: route lists and OpenAPI are made from them.
 *
 * Invariants: `handle` runs only after everything declared has been checked; parameters are decoded exactly once; no
 * string of a path, query or (unless `allowNul`) body holds NUL, which PostgreSQL's text cannot store.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#api-standards
 */
import type { Static, TObject, TSchema } from 'typebox';
import type { Logger } from '../lib/logger.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { ServerName, UserId } from '../protocol/ids.ts';
import type { OddNumbers } from '../protocol/strict-json.ts';
import { Answer, answer } from './answer.ts';
import { type BodyReader, compileBody, NO_ODD_NUMBERS, type ReadBody } from './body.ts';
import { compileParams } from './params.ts';
import { compileQuery } from './query.ts';
import type { RateLimitFamily } from './rate-limiter.ts';
import { RAW_BODY, type RawBody, readRawBody } from './raw-body.ts';

export type Method = 'GET' | 'PUT' | 'POST' | 'DELETE' | 'PATCH';

/**
 * `optional` gives the requester where there is a token. `admin` re-reads the account, so that a demotion counts at once,
 * and answers whoever is no administrator, or nobody at all, with 403; `admin-or-psk` also takes the pre-shared secret,
 * which comes without a requester. `server` is a request that another server signed: its name is the requester.
 */
export type Auth = 'none' | 'optional' | 'user' | 'admin' | 'admin-or-psk' | 'server';

/** Whose token came with the request. There is no admin flag here, since this is cached: declare `auth: 'admin'`. */
export interface Requester {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly accountId: number;
  readonly isGuest: boolean;
  readonly isSuspended: boolean;
}

/** What every handler can ask about its request, whatever it declared. */
export interface RequestContext {
  readonly requestId: string;
  /** The client's address, seen through trusted proxies. */
  readonly ip: string;
  readonly userAgent: string;
  /** A request header by its lower-case name; several of one name are joined. */
  header(name: string): string | undefined;
  /**
   * Aborted when the client goes away (reason 'gone'), its session may have ended ('revoked') or the server stops
   * ('shutdown'): long polls then answer at once.
   */
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

export interface EndpointRequest<Params, Query, Body, Asking> extends RequestContext {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** The parts of a server's body that hold numbers which canonical JSON does not know; empty for all others. */
  readonly oddNumbers: OddNumbers;
  readonly requester: Asking;
}

type RequesterOf<A extends Auth> = A extends 'none'
  ? undefined
  : A extends 'optional' | 'admin-or-psk'
    ? Requester | undefined
    : A extends 'server'
      ? ServerName
      : Requester;

type ParamNames<P extends string> = P extends `${string}{${infer Name}}${infer Rest}` ? Name | ParamNames<Rest> : never;
type ParamRecord<P extends string> = P extends string ? Readonly<Record<ParamNames<P>, string>> : never;
/** Parameters of a path; of several paths, those that only some have are optional. */
export type PathParams<P extends string> = Readonly<Record<keyof ParamRecord<P>, string>> & {
  readonly [K in Exclude<ParamNames<P>, keyof ParamRecord<P>>]?: string;
};

type StaticOf<S> = S extends typeof RAW_BODY ? RawBody : S extends TSchema ? Static<S> : undefined;

export interface EndpointDeclaration<P extends string, A extends Auth, Q, B> {
  readonly method: Method;
  /** As the spec writes it: `/_matrix/client/v3/rooms/{roomId}/leave`; several where versions share a handler. */
  readonly path: P | readonly P[];
  readonly auth: A;
  /** Whether guest accounts may call it; only the spec's list may. */
  readonly guests?: boolean;
  /** Whether locked accounts may call it: logging out only. */
  readonly allowLocked?: boolean;
  /** Counted per user, or per address where nobody is known. */
  readonly rateLimit?: RateLimitFamily;
  readonly query?: Q;
  /** A schema for JSON, or RAW_BODY for whatever the client sends, unread. */
  readonly body?: B;
  /** Whether a request without a body counts as `{}`. */
  readonly emptyBody?: boolean;
  /** Bytes of the body; DEFAULT_BODY_LIMIT unless the endpoint needs more. */
  readonly bodyLimit?: number;
  /** Whether strings of the body may hold NUL: only where the body is stored as JSON. */
  readonly allowNul?: boolean;
  /** The errcode for a required key that is missing from the body, where it isn't M_BAD_JSON. */
  readonly missingKey?: ErrorCode;
  /** Whether numbers have to be written as canonical JSON demands: where the body becomes part of an event. */
  readonly strictNumbers?: boolean;
  /** Told how each request ended, refused ones included, before the answer is sent. */
  readonly onOutcome?: (outcome: Outcome) => Promise<void>;
  /** Link into the pinned version of the spec. */
  readonly spec: string;
  handle(request: EndpointRequest<PathParams<P>, StaticOf<Q>, StaticOf<B>, RequesterOf<A>>): Result | Promise<Result>;
}

/** An object is answered as JSON with status 200; `answer`, `rawJson` and `bytes` say more. */
export type Result = object | Answer;

/** How a request ended, for those who keep a record of it. */
export interface Outcome {
  readonly context: RequestContext;
  readonly method: Method;
  /** As declared. */
  readonly path: string;
  readonly params: readonly string[];
  /** Undefined before the request was authenticated, and for the pre-shared secret. */
  readonly requester: Requester | undefined;
  readonly isAuthenticated: boolean;
  /** Undefined where none was read. */
  readonly body: unknown;
  readonly answer: Answer;
}

/** A declaration with its checks compiled; what the server mounts and what documentation is made from. */
export interface Endpoint {
  readonly method: Method;
  readonly paths: readonly string[];
  readonly auth: Auth;
  readonly guests: boolean;
  readonly allowLocked: boolean;
  readonly rateLimit: RateLimitFamily | undefined;
  readonly querySchema: TObject | undefined;
  readonly bodySchema: TSchema | undefined;
  readonly spec: string;
  readonly onOutcome: EndpointDeclaration<string, Auth, undefined, undefined>['onOutcome'];
  /** Undefined where the endpoint takes no body. */
  readonly readBody: BodyReader | undefined;
  run(exchange: Exchange): Answer | Promise<Answer>;
}

/** A request as the server hands it over: matched, authenticated, its body read. */
export interface Exchange {
  readonly context: RequestContext;
  readonly path: string;
  readonly rawParams: readonly string[];
  readonly rawQuery: Readonly<Record<string, unknown>>;
  readonly body: ReadBody | undefined;
  readonly requester: Requester | undefined;
  /** The server that signed the request. */
  readonly origin: ServerName | undefined;
}

export function defineEndpoint<
  const P extends string,
  const A extends Auth,
  Q extends TObject | undefined = undefined,
  B extends TSchema | typeof RAW_BODY | undefined = undefined,
>(declaration: EndpointDeclaration<P, A, Q, B>): Endpoint {
  const paths: readonly string[] = typeof declaration.path === 'string' ? [declaration.path] : declaration.path;
  const { method, auth, query: querySchema, body } = declaration;
  const bodySchema: TSchema | undefined = body === RAW_BODY ? undefined : body;
  const readParams = compileParams(paths);
  const readQuery = querySchema === undefined ? () => undefined : compileQuery(querySchema);
  type Request = Parameters<typeof declaration.handle>[0];
  return {
    method,
    paths,
    auth,
    guests: declaration.guests ?? auth === 'none',
    allowLocked: declaration.allowLocked ?? false,
    rateLimit: declaration.rateLimit,
    querySchema,
    bodySchema,
    spec: declaration.spec,
    onOutcome: declaration.onOutcome,
    readBody:
      body === RAW_BODY
        ? readRawBody
        : bodySchema && compileBody({ ...declaration, schema: bodySchema, isSigned: auth === 'server' }),
    run({ context, path, rawParams, rawQuery, body: read, ...asking }) {
      const params = readParams(path, rawParams);
      const query = readQuery(rawQuery);
      const requester = asking.origin ?? asking.requester;
      const { value: body, oddNumbers } = read ?? NO_BODY;
      // The one cast of the HTTP layer: the compiled checks above and the server's authentication have just established
      // what the declaration's types say, which the compiler cannot follow through the schemas.
      const request = new BoundRequest(context, { params, query, body, oddNumbers, requester }) as unknown as Request;
      const result = declaration.handle(request);
      return result instanceof Promise ? result.then(toAnswer) : toAnswer(result);
    },
  };
}

const NO_BODY = { value: undefined, oddNumbers: NO_ODD_NUMBERS } as const;

/** Every route that the endpoints answer, in the order of their paths. */
export function listRoutes(endpoints: readonly Endpoint[]): readonly { path: string; endpoint: Endpoint }[] {
  return endpoints
    .flatMap((endpoint) => endpoint.paths.map((path) => ({ path, endpoint })))
    .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

function toAnswer(result: Result): Answer {
  return result instanceof Answer ? result : answer(200, result);
}

interface ParsedRequest {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly oddNumbers: OddNumbers;
  readonly requester: Requester | ServerName | undefined;
}

/** The context's logger and signal are made on first use, so they are passed on as getters. */
class BoundRequest {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly oddNumbers: OddNumbers;
  readonly requester: Requester | ServerName | undefined;
  readonly #context: RequestContext;

  constructor(context: RequestContext, parsed: ParsedRequest) {
    this.#context = context;
    this.params = parsed.params;
    this.query = parsed.query;
    this.body = parsed.body;
    this.oddNumbers = parsed.oddNumbers;
    this.requester = parsed.requester;
  }
  get requestId(): string {
    return this.#context.requestId;
  }
  get ip(): string {
    return this.#context.ip;
  }
  get userAgent(): string {
    return this.#context.userAgent;
  }
  header(name: string): string | undefined {
    return this.#context.header(name);
  }
  get signal(): AbortSignal {
    return this.#context.signal;
  }
  get logger(): Logger {
    return this.#context.logger;
  }
}
