/**
 * Ed25519 signatures of JSON and of events. A signature covers canonical JSON without `signatures` and `unsigned`; that of
 * an event covers what redaction leaves of it.
 *
 * https://spec.matrix.org/v1.19/appendices/#signing-json
 * https://spec.matrix.org/v1.19/server-server-api/#signing-events
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { encodeCanonicalJson } from './canonical-json.ts';
import type { JsonObject, JsonValue, Pdu } from './pdu.ts';
import { redactPdu } from './redaction.ts';
import type { RoomVersion } from './room-version.ts';

export interface SigningKey {
  /** `ed25519:` and the key's version. */
  readonly keyId: string;
  /** Unpadded base64. */
  readonly publicKey: string;
  /** Signs the UTF-8 of the text; gives unpadded base64. */
  sign(text: string): string;
  /** The key file's line. Secret. */
  format(): string;
}

const SEED_BYTES = 32;
const PUBLIC_KEY_BYTES = 32;
/** DER around a raw Ed25519 key: RFC 8410. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const KEY_VERSION = /^[A-Za-z0-9_]{1,64}$/;

export function createSigningKey(seed: Uint8Array, version: string): SigningKey {
  if (seed.length !== SEED_BYTES) throw new Error(`an Ed25519 seed has ${SEED_BYTES} bytes`);
  if (!KEY_VERSION.test(version)) throw new Error('a key version consists of letters, digits and underscores');
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return {
    keyId: `ed25519:${version}`,
    publicKey: encodeBase64(spki.subarray(SPKI_PREFIX.length)),
    sign: (text) => encodeBase64(sign(null, Buffer.from(text), key)),
    format: () => `ed25519 ${version} ${encodeBase64(seed)}\n`,
  };
}

/** Reads a key file's line, `ed25519 <version> <seed>`; undefined where it is none. */
export function parseSigningKey(text: string): SigningKey | undefined {
  const [algorithm, version, seed, ...more] = text.trim().split(/\s+/);
  if (algorithm !== 'ed25519' || version === undefined || seed === undefined || more.length > 0) return undefined;
  const bytes = decodeBase64(seed);
  if (bytes?.length !== SEED_BYTES || !KEY_VERSION.test(version)) return undefined;
  return createSigningKey(bytes, version);
}

/** The object with our signature added to those that it has. */
export function signJson<T extends JsonObject>(value: T, serverName: string, key: SigningKey): T {
  const signature = key.sign(signedText(value));
  const signatures = isObject(value['signatures']) ? value['signatures'] : {};
  const ofServer = isObject(signatures[serverName]) ? signatures[serverName] : {};
  return { ...value, signatures: { ...signatures, [serverName]: { ...ofServer, [key.keyId]: signature } } };
}

export interface Verifying {
  readonly serverName: string;
  readonly keyId: string;
  /** Unpadded base64. */
  readonly publicKey: string;
}

/** Whether the object carries this key's valid signature. Never throws. */
export function verifyJson(value: JsonObject, { serverName, keyId, publicKey }: Verifying): boolean {
  const signature = signatureIn(value, serverName, keyId);
  if (signature === undefined) return false;
  try {
    return verifyText(signedText(value), signature, publicKey);
  } catch {
    // What has no canonical form has no valid signature either.
    return false;
  }
}

/** The signatures that a server put on the object, by key id. */
export function signaturesBy(value: JsonObject, serverName: string): readonly (readonly [string, string])[] {
  const { signatures } = value;
  const ofServer = isObject(signatures) && Object.hasOwn(signatures, serverName) ? signatures[serverName] : undefined;
  if (!isObject(ofServer)) return [];
  return Object.entries(ofServer).flatMap(([keyId, signature]) =>
    typeof signature === 'string' ? [[keyId, signature] as const] : [],
  );
}

/** Whether the event carries this key's valid signature. Never throws. */
export function verifyEventSignature(pdu: Pdu, version: RoomVersion, verifying: Verifying): boolean {
  return verifyJson(redactPdu(pdu, version), verifying);
}

/** Unpadded base64 of either alphabet; undefined where the text is none. */
export function decodeBase64(text: string): Buffer | undefined {
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text)) return undefined;
  return Buffer.from(text, 'base64');
}

export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replace(/=+$/, '');
}

/** What signatures of the object cover: canonical JSON; throws where it has no such form. */
export function signedText(value: JsonObject): string {
  const { signatures: _signatures, unsigned: _unsigned, ...rest } = value;
  return encodeCanonicalJson(rest);
}

function verifyText(text: string, signature: string, publicKey: string): boolean {
  const key = toPublicKey(publicKey);
  const bytes = decodeBase64(signature);
  return key !== undefined && bytes !== undefined && verify(null, Buffer.from(text), key, bytes);
}

/** The key that unpadded base64 of 32 bytes stands for. */
export function toPublicKey(base64: string): KeyObject | undefined {
  const bytes = decodeBase64(base64);
  if (bytes?.length !== PUBLIC_KEY_BYTES) return undefined;
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, bytes]), format: 'der', type: 'spki' });
}

function signatureIn(value: JsonObject, serverName: string, keyId: string): string | undefined {
  const { signatures } = value;
  const ofServer = isObject(signatures) && Object.hasOwn(signatures, serverName) ? signatures[serverName] : undefined;
  const signature = isObject(ofServer) && Object.hasOwn(ofServer, keyId) ? ofServer[keyId] : undefined;
  return typeof signature === 'string' ? signature : undefined;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
