/**
 * What servers publish about their signing keys: read, bounded, and checked to be signed by one of those keys. A document
 * counts for seven days at most, whatever it says of itself, so that a stolen key can be taken back.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
 */
import type { ServerName } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { decodeBase64, encodeBase64, verifyJson } from '../protocol/signing.ts';
import type { FetchedKeys, ServerKey } from '../storage/server-keys.ts';
import { isLeakedKey } from './leaked-keys.ts';

/** The spec's bound on validity. */
const MAX_VALIDITY_MS = 7 * 24 * 60 * 60 * 1000;
/** More keys than any server ever had; each is a row. */
const MAX_KEYS = 100;
const KEY_ID = /^ed25519:[A-Za-z0-9_]{1,128}$/;
/** A policy server's key signs nothing but its opinions. */
const POLICY_KEY_ID = 'ed25519:policy_server';
const PUBLIC_KEY_BYTES = 32;

export interface ReadingKeys {
  /** Whose document it has to be; any server's where it is not given. */
  readonly serverName: ServerName;
  readonly now: number;
}

/** The keys of a document; undefined where it is malformed, another server's, or not signed by one of its own keys. */
export function parseKeyDocument(document: JsonValue, { serverName, now }: ReadingKeys): FetchedKeys | undefined {
  if (!isJsonObject(document) || document['server_name'] !== serverName) return undefined;
  const claimed = readTime(document['valid_until_ts']);
  if (claimed === undefined) return undefined;
  const validUntil = Math.min(claimed, now + MAX_VALIDITY_MS);
  const current = readKeys(document['verify_keys'], () => ({ validUntil, expiredAt: undefined }));
  const isSigned = current.some(({ keyId, publicKey }) => verifyJson(document, { serverName, keyId, publicKey }));
  if (!isSigned) return undefined;
  const old = readKeys(document['old_verify_keys'], (key) => {
    const expiredAt = readTime(key['expired_ts']);
    return expiredAt === undefined ? undefined : { validUntil: expiredAt, expiredAt };
  });
  const currentIds = new Set(current.map(({ keyId }) => keyId));
  return {
    serverName,
    keys: [...current, ...old.filter(({ keyId }) => !currentIds.has(keyId))].slice(0, MAX_KEYS),
    document: { text: JSON.stringify(document), fetchedAt: now, validUntil },
  };
}

/** Whether a key may have signed something at this time; undefined stands for room versions that do not ask. */
export function isKeyValidAt({ validUntil, expiredAt }: ServerKey, at: number | undefined): boolean {
  if (at === undefined) return true;
  return expiredAt === undefined ? at <= validUntil : at < expiredAt;
}

type Validity = Pick<ServerKey, 'validUntil' | 'expiredAt'>;

function readKeys(
  keys: JsonValue | undefined,
  validityOf: (key: JsonObject) => Validity | undefined,
): readonly ServerKey[] {
  if (!isJsonObject(keys)) return [];
  return Object.entries(keys)
    .slice(0, MAX_KEYS)
    .flatMap(([keyId, key]) => {
      if (!KEY_ID.test(keyId) || keyId === POLICY_KEY_ID || !isJsonObject(key)) return [];
      const publicKey = readPublicKey(key['key']);
      const validity = validityOf(key);
      return publicKey === undefined || validity === undefined ? [] : [{ keyId, publicKey, ...validity }];
    });
}

/** In the one spelling that keys are compared in. */
function readPublicKey(value: JsonValue | undefined): string | undefined {
  const bytes = typeof value === 'string' ? decodeBase64(value) : undefined;
  if (bytes?.length !== PUBLIC_KEY_BYTES || isLeakedKey(bytes)) return undefined;
  return encodeBase64(bytes);
}

function readTime(value: JsonValue | undefined): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
