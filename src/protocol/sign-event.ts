/**
 * Hashes and signs an event of ours: the content hash over the whole, then the signature and the reference hash over what
 * redaction leaves. Both are made over the same text, which is encoded once.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#signing-events
 */
import { hash } from 'node:crypto';
import { encodeCanonicalJson } from './canonical-json.ts';
import { contentHash } from './hashes.ts';
import type { EventId } from './ids.ts';
import type { JsonObject, Pdu } from './pdu.ts';
import { redactPdu } from './redaction.ts';
import type { RoomVersion } from './room-version.ts';
import { type SigningKey, signedText } from './signing.ts';

/**
 * The event with our signature beside those that it has. Only for events that were made anew from their parts, each of
 * which was judged: what this signs, all servers take for our word.
 */
export function countersignEvent(
  pdu: Pdu,
  version: RoomVersion,
  { serverName, key }: { readonly serverName: string; readonly key: SigningKey },
): Pdu {
  const signature = key.sign(signedText(redactPdu(pdu, version)));
  return { ...pdu, signatures: { ...pdu.signatures, [serverName]: { [key.keyId]: signature } } };
}

/** An event before it is hashed and signed; `signatures`, `hashes` and `unsigned` that it has are not looked at. */
export type UnsignedPdu = Omit<Pdu, 'hashes' | 'signatures'> & JsonObject;

/** The PDU as the rules will see it once the server has signed it: they ask for a signature and do not look at it. */
export function asIfSigned(body: UnsignedPdu, serverName: string): Pdu {
  const pdu: JsonObject = { ...body, hashes: { sha256: '' }, signatures: { [serverName]: { 'ed25519:': '' } } };
  return pdu as Pdu;
}

export interface SignedEvent {
  readonly pdu: Pdu;
  readonly eventId: EventId;
  /** Unpadded, in the room version's alphabet. */
  readonly referenceHash: string;
}

export function hashAndSignEvent(
  body: UnsignedPdu,
  version: RoomVersion,
  by: { readonly serverName: string; readonly key: SigningKey },
): SignedEvent {
  // All that the type of a PDU demands beyond the body is added here.
  const hashed = { ...body, hashes: { sha256: contentHash(body) }, signatures: {} } as Pdu;
  const { signatures: _signatures, unsigned: _unsigned, ...signed } = redactPdu(hashed, version);
  const text = encodeCanonicalJson(signed);
  const pdu: Pdu = { ...hashed, signatures: { [by.serverName]: { [by.key.keyId]: by.key.sign(text) } } };
  const alphabet = version.eventIds === 'url-safe-base64' ? 'base64url' : 'base64';
  const referenceHash = hash('sha256', text, alphabet).replace(/=+$/, '');
  const eventId = (version.eventIds === 'server' ? (body.event_id ?? '') : `$${referenceHash}`) as EventId;
  return { pdu, eventId, referenceHash };
}
