/**
 * Fetches what users point at, on a short lead: only http and https, only allowed ports and addresses on every hop, with
 * bounds on redirects, bytes after decompression, and time. No cookie, no credential, nothing of the user goes out.
 */
import { PassThrough, type Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { Agent, type Dispatcher } from 'undici';
import type { Clock } from '../lib/clock.ts';
import type { GlobMatcher } from '../lib/glob.ts';
import { admitsHost, type NetworkPolicy, type ResolveName } from '../lib/network-policy.ts';
import { createOutboundConnector, type ProxySettings } from '../lib/outbound-connector.ts';
import { essenceOf } from './content-type.ts';

export interface PageClientOptions {
  readonly clock: Clock;
  readonly policy: NetworkPolicy;
  /** Empty for any. */
  readonly ports: readonly number[];
  readonly isBlockedHost: GlobMatcher;
  readonly userAgent: string;
  readonly resolve?: ResolveName | undefined;
  readonly proxy?: ProxySettings | undefined;
}

export interface PageRequest {
  readonly accept: string;
  /** Asked before the body is read; undefined leaves it. */
  readonly maxBytes: (essence: string) => number | undefined;
}

export interface FetchedPage {
  /** Where it was found in the end. */
  readonly url: URL;
  readonly contentType: string;
  readonly body: Buffer;
  /** Whether there was more than the bound. */
  readonly isCut: boolean;
}

export interface PageClient extends AsyncDisposable {
  /** Undefined where the content is of no type that was asked for. Throws a FetchError for whatever else goes wrong. */
  fetch(url: URL, request: PageRequest): Promise<FetchedPage | undefined>;
}

/** The page could not be had; users are not told why, or they would learn about the network around this server. */
export class FetchError extends Error {}

const MAX_REDIRECTS = 5;
/** For everything, redirects included. */
const DEADLINE_MS = 15_000;
const CONNECT_TIMEOUT_MS = 5_000;
const MAX_HEADER_BYTES = 32 * 1024;
/** Idle connections to strangers are worth little. */
const KEEP_ALIVE_MS = 1_000;

export function createPageClient(options: PageClientOptions): PageClient {
  const { clock, policy } = options;
  const agent = new Agent({
    connect: createOutboundConnector({
      policy,
      proxy: options.proxy,
      resolveName: options.resolve,
      timeoutMs: CONNECT_TIMEOUT_MS,
    }),
    headersTimeout: DEADLINE_MS,
    bodyTimeout: DEADLINE_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  });
  return {
    async fetch(url, request) {
      const controller = new AbortController();
      using _deadline = clock.after(DEADLINE_MS, () => controller.abort(new FetchError('took too long')));
      try {
        return await follow({ ...options, agent, signal: controller.signal }, url, request);
      } catch (cause) {
        throw cause instanceof FetchError ? cause : new FetchError('the page could not be fetched', { cause });
      } finally {
        controller.abort();
      }
    },
    [Symbol.asyncDispose]: () => agent.destroy(),
  };
}

interface Fetching extends PageClientOptions {
  readonly agent: Agent;
  readonly signal: AbortSignal;
}

async function follow(fetching: Fetching, first: URL, request: PageRequest): Promise<FetchedPage | undefined> {
  let url = first;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    checkTarget(fetching, url);
    const response = await ask(fetching, url, request.accept);
    const location = header(response, 'location');
    if (response.statusCode >= 300 && response.statusCode < 400 && location !== undefined) {
      response.body.on('error', ignore).destroy();
      if (!URL.canParse(location, url)) throw new FetchError('a redirect to nowhere');
      url = new URL(location, url);
      continue;
    }
    return read(response, url, request);
  }
  throw new FetchError('too many redirects');
}

function checkTarget({ policy, ports, isBlockedHost }: Fetching, url: URL): void {
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new FetchError('not a web address');
  if (url.username !== '' || url.password !== '') throw new FetchError('an address with credentials');
  if (ports.length > 0 && !ports.includes(port)) throw new FetchError('a port that is not allowed');
  if (isBlockedHost(url.hostname) || !admitsHost(policy, url.hostname))
    throw new FetchError('a host that is not allowed');
}

function ask({ agent, signal, userAgent }: Fetching, url: URL, accept: string): Promise<Dispatcher.ResponseData> {
  return agent.request({
    origin: url.origin,
    path: url.pathname + url.search,
    method: 'GET',
    headers: { 'user-agent': userAgent, accept, 'accept-encoding': 'identity' },
    signal,
  });
}

async function read(
  response: Dispatcher.ResponseData,
  url: URL,
  { maxBytes }: PageRequest,
): Promise<FetchedPage | undefined> {
  response.body.on('error', ignore);
  if (response.statusCode !== 200) throw new FetchError(`status ${response.statusCode}`);
  const contentType = header(response, 'content-type') ?? '';
  const limit = maxBytes(essenceOf(contentType));
  if (limit === undefined) return undefined;
  const { body, isCut } = await readUpTo(decode(response.body, header(response, 'content-encoding')), limit);
  return { url, contentType, body, isCut };
}

async function readUpTo(source: Readable, limit: number): Promise<{ body: Buffer; isCut: boolean }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of source) {
    // Streams of bytes give buffers.
    const bytes: Buffer = chunk;
    chunks.push(bytes);
    size += bytes.length;
    if (size > limit) break;
  }
  return { body: Buffer.concat(chunks).subarray(0, limit), isCut: size > limit };
}

/** Some compress unasked. */
function decode(body: Readable, encoding: string | undefined): Readable {
  const decoder = createDecoder(encoding?.trim().toLowerCase());
  if (decoder === undefined) return body;
  body.on('error', (cause) => decoder.destroy(cause));
  decoder.on('close', () => body.destroy());
  return body.pipe(decoder);
}

function createDecoder(encoding: string | undefined) {
  if (encoding === 'gzip' || encoding === 'x-gzip') return createGunzip();
  if (encoding === 'deflate') return createInflate();
  if (encoding === 'br') return createBrotliDecompress();
  if (encoding === undefined || encoding === '' || encoding === 'identity') return undefined;
  return new PassThrough().destroy(new FetchError('an encoding that nobody asked for'));
}

function header({ headers }: Dispatcher.ResponseData, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** What breaks after we have left is of no interest. */
const ignore = (): void => undefined;
