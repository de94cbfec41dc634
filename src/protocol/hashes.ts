/**
 * The two hashes of an event: the content hash, which proves that nothing was changed, and the reference hash, by which
 * others refer to it and which survives redaction.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event
 * https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event
 */
import { hash } from 'node:crypto';
import { encodeCanonicalJson } from './canonical-json.ts';
import type { EventId } from './ids.ts';
import type { JsonObject, Pdu } from './pdu.ts';
import { redactPdu } from './redaction.ts';
import type { RoomVersion } from './room-version.ts';

/** SHA-256 of the whole event without `hashes`, `signatures` and `unsigned`; unpadded base64. */
export function contentHash(pdu: JsonObject): string {
  const { hashes: _hashes, signatures: _signatures, unsigned: _unsigned, ...hashed } = pdu;
  return unpadded(hash('sha256', encodeCanonicalJson(hashed), 'base64'));
}

/** Whether nothing of the event was changed since its server hashed it. */
export function hasValidContentHash(pdu: Pdu): boolean {
  return pdu.hashes.sha256.replace(/=+$/, '') === contentHash(pdu);
}

/** SHA-256 of what redaction leaves, in the alphabet of the room version; unpadded. */
export function referenceHash(pdu: Pdu, version: RoomVersion): string {
  const { signatures: _signatures, unsigned: _unsigned, age_ts: _age, ...hashed } = redactPdu(pdu, version);
  const alphabet = version.eventIds === 'url-safe-base64' ? 'base64url' : 'base64';
  return unpadded(hash('sha256', encodeCanonicalJson(hashed), alphabet));
}

/** The event's id: its own in room versions 1 and 2, made from the reference hash in all others. */
export function eventIdOf(pdu: Pdu, version: RoomVersion): EventId {
  // In versions 1 and 2 the format check has established that there is one.
  if (version.eventIds === 'server') return (pdu.event_id ?? '') as EventId;
  return `$${referenceHash(pdu, version)}` as EventId;
}

function unpadded(base64: string): string {
  return base64.replace(/=+$/, '');
}
