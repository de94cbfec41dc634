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
import { isKeyValidAt, parseKeyDocument } from './key-document.ts';

export interface KeysWanted {
  readonly keyIds: readonly string[];
  /** Unix milliseconds: when they have to be valid. */
  readonly validAt: number | undefined;
}

export type WantedByServer = ReadonlyMap<ServerName, KeysWanted>;

export interface KeyFetcher {
  /**
   * Returns when all that can be had is stored. With a budget no server is asked any more when that is used up: those that
   * were not are left alone for a while like those that were.
   */
  fetch(wanted: WantedByServer, budgetMs?: number): Promise<void>;
  /** Asks the servers themselves only. */
  fetchFromOwners(serverNames: readonly ServerName[]): Promise<void>;
}

/** Where keys are kept; whoever waits for a fetch finds them there. */
export interface KeyStore {
  save(fetched: readonly FetchedKeys[], origin: { readonly areFromOwners: boolean }): Promise<void>;
  load(serverName: ServerName): Promise<readonly ServerKey[]>;
}

export interface KeyFetcherOptions {
  readonly client: Pick<FederationClient, 'fetchJson'>;
  readonly store: KeyStore;
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
  const { clock, store, trustedServers } = options;
  const askedAt = new Lru<ServerName, number>({ maxCost: MAX_REMEMBERED });
  const running = new Map<ServerName, Promise<FetchedKeys | undefined>>();
  const turnstile = createTurnstile({ maxRunning: MAX_RUNNING, maxWaiting: MAX_WAITING });

  const isPaused = (serverName: ServerName): boolean => {
    const last = askedAt.get(serverName);
    return last !== undefined && clock.monotonic() - last < PAUSE_MS;
  };

  async function askOwner(serverName: ServerName): Promise<FetchedKeys | undefined> {
    if (isPaused(serverName)) return undefined;
    const document = await turnstile.run(() => {
      askedAt.set(serverName, clock.monotonic());
      return ask(options, {
        destination: serverName,
        method: 'GET',
        path: '/_matrix/key/v2/server',
        maxBytes: MAX_DOCUMENT_BYTES,
      });
    });
    const keys = document && parseKeyDocument(document, { serverName, now: clock.now() });
    // Stored before anybody goes on: who comes later asks nobody, and looks there.
    if (keys !== undefined) await store.save([keys], { areFromOwners: true });
    return keys;
  }

  const fetchOwner = (serverName: ServerName): Promise<FetchedKeys | undefined> => {
    const known = running.get(serverName);
    if (known !== undefined) return known;
    const fetching = askOwner(serverName).finally(() => running.delete(serverName));
    running.set(serverName, fetching);
    return fetching;
  };

  async function fetchOwners(
    serverNames: readonly ServerName[],
    budgetMs = Number.POSITIVE_INFINITY,
  ): Promise<readonly FetchedKeys[]> {
    const found: FetchedKeys[] = [];
    const since = clock.monotonic();
    await forEachLimited(serverNames, CONCURRENCY, async (serverName) => {
      if (clock.monotonic() - since >= budgetMs) {
        askedAt.set(serverName, clock.monotonic());
        return;
      }
      const keys = await fetchOwner(serverName);
      if (keys !== undefined) found.push(keys);
    });
    return found;
  }

  /** Returns what no notary could show. */
  async function fetchFromNotaries(wanted: WantedByServer): Promise<WantedByServer> {
    let missing = wanted;
    for (const notary of trustedServers.filter((name) => !wanted.has(name))) {
      if (missing.size === 0) break;
      const keys = await loadNotaryKeys(notary);
      const fetched = keys.length === 0 ? [] : await askNotary(options, { notary, keys }, missing);
      if (fetched.length > 0) await store.save(fetched, { areFromOwners: false });
      missing = without(missing, fetched);
    }
    return missing;
  }

  /** A notary's own keys are asked of itself only. */
  async function loadNotaryKeys(notary: ServerName): Promise<readonly ServerKey[]> {
    const load = async (): Promise<readonly ServerKey[]> =>
      (await store.load(notary)).filter((key) => isKeyValidAt(key, clock.now()));
    const known = await load();
    if (known.length > 0) return known;
    await fetchOwner(notary);
    return load();
  }

  return {
    async fetchFromOwners(serverNames) {
      await fetchOwners(serverNames);
    },
    async fetch(wanted, budgetMs) {
      const isBulk = wanted.size > MANY_SERVERS;
      // The same dead servers are wanted with each part of a large room; notaries need not hear of them each time.
      const due = isBulk ? new Map([...wanted].filter(([name]) => !isPaused(name) || running.has(name))) : wanted;
      const missing = isBulk ? await fetchFromNotaries(due) : due;
      const found = await fetchOwners([...missing.keys()], budgetMs);
      if (!isBulk) await fetchFromNotaries(without(missing, found));
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
