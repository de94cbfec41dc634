/**
 * Gets signing keys from the network: from their own servers, and where those can't be asked from notaries that the
 * configuration trusts. For many servers at once the notaries come first, since of a large room's servers many are dead.
 *
 * Invariants: one fetch at a time per server; a server that was asked is left alone for a while, whatever came of it, so
 * that nobody can make us ask it over and over; what a notary says counts only with its signature and the server's own.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
 */
import type { Clock } from '../lib/clock.ts';
import { forEachLimited } from '../lib/limited-concurrency.ts';
import type { Logger } from '../lib/logger.ts';
import { Lru } from '../lib/lru.ts';
import { createTurnstile } from '../lib/turnstile.ts';
import { parseServerName, type ServerName } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { verifyJson } from '../protocol/signing.ts';
import type { FetchedKeys, ServerKey } from '../storage/server-keys.ts';
import type { FederationClient } from './client.ts';
import { FederationError } from './federation-error.ts';
import { parseKeyDocument } from './key-document.ts';

export interface KeysWanted {
  readonly keyIds: readonly string[];
  /** Unix milliseconds: when they have to be valid. */
  readonly validAt: number | undefined;
}

export type WantedByServer = ReadonlyMap<ServerName, KeysWanted>;

export interface KeyFetcher {
  /** Hands over what was found, each server's keys once, and returns when all that can be had was. */
  fetch(wanted: WantedByServer, found: (keys: FoundKeys) => Promise<void>): Promise<void>;
  /** Asks the servers themselves only. */
  fetchFromOwners(serverNames: readonly ServerName[], found: (keys: FoundKeys) => Promise<void>): Promise<void>;
}

export interface FoundKeys {
  readonly fetched: readonly FetchedKeys[];
  /** Whether their own servers said so. */
  readonly areFromOwners: boolean;
}

export interface KeyFetcherOptions {
  readonly client: Pick<FederationClient, 'fetchJson'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly trustedServers: readonly ServerName[];
}

const DEADLINE_MS = 10_000;
/** A document has a few keys; a notary's answer one document for each server. */
const MAX_DOCUMENT_BYTES = 64 * 1024;
const MAX_NOTARY_BYTES = 16 * 1024 * 1024;
const SERVERS_PER_NOTARY_REQUEST = 100;
/** Servers asked at the same time. */
const CONCURRENCY = 20;
/** With more servers than this the notaries are asked first. */
const MANY_SERVERS = 8;
/** How long a server that was asked is left alone. */
const PAUSE_MS = 60_000;
/** For everybody together: whoever names a new server with each request must not make us ask them all at once. */
const MAX_RUNNING = 64;
const MAX_WAITING = 2_000;
const MAX_REMEMBERED = 20_000;

export function createKeyFetcher(options: KeyFetcherOptions): KeyFetcher {
  const { clock, trustedServers } = options;
  const askedAt = new Lru<ServerName, number>({ maxCost: MAX_REMEMBERED });
  const running = new Map<ServerName, Promise<FetchedKeys | undefined>>();

  const turnstile = createTurnstile({ maxRunning: MAX_RUNNING, maxWaiting: MAX_WAITING });

  async function askOwner(serverName: ServerName): Promise<FetchedKeys | undefined> {
    const last = askedAt.get(serverName);
    if (last !== undefined && clock.monotonic() - last < PAUSE_MS) return undefined;
    const document = await turnstile.run(() => {
      askedAt.set(serverName, clock.monotonic());
      return ask(options, {
        destination: serverName,
        method: 'GET',
        path: '/_matrix/key/v2/server',
        maxBytes: MAX_DOCUMENT_BYTES,
      });
    });
    return document === undefined ? undefined : parseKeyDocument(document, { serverName, now: clock.now() });
  }

  const fetchOwner = (serverName: ServerName): Promise<FetchedKeys | undefined> => {
    const known = running.get(serverName);
    if (known !== undefined) return known;
    const fetching = askOwner(serverName).finally(() => running.delete(serverName));
    running.set(serverName, fetching);
    return fetching;
  };

  const fetchFromOwners: KeyFetcher['fetchFromOwners'] = (serverNames, found) =>
    forEachLimited(serverNames, CONCURRENCY, async (serverName) => {
      const keys = await fetchOwner(serverName);
      if (keys !== undefined) await found({ fetched: [keys], areFromOwners: true });
    });

  async function fetchFromNotaries(wanted: WantedByServer, found: (keys: FoundKeys) => Promise<void>): Promise<void> {
    let missing = wanted;
    for (const notary of trustedServers.filter((name) => !wanted.has(name))) {
      if (missing.size === 0) return;
      const owner = await fetchNotaryKeys(notary);
      const fetched = owner.length === 0 ? [] : await askNotary(options, { notary, keys: owner }, missing);
      if (fetched.length > 0) await found({ fetched, areFromOwners: false });
      missing = without(missing, fetched);
    }
  }

  /** A notary's own keys are asked of itself only, and kept while it is left alone. */
  const notaryKeys = new Map<ServerName, readonly ServerKey[]>();
  async function fetchNotaryKeys(notary: ServerName): Promise<readonly ServerKey[]> {
    const now = clock.now();
    const known = notaryKeys
      .get(notary)
      ?.filter(({ validUntil, expiredAt }) => expiredAt === undefined && validUntil > now);
    if (known !== undefined && known.length > 0) return known;
    const keys = (await fetchOwner(notary))?.keys ?? [];
    notaryKeys.set(notary, keys);
    return keys;
  }

  return {
    fetchFromOwners,
    async fetch(wanted, found) {
      let missing = wanted;
      const note = async (keys: FoundKeys): Promise<void> => {
        missing = without(missing, keys.fetched);
        await found(keys);
      };
      const isBulk = wanted.size > MANY_SERVERS;
      if (isBulk) await fetchFromNotaries(wanted, note);
      await fetchFromOwners([...missing.keys()], note);
      if (!isBulk) await fetchFromNotaries(missing, note);
    },
  };
}

/** What is still wanted: a server counts as found when all its wanted keys were. */
function without(wanted: WantedByServer, fetched: readonly FetchedKeys[]): WantedByServer {
  const found = new Map(fetched.map(({ serverName, keys }) => [serverName, new Set(keys.map(({ keyId }) => keyId))]));
  return new Map(
    [...wanted].filter(
      ([serverName, { keyIds }]) => !keyIds.every((keyId) => found.get(serverName)?.has(keyId) === true),
    ),
  );
}

type Asking = Pick<KeyFetcherOptions, 'client' | 'logger'>;

/** Undefined where there is no answer: dead servers are everyday life. */
async function ask(
  { client, logger }: Asking,
  request: Omit<Parameters<FederationClient['fetchJson']>[0], 'deadlineMs' | 'unsigned'>,
): Promise<JsonObject | undefined> {
  try {
    return await client.fetchJson({ ...request, deadlineMs: DEADLINE_MS, unsigned: true });
  } catch (cause) {
    if (!(cause instanceof FederationError)) throw cause;
    const { reason, status } = cause;
    logger.debug({ server: request.destination, reason, status }, 'could not fetch signing keys');
    return undefined;
  }
}

interface Notary {
  readonly notary: ServerName;
  readonly keys: readonly ServerKey[];
}

async function askNotary(
  options: KeyFetcherOptions,
  notary: Notary,
  wanted: WantedByServer,
): Promise<readonly FetchedKeys[]> {
  const found: FetchedKeys[] = [];
  const all = [...wanted];
  for (let start = 0; start < all.length; start += SERVERS_PER_NOTARY_REQUEST) {
    const part = new Map(all.slice(start, start + SERVERS_PER_NOTARY_REQUEST));
    const answer = await ask(options, {
      destination: notary.notary,
      method: 'POST',
      path: '/_matrix/key/v2/query',
      body: { server_keys: Object.fromEntries([...part].map(([name, keys]) => [name, toCriteria(keys)])) },
      maxBytes: MAX_NOTARY_BYTES,
    });
    // A notary that fails once will not do better with the next hundred.
    if (answer === undefined) break;
    found.push(...readNotaryAnswer(answer, { notary, wanted: part, now: options.clock.now() }));
  }
  return found;
}

function toCriteria({ keyIds, validAt }: KeysWanted): JsonObject {
  const criteria = validAt === undefined ? {} : { minimum_valid_until_ts: validAt };
  return Object.fromEntries(keyIds.map((keyId) => [keyId, criteria]));
}

interface NotaryReading {
  readonly notary: Notary;
  readonly wanted: WantedByServer;
  readonly now: number;
}

function readNotaryAnswer(answer: JsonObject, { notary, wanted, now }: NotaryReading): readonly FetchedKeys[] {
  const documents = answer['server_keys'];
  if (!isJsonArray(documents)) return [];
  return documents.flatMap((document) => {
    const serverName = nameIn(document);
    if (serverName === undefined || !wanted.has(serverName) || !isSignedBy(document, notary)) return [];
    const keys = parseKeyDocument(document, { serverName, now });
    return keys === undefined ? [] : [keys];
  });
}

function nameIn(document: JsonValue): ServerName | undefined {
  const name = isJsonObject(document) ? document['server_name'] : undefined;
  return typeof name === 'string' ? parseServerName(name) : undefined;
}

function isSignedBy(document: JsonValue, { notary: serverName, keys }: Notary): boolean {
  return (
    isJsonObject(document) &&
    keys.some(({ keyId, publicKey }) => verifyJson(document, { serverName, keyId, publicKey }))
  );
}
