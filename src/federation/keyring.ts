/**
 * Signing keys of servers, and the checks made with them. Keys come from memory, the database or the network, each asked
 * once for a whole batch; a key counts for what was signed while it was valid, and for nothing else.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
 */
import { Lru } from '../lib/lru.ts';
import { requiredSigners } from '../protocol/event-signers.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { JsonObject, Pdu } from '../protocol/pdu.ts';
import { POLICY_KEY_ID } from '../protocol/policy-server.ts';
import { redactPdu } from '../protocol/redaction.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { signaturesBy, signedText } from '../protocol/signing.ts';
import type { Database } from '../storage/database.ts';
import { loadServerKeys, type ServerKey } from '../storage/server-keys.ts';
import { isKeyValidAt } from './key-document.ts';
import type { KeyFetcher, KeysWanted, WantedByServer } from './key-fetcher.ts';
import type { OwnKeys } from './own-keys.ts';
import type { SignatureCheck, VerifyPool } from './verify-pool.ts';

/** Something that a server is said to have signed. */
export interface SignedValue {
  readonly serverName: ServerName;
  /** By key id. */
  readonly signatures: readonly (readonly [string, string])[];
  /** What they cover; asked for when there is a key to check them with, and may throw where it has no canonical form. */
  readonly text: () => string;
  /** Unix milliseconds: when the key had to be valid. Undefined where it does not matter. */
  readonly validAt: number | undefined;
}

/** `no_key`: nobody could show a valid key of that id, which may pass. */
export type SignatureVerdict = 'valid' | 'invalid' | 'no_key';

export interface SignedPdu {
  readonly pdu: Pdu;
  readonly version: RoomVersion;
}

export interface Keyring {
  /** One verdict for each value, in their order. */
  verifyAll(values: readonly SignedValue[]): Promise<readonly SignatureVerdict[]>;
  /** Whether each event carries the signatures of all servers that have to sign it. */
  verifyEvents(events: readonly SignedPdu[]): Promise<readonly SignatureVerdict[]>;
  /** Brings keys here before they are needed, as far as asking their servers takes no longer than the budget. */
  prepare(wanted: WantedByServer, budgetMs: number): Promise<void>;
  /** Whether the object carries a signature of the server. */
  verifyObject(value: JsonObject, serverName: ServerName, validAt?: number): Promise<SignatureVerdict>;
}

export interface KeyringOptions {
  readonly database: Database;
  readonly ownKeys: OwnKeys;
  readonly fetcher: Pick<KeyFetcher, 'fetch'>;
  readonly pool: VerifyPool;
}

/** Servers whose keys are kept in memory: more than the largest rooms have, at some 300 bytes each. */
const MAX_CACHED_SERVERS = 20_000;
/** A server signs with one key, rarely with two; whoever sends more makes us look for keys that nobody has. */
const MAX_SIGNATURES = 4;

export function createKeyring({ database, ownKeys, fetcher, pool }: KeyringOptions): Keyring {
  const cache = new Lru<ServerName, readonly ServerKey[]>({ maxCost: MAX_CACHED_SERVERS });

  async function loadFromDatabase(serverNames: readonly ServerName[]): Promise<void> {
    if (serverNames.length === 0) return;
    const loaded = await loadServerKeys(database, serverNames);
    for (const [serverName, keys] of loaded) cache.set(serverName, keys);
  }

  /** Brings the keys that the values need into memory, as far as they can be had. */
  async function gather(values: readonly SignedValue[]): Promise<ReadonlyMap<ServerName, readonly ServerKey[]>> {
    const servers = new Set(values.map(({ serverName }) => serverName));
    await loadFromDatabase([...servers].filter((name) => name !== ownKeys.serverName && !cache.has(name)));
    const missing = findMissing(values, (name) => keysOf(name));
    missing.delete(ownKeys.serverName);
    if (missing.size > 0) {
      await fetcher.fetch(missing);
      await loadFromDatabase([...missing.keys()]);
    }
    return new Map([...servers].map((name) => [name, keysOf(name)]));
  }

  const keysOf = (serverName: ServerName): readonly ServerKey[] =>
    serverName === ownKeys.serverName ? ownKeys.keys : (cache.get(serverName) ?? []);

  async function verifyAll(values: readonly SignedValue[]): Promise<readonly SignatureVerdict[]> {
    const keys = await gather(values);
    const checks: (SignatureCheck & { readonly index: number })[] = [];
    for (const [index, value] of values.entries()) {
      for (const [key, signature] of matchKeys(value, keys.get(value.serverName) ?? [])) {
        checks.push({ index, text: value.text, signature, publicKey: key.publicKey });
      }
    }
    const verdicts = values.map((value): SignatureVerdict => (value.signatures.length === 0 ? 'invalid' : 'no_key'));
    const results = await pool.verifyAll(checks);
    for (const [at, { index }] of checks.entries()) {
      if (results[at] === true) verdicts[index] = 'valid';
      else if (verdicts[index] !== 'valid') verdicts[index] = 'invalid';
    }
    return verdicts;
  }

  return {
    verifyAll,
    async prepare(wanted, budgetMs) {
      const names = [...wanted.keys()].filter((name) => name !== ownKeys.serverName);
      await loadFromDatabase(names.filter((name) => !cache.has(name)));
      const isThere = (name: ServerName, { keyIds, validAt }: KeysWanted): boolean =>
        keyIds.every((id) => keysOf(name).some((key) => key.keyId === id && isKeyValidAt(key, validAt)));
      const missing = new Map(
        [...wanted].filter(([name, keys]) => name !== ownKeys.serverName && !isThere(name, keys)),
      );
      if (missing.size === 0) return;
      await fetcher.fetch(missing, budgetMs);
      await loadFromDatabase([...missing.keys()]);
    },
    async verifyEvents(events) {
      const needed = events.map(toSignedValues);
      const verdicts = await verifyAll(needed.flatMap((values) => values ?? []));
      let at = 0;
      return needed.map((values) => {
        if (values === undefined) return 'invalid';
        const own = verdicts.slice(at, at + values.length);
        at += values.length;
        return own.includes('invalid') ? 'invalid' : own.includes('no_key') ? 'no_key' : 'valid';
      });
    },
    async verifyObject(value, serverName, validAt) {
      const signatures = signaturesBy(value, serverName);
      const [verdict = 'invalid'] = await verifyAll([
        { serverName, signatures, text: () => signedText(value), validAt },
      ]);
      return verdict;
    },
  };
}

/** One for each server that has to sign the event; undefined where nobody can. */
function toSignedValues({ pdu, version }: SignedPdu): readonly SignedValue[] | undefined {
  let text: string | undefined;
  return requiredSigners(pdu, version)?.map((serverName) => ({
    serverName,
    // A policy server recommends with it, and speaks for no sender.
    signatures: signaturesBy(pdu, serverName).filter(([keyId]) => keyId !== POLICY_KEY_ID),
    text() {
      text ??= signedText(redactPdu(pdu, version));
      return text;
    },
    validAt: version.enforcesKeyValidity ? pdu.origin_server_ts : undefined,
  }));
}

function matchKeys(value: SignedValue, keys: readonly ServerKey[]): readonly (readonly [ServerKey, string])[] {
  return value.signatures.slice(0, MAX_SIGNATURES).flatMap(([keyId, signature]) => {
    const key = keys.find((known) => known.keyId === keyId);
    return key !== undefined && isKeyValidAt(key, value.validAt) ? [[key, signature] as const] : [];
  });
}

/** By server: the keys of values that no known key can check. */
function findMissing(
  values: readonly SignedValue[],
  keysOf: (serverName: ServerName) => readonly ServerKey[],
): Map<ServerName, KeysWanted> {
  const missing = new Map<ServerName, { readonly keyIds: Set<string>; validAt: number | undefined }>();
  for (const value of values) {
    const { serverName, validAt } = value;
    const keyIds = value.signatures.slice(0, MAX_SIGNATURES).map(([keyId]) => keyId);
    const usable = keyIds.filter((keyId) => keyId.startsWith('ed25519:'));
    if (usable.length === 0 || matchKeys(value, keysOf(serverName)).length > 0) continue;
    const wanted = missing.get(serverName) ?? { keyIds: new Set<string>(), validAt: undefined };
    for (const keyId of usable) wanted.keyIds.add(keyId);
    if (validAt !== undefined) wanted.validAt = Math.max(wanted.validAt ?? 0, validAt);
    missing.set(serverName, wanted);
  }
  return new Map([...missing].map(([name, { keyIds, validAt }]) => [name, { keyIds: [...keyIds], validAt }]));
}
