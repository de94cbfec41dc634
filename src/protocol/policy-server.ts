/**
 * Policy servers, as far as an event and its room's `m.room.policy` say: who has to sign, which event needs no such
 * signature, whether one is right, and how it gets into an event. Pure. The key is the one in the room's state and no
 * other, so that nobody has to be asked for it.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#policy-servers
 */
import { parseServerName, type ServerName } from './ids.ts';
import { isJsonObject } from './json-value.ts';
import type { Event, JsonObject, Pdu } from './pdu.ts';
import type { RoomVersion } from './room-version.ts';
import { verifyEventSignature } from './signing.ts';

export interface PolicyServer {
  readonly serverName: ServerName;
  /** Unpadded base64. */
  readonly publicKey: string;
}

/** The one id that keys of policy servers have; no server signs its own events with it. */
export const POLICY_KEY_ID = 'ed25519:policy_server';
/** 64 bytes in base64 with padding: anything longer is no Ed25519 signature. */
const MAX_SIGNATURE_LENGTH = 88;

/**
 * What the content of an `m.room.policy` names; undefined where it lacks a part, and then the room has no policy
 * server.
 */
export function readPolicyServer(content: JsonObject): PolicyServer | undefined {
  const { via, public_keys: keys } = content;
  const serverName = typeof via === 'string' ? parseServerName(via) : undefined;
  const publicKey = isJsonObject(keys) && Object.hasOwn(keys, 'ed25519') ? keys['ed25519'] : undefined;
  return serverName === undefined || typeof publicKey !== 'string' ? undefined : { serverName, publicKey };
}

/** The event that sets the policy server: it is never shown to one, so that a room can always get rid of it. */
export function needsNoPolicySignature({ type, stateKey }: Pick<Event, 'type' | 'stateKey'>): boolean {
  return type === 'm.room.policy' && stateKey === '';
}

/** Whether the policy server recommends the event: its valid signature says so. */
export function isSignedByPolicyServer(pdu: Pdu, version: RoomVersion, policy: PolicyServer): boolean {
  return verifyEventSignature(pdu, version, { ...policy, keyId: POLICY_KEY_ID });
}

/**
 * The event with the signature that the policy server's answer holds, beside those that it has: the policy server may
 * have the name of the event's own server. Undefined where there is none, or it is not one over this event.
 */
export function withPolicySignature(
  pdu: Pdu,
  version: RoomVersion,
  { policy, answer }: { readonly policy: PolicyServer; readonly answer: JsonObject },
): Pdu | undefined {
  const { serverName } = policy;
  const given = Object.hasOwn(answer, serverName) ? answer[serverName] : undefined;
  const signature = isJsonObject(given) && Object.hasOwn(given, POLICY_KEY_ID) ? given[POLICY_KEY_ID] : undefined;
  if (typeof signature !== 'string' || signature.length > MAX_SIGNATURE_LENGTH) return undefined;
  const earlier = Object.hasOwn(pdu.signatures, serverName) ? pdu.signatures[serverName] : {};
  const signatures = { ...pdu.signatures, [serverName]: { ...earlier, [POLICY_KEY_ID]: signature } };
  const signed: Pdu = { ...pdu, signatures };
  return isSignedByPolicyServer(signed, version, policy) ? signed : undefined;
}
