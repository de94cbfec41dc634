/**
 * The rule about invites by third-party identifier: the identity server has signed that a user owns the address that
 * was invited. Step numbers in comments are those of v12.
 *
 * https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules
 */
import { type AuthContext, membershipOf } from './auth-context.ts';
import { allowBy, type Decision, rejectBy } from './auth-rule-table.ts';
import { isJsonArray, isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import { entryOf } from './power-levels.ts';
import { verifyJson } from './signing.ts';

/**
 * How many pairs of signature and key are tried. Real invites have one or two of each; an event of 64 KiB could ask for
 * hundreds of thousands of verifications.
 */
const MAX_VERIFICATIONS = 64;
const ED25519_PREFIX = 'ed25519:';

/** A signature in `signed`: whose it is and by which key. */
type Signature = readonly [server: string, keyId: string];

/** Decides about an invite whose content has `third_party_invite`. */
export function checkThirdPartyInvite({ event, state }: AuthContext, target: string): Decision {
  // 5.4.1.1
  if (membershipOf(state, target) === 'ban') return rejectBy('invite3p.banned');
  // 5.4.1.2
  const signed = entryOf(event.content['third_party_invite'], 'signed');
  if (signed === undefined) return rejectBy('invite3p.signed');
  // 5.4.1.3
  const mxid = entryOf(signed, 'mxid');
  const token = entryOf(signed, 'token');
  if (!isJsonObject(signed) || mxid === undefined || token === undefined) return rejectBy('invite3p.fields');
  // 5.4.1.4
  if (mxid !== target) return rejectBy('invite3p.mxid');
  // 5.4.1.5
  const invite = typeof token === 'string' ? state.get('m.room.third_party_invite', token) : undefined;
  if (invite === undefined) return rejectBy('invite3p.token');
  // 5.4.1.6
  if (event.sender !== invite.sender) return rejectBy('invite3p.sender');
  return checkSignatures(signed, invite.content);
}

export interface InviteKey {
  readonly publicKey: string;
  /** Where to ask whether it is still good; undefined for one that always is. */
  readonly validityUrl: string | undefined;
}

/** Those keys of the invite that signed. */
export function listSigningKeys(signed: JsonObject, invite: JsonObject): readonly InviteKey[] {
  const publicKeys = invite['public_keys'];
  const signatures = listSignatures(signed);
  const budget = { left: MAX_VERIFICATIONS };
  return [invite, ...(isJsonArray(publicKeys) ? publicKeys : [])].flatMap((entry) => {
    const publicKey = entryOf(entry, 'public_key');
    const url = entryOf(entry, 'key_validity_url');
    if (typeof publicKey !== 'string' || !isSignedBy(signed, signatures, publicKey, budget)) return [];
    return [{ publicKey, validityUrl: typeof url === 'string' ? url : undefined }];
  });
}

function checkSignatures(signed: JsonObject, invite: JsonObject): Decision {
  const signatures = listSignatures(signed);
  const budget = { left: MAX_VERIFICATIONS };
  // 5.4.1.7.1
  if (isSignedBy(signed, signatures, invite['public_key'], budget)) return allowBy('invite3p.publicKey');
  // 5.4.1.7.2
  const publicKeys = invite['public_keys'];
  if (isJsonArray(publicKeys)) {
    for (const entry of publicKeys) {
      if (isSignedBy(signed, signatures, entryOf(entry, 'public_key'), budget)) return allowBy('invite3p.publicKeys');
    }
  }
  // 5.4.1.8
  return rejectBy('invite3p.otherwise');
}

function listSignatures(signed: JsonObject): readonly Signature[] {
  const servers = signed['signatures'];
  if (!isJsonObject(servers)) return [];
  return Object.entries(servers).flatMap(([server, keys]) =>
    isJsonObject(keys) ? Object.keys(keys).map((keyId): Signature => [server, keyId]) : [],
  );
}

function isSignedBy(
  signed: JsonObject,
  signatures: readonly Signature[],
  publicKey: JsonValue | undefined,
  budget: { left: number },
): boolean {
  if (typeof publicKey !== 'string') return false;
  return signatures.some(([server, keyId]) => {
    if (!keyId.startsWith(ED25519_PREFIX) || budget.left === 0) return false;
    budget.left -= 1;
    return verifyJson(signed, { serverName: server, keyId, publicKey });
  });
}
