/**
 * This server's own keys: the one that signs, those that did before, and the signed document that tells others of them.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
 */
import type { Clock } from '../lib/clock.ts';
import { OperatorError } from '../lib/operator-error.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { decodeBase64, type SigningKey, signJson } from '../protocol/signing.ts';
import type { RetiredKey, ServerKey } from '../storage/server-keys.ts';
import { isLeakedKey } from './leaked-keys.ts';

export interface OwnKeys {
  readonly serverName: ServerName;
  /** As others would see them, for checking what we signed ourselves. */
  readonly keys: readonly ServerKey[];
  /** The signed document, never about to expire. */
  getDocument(): JsonObject;
  sign(document: JsonObject): JsonObject;
}

export interface OwnKeysOptions {
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly retiredKeys: readonly RetiredKey[];
  readonly clock: Clock;
}

/** How long others may rely on the document; a stolen key can be taken back after as long. */
const VALIDITY_MS = 24 * 60 * 60 * 1000;
/** Signed anew after this, so that it holds for hours whenever it is fetched. */
const RENEW_MS = 60 * 60 * 1000;

export function createOwnKeys({ serverName, signingKey, retiredKeys, clock }: OwnKeysOptions): OwnKeys {
  if (isLeakedKey(decodeBase64(signingKey.publicKey) ?? Buffer.alloc(0))) {
    throw new OperatorError('everybody knows this signing key: stop the server, and make another by "keys rotate"');
  }
  let signed: { readonly document: JsonObject; readonly at: number } | undefined;
  return {
    serverName,
    keys: [
      {
        keyId: signingKey.keyId,
        publicKey: signingKey.publicKey,
        validUntil: Number.MAX_SAFE_INTEGER,
        expiredAt: undefined,
      },
      ...retiredKeys.map((key) => ({ ...key, validUntil: key.expiredAt })),
    ],
    getDocument() {
      const now = clock.now();
      // A clock that was set back must not leave a document that seems to come from the future.
      if (signed !== undefined && now >= signed.at && now - signed.at < RENEW_MS) return signed.document;
      const document = {
        server_name: serverName,
        valid_until_ts: now + VALIDITY_MS,
        verify_keys: { [signingKey.keyId]: { key: signingKey.publicKey } },
        old_verify_keys: Object.fromEntries(
          retiredKeys.map(({ keyId, publicKey, expiredAt }) => [keyId, { key: publicKey, expired_ts: expiredAt }]),
        ),
      };
      signed = { document: signJson(document, serverName, signingKey), at: now };
      return signed.document;
    },
    sign: (document) => signJson(document, serverName, signingKey),
  };
}
