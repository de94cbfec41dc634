/**
 * The server's Ed25519 signing key, in `signing.key` of the data folder: made at the first start, one line of key id and
 * seed, readable by the server's user alone. Other servers know this server by it, so it is never made anew beside an
 * existing database (storage/server-identity.ts refuses that).
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
 */
import { mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { OperatorError } from '../lib/operator-error.ts';
import type { Random } from '../lib/random.ts';
import { createSigningKey, decodeBase64, parseSigningKey, type SigningKey } from '../protocol/signing.ts';

const SEED_BYTES = 32;
const VERSION_LENGTH = 6;
/** 32 random bytes have fewer distinct values than this once in 10^20 keys; a placeholder of zeros has one. */
const MIN_DISTINCT_BYTES = 16;

export class SigningKeyError extends OperatorError {}

/** Reads the key, or makes it where there is none. */
export async function loadOrCreateSigningKey(path: string, random: Random): Promise<SigningKey> {
  const made = makeSigningKey(random);
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(path, made.format(), { flag: 'wx', mode: 0o600, flush: true });
    return made;
  } catch (cause) {
    const exists = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST';
    if (!exists) throw cause;
  }
  return readSigningKey(await readFile(path, 'utf8'), path);
}

/** Reads the key of a server that has data already: it is never made anew. */
export async function loadSigningKey(path: string): Promise<SigningKey> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new SigningKeyError(
      `${path} can't be read, but the database was made with a signing key. Other servers know this server by it: put ` +
        'the file back, from the original data_dir or from a backup',
      { cause },
    );
  });
  return readSigningKey(text, path);
}

export function makeSigningKey(random: Random): SigningKey {
  return createSigningKey(random.bytes(SEED_BYTES), random.alphanumeric(VERSION_LENGTH));
}

/** Puts the key in the place of the one in the file: at once, and for good even if the power fails right after. */
export async function replaceSigningKey(path: string, key: SigningKey): Promise<void> {
  const prepared = `${path}.new`;
  await writeFile(prepared, key.format(), { mode: 0o600, flush: true });
  await rename(prepared, path);
  await using folder = await open(dirname(path));
  await folder.sync();
}

/** The key in a file's text: `ed25519 VERSION SEED`, the seed in unpadded base64. */
export function readSigningKey(text: string, path: string): SigningKey {
  const key = parseSigningKey(text);
  const seed = decodeBase64(text.trim().split(/\s+/)[2] ?? '');
  if (key === undefined || seed === undefined) {
    throw new SigningKeyError(`${path}: expected one line of "ed25519 VERSION SEED" with a base64 seed of 32 bytes`);
  }
  if (new Set(seed).size < MIN_DISTINCT_BYTES) {
    throw new SigningKeyError(`${path}: this key was not made by chance: anybody could guess it`);
  }
  return key;
}
