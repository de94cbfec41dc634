/**
 * From what another server sent to an event that may be judged: format and content hash, steps 1 and 3 of the checks on
 * receipt. An event whose content is not what its server hashed goes on without that content. Pure.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 */
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { createEvent } from '../protocol/event.ts';
import { hasValidContentHash, referenceHash } from '../protocol/hashes.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { Event, JsonValue, Pdu } from '../protocol/pdu.ts';
import { checkPduFormat } from '../protocol/pdu-format.ts';
import { redactPdu } from '../protocol/redaction.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { OddNumbers } from '../protocol/strict-json.ts';

export interface ReceivedEvent {
  readonly event: Event;
  /** The PDU as it came: what was signed. */
  readonly signed: Pdu;
  /** Canonical JSON of what is kept of it. */
  readonly text: string;
  /** Only in rooms of versions 1 and 2. */
  readonly referenceHash: string | undefined;
  /** Why it is stored as rejected whatever the rules say. */
  readonly oversize: string | undefined;
}

export type ParsedPdu = { readonly received: ReceivedEvent } | { readonly fault: string };

export interface ReceivingRoom {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
}

export function parseReceived(value: JsonValue, room: ReceivingRoom, oddNumbers?: OddNumbers): ParsedPdu {
  const { version } = room;
  const format = checkPduFormat(value, version, oddNumbers);
  if (!format.valid) return { fault: format.reason };
  const kept = hasValidContentHash(format.pdu) ? format.pdu : redactPdu(format.pdu, version);
  const event = createEvent(kept, version);
  if (event.roomId !== room.roomId) return { fault: 'it belongs to another room' };
  return {
    received: {
      event,
      signed: format.pdu,
      text: encodeCanonicalJson(kept),
      referenceHash: version.eventIds === 'server' ? referenceHash(kept, version) : undefined,
      oversize: format.oversize,
    },
  };
}
