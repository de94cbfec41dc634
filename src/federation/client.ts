/**
 * Requests to other servers: found by their name, signed with our key, and answered with bytes, JSON, or a
 * `FederationError` that says whether asking again makes sense. All outbound federation goes through here.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#api-standards
 */
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { signRequest } from '../protocol/request-signing.ts';
import type { SigningKey } from '../protocol/signing.ts';
import { parseJson } from '../protocol/strict-json.ts';
import type { TransportAnswer } from './collect-answer.ts';
import { FederationError, isFinal } from './federation-error.ts';
import type { Resolver } from './resolver.ts';
import type { ServerPolicy } from './server-policy.ts';
import type { OpenedAnswer, Transport, TransportRequest } from './transport.ts';

export interface FederationRequest {
  readonly destination: ServerName;
  readonly method: 'GET' | 'PUT' | 'POST';
  /** Encoded, with its query: made by `federationPath`. */
  readonly path: string;
  readonly body?: JsonObject | undefined;
  /** The same as canonical JSON, where it was written already. */
  readonly content?: string | undefined;
  /** For the whole exchange, finding the server excluded. */
  readonly deadlineMs?: number | undefined;
  /** Of the answer, after decompression. */
  readonly maxBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Keys are asked for without a signature: whoever checked it would have to ask us for ours. */
  readonly unsigned?: boolean | undefined;
}

export interface FederationClient {
  /** The body of a 2xx answer; everything else is thrown as a `FederationError`. */
  fetchBytes(request: FederationRequest): Promise<Buffer>;
  /** The same, for answers that are a JSON object. */
  fetchJson(request: FederationRequest): Promise<JsonObject>;
  /** A 2xx answer whose body is read as it comes; whoever opens disposes. */
  open(request: FederationRequest): Promise<OpenedAnswer>;
}

export interface FederationClientOptions {
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly policy: ServerPolicy;
  readonly resolver: Resolver;
  readonly transport: Pick<Transport, 'send' | 'open'>;
}

const DEFAULT_DEADLINE_MS = 30_000;
/** More than any answer has but those to a join and the like, which say so. */
const DEFAULT_MAX_BYTES = 100 * 1024 * 1024;
/** Nobody who asks for a longer pause is believed. */
const MAX_RETRY_AFTER_MS = 60 * 60_000;

export function createFederationClient(options: FederationClientOptions): FederationClient {
  async function fetchBytes(request: FederationRequest): Promise<Buffer> {
    const { destination } = request;
    if (!options.policy.admits(destination)) throw isFinal('denied', 'this server is not talked with');
    const answer = await reach(options, request, (exchange) => options.transport.send(exchange));
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    throw toError(answer);
  }
  return {
    fetchBytes,
    async fetchJson(request) {
      const value = readJson(await fetchBytes(request));
      if (!isJsonObject(value)) throw isFinal('malformed', 'the answer is no JSON object');
      return value;
    },
    async open(request) {
      if (!options.policy.admits(request.destination)) throw isFinal('denied', 'this server is not talked with');
      const answer = await reach(options, request, (exchange) => options.transport.open(exchange));
      if (answer.status >= 200 && answer.status < 300) return answer;
      using refused = answer;
      throw toError({ ...refused, body: await readStart(refused.chunks) });
    },
  };
}

/** Error answers are small; of a page that a proxy made up its beginning does. */
const MAX_ERROR_BYTES = 64 * 1024;
/** Sentences for people. */
const MAX_ERROR_TEXT = 500;

async function readStart(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const read: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    read.push(chunk);
    size += chunk.length;
    if (size >= MAX_ERROR_BYTES) break;
  }
  return Buffer.concat(read);
}

/** A path whose variable parts are percent-encoded: `federationPath\`/_matrix/federation/v1/event/${eventId}\``. */
export function federationPath(strings: TemplateStringsArray, ...values: readonly (string | number)[]): string {
  return strings.reduce((path, part, index) => `${path}${encodeURIComponent(values[index - 1] ?? '')}${part}`);
}

async function reach<T>(
  options: FederationClientOptions,
  request: FederationRequest,
  exchange: (exchange: TransportRequest) => Promise<T>,
): Promise<T> {
  const { destination, method, path, signal } = request;
  const content = request.content ?? (request.body === undefined ? undefined : encodeCanonicalJson(request.body));
  const signed = { method, uri: path, origin: options.serverName, destination, content };
  const headers = request.unsigned === true ? {} : { authorization: signRequest(signed, options.signingKey) };
  const { deadlineMs = DEFAULT_DEADLINE_MS, maxBytes = DEFAULT_MAX_BYTES } = request;
  let failure: unknown;
  for (const target of await options.resolver.resolve(destination)) {
    try {
      return await exchange({ target, method, path, headers, body: content, deadlineMs, maxBytes, signal });
    } catch (cause) {
      // The next of several targets stands in for one that can't be reached, and for nothing else.
      if (!(cause instanceof FederationError) || !UNREACHED.has(cause.reason)) throw cause;
      failure = cause;
    }
  }
  throw failure;
}

const UNREACHED: ReadonlySet<string> = new Set(['unresolved', 'unreachable', 'untrusted', 'denied']);

function toError({ status, headers, body }: Pick<TransportAnswer, 'status' | 'headers' | 'body'>): FederationError {
  const error = readError(body);
  const errcode = typeof error['errcode'] === 'string' ? error['errcode'] : undefined;
  const message = `the server answered ${status}${errcode === undefined ? '' : ` ${errcode}`}`;
  const isRetry = status === 429 || status === 408 || status >= 500;
  const after = retryAfter(headers['retry-after'], error['retry_after_ms']);
  return new FederationError('answered', message, {
    outcome: isRetry ? { kind: 'retry', after } : { kind: 'fail' },
    status,
    errcode,
    errorText: typeof error['error'] === 'string' ? error['error'].slice(0, MAX_ERROR_TEXT) : undefined,
    roomVersion: typeof error['room_version'] === 'string' ? error['room_version'] : undefined,
  });
}

function readError(body: Buffer): JsonObject {
  try {
    const value = readJson(body);
    return isJsonObject(value) ? value : {};
  } catch {
    // A proxy's page, most of the time: the status says enough.
    return {};
  }
}

function readJson(body: Buffer): JsonValue {
  try {
    return parseJson(body);
  } catch (cause) {
    if (!(cause instanceof MatrixError)) throw cause;
    throw isFinal('malformed', 'the answer is no JSON', cause);
  }
}

function retryAfter(header: string | undefined, field: JsonValue | undefined): number | undefined {
  const fromHeader = header !== undefined && /^\d{1,9}$/.test(header) ? Number(header) * 1000 : undefined;
  const asked = fromHeader ?? (typeof field === 'number' && field > 0 ? field : undefined);
  return asked === undefined ? undefined : Math.min(asked, MAX_RETRY_AFTER_MS);
}
