/**
 * `/.well-known/matrix/server`: to which name a host delegates its federation. Asked of strangers, so bounded in size,
 * time and redirects; answers are kept as long as they say, within bounds, and failures too.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
 */
import type { Clock } from '../lib/clock.ts';
import { Lru } from '../lib/lru.ts';
import { parseServerName, type ServerName } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import { parseJson } from '../protocol/strict-json.ts';
import type { TransportAnswer } from './collect-answer.ts';
import { FederationError } from './federation-error.ts';
import type { Transport } from './transport.ts';

export interface WellKnown {
  /** The name that the host delegates to; undefined where it delegates to none. Never throws. */
  load(hostname: string): Promise<ServerName | undefined>;
}

export interface WellKnownOptions {
  readonly transport: Pick<Transport, 'send'>;
  readonly clock: Clock;
}

const MAX_BYTES = 50 * 1024;
const MAX_REDIRECTS = 5;
/** For one host, redirects included. */
const DEADLINE_MS = 10_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** The spec's bounds on how long an answer is kept, and its default. */
const DEFAULT_CACHE_MS = 24 * HOUR_MS;
const MIN_CACHE_MS = 5 * MINUTE_MS;
const MAX_CACHE_MS = 48 * HOUR_MS;
/** For hosts without a valid answer. */
const FAILURE_CACHE_MS = HOUR_MS;
/** For hosts that had one and can't be asked now: meanwhile the old one counts. */
const OUTAGE_CACHE_MS = 2 * MINUTE_MS;
/** Some 200 bytes each. */
const MAX_CACHED = 20_000;
const MAX_JSON_DEPTH = 16;

interface Cached {
  readonly delegated: ServerName | undefined;
  readonly until: number;
  /** When the answer itself was had: beyond the longest cache time it does not outlive an outage. */
  readonly fetchedAt: number;
}

export function createWellKnown({ transport, clock }: WellKnownOptions): WellKnown {
  const cache = new Lru<string, Cached>({ maxCost: MAX_CACHED });
  const running = new Map<string, Promise<Cached>>();

  const refresh = async (hostname: string): Promise<Cached> => {
    const known = cache.peek(hostname);
    const found = await ask(transport, clock, hostname);
    const now = clock.monotonic();
    const isOutage = found === undefined && known?.delegated !== undefined && now - known.fetchedAt < MAX_CACHE_MS;
    const cached: Cached = isOutage
      ? { ...known, until: now + OUTAGE_CACHE_MS }
      : { delegated: found?.delegated, until: now + (found?.cacheMs ?? FAILURE_CACHE_MS), fetchedAt: now };
    cache.set(hostname, cached);
    return cached;
  };

  return {
    async load(hostname) {
      const known = cache.get(hostname);
      if (known !== undefined && known.until > clock.monotonic()) return known.delegated;
      let refreshing = running.get(hostname);
      if (refreshing === undefined) {
        refreshing = refresh(hostname).finally(() => running.delete(hostname));
        running.set(hostname, refreshing);
      }
      return (await refreshing).delegated;
    },
  };
}

interface Found {
  readonly delegated: ServerName | undefined;
  readonly cacheMs: number;
}

/** Undefined where the host could not be asked; an answer that says nothing usable is one all the same. */
async function ask(transport: Pick<Transport, 'send'>, clock: Clock, hostname: string): Promise<Found | undefined> {
  const deadline = clock.monotonic() + DEADLINE_MS;
  // Names of digits alone may be too large to be an address, and are no host of any URL then.
  const first = URL.parse(`https://${hostname}/.well-known/matrix/server`);
  if (first === null) return NOTHING;
  let url = first;
  try {
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const answer = await transport.send({
        target: { host: unbracketed(url.hostname), port: Number(url.port || 443), hostHeader: url.host },
        method: 'GET',
        path: url.pathname + url.search,
        deadlineMs: Math.max(0, deadline - clock.monotonic()),
        maxBytes: MAX_BYTES,
      });
      const next = readRedirect(answer, url);
      if (next === undefined) return read(answer, clock);
      if (next.protocol !== 'https:' || next.username !== '' || next.password !== '') return NOTHING;
      url = next;
    }
    return NOTHING;
  } catch (cause) {
    if (!(cause instanceof FederationError)) throw cause;
    return cause.outcome.kind === 'fail' ? NOTHING : undefined;
  }
}

const NOTHING: Found = { delegated: undefined, cacheMs: FAILURE_CACHE_MS };

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

function readRedirect({ status, headers }: TransportAnswer, from: URL): URL | undefined {
  const { location } = headers;
  if (!REDIRECTS.has(status) || location === undefined) return undefined;
  return URL.parse(location, from) ?? undefined;
}

function read(answer: TransportAnswer, clock: Clock): Found | undefined {
  if (answer.status >= 500) return undefined;
  const delegated = answer.status === 200 ? parseWellKnown(answer.body) : undefined;
  return delegated === undefined ? NOTHING : { delegated, cacheMs: cacheTime(answer.headers, clock) };
}

/** What the document delegates to; undefined where it is none, or names no server. */
export function parseWellKnown(body: Uint8Array): ServerName | undefined {
  const document = parseSafely(body);
  const name = isJsonObject(document) ? document['m.server'] : undefined;
  return typeof name === 'string' ? parseServerName(name) : undefined;
}

function parseSafely(body: Uint8Array): JsonValue | undefined {
  try {
    return parseJson(body, MAX_JSON_DEPTH);
  } catch {
    // Whatever it is, it delegates nothing.
    return undefined;
  }
}

function cacheTime(headers: TransportAnswer['headers'], clock: Clock): number {
  const asked = maxAge(headers['cache-control']) ?? expiry(headers['expires'], clock) ?? DEFAULT_CACHE_MS;
  return Math.min(MAX_CACHE_MS, Math.max(MIN_CACHE_MS, asked));
}

function maxAge(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/\bno-(?:store|cache)\b/i.test(header)) return 0;
  const seconds = /\bmax-age\s*=\s*"?(\d{1,9})/i.exec(header)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

function expiry(header: string | undefined, clock: Clock): number | undefined {
  const at = header === undefined ? Number.NaN : Date.parse(header);
  return Number.isNaN(at) ? undefined : at - clock.now();
}

function unbracketed(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}
