/**
 * From a PDU to the event that the rest of the server reads: identifiers worked out once, references of the old pair
 * format unwrapped.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#pdus
 */
import { eventIdOf } from './hashes.ts';
import type { EventId, RoomId, UserId } from './ids.ts';
import type { Event, JsonValue, Pdu } from './pdu.ts';
import type { RoomVersion } from './room-version.ts';

/** The event that a PDU of a checked format is; its id and, for the create event of a version 12 room, the room's. */
export function createEvent(pdu: Pdu, version: RoomVersion): Event {
  return createEventWithId(pdu, version, eventIdOf(pdu, version));
}

/** As `createEvent`, where the id is known: that of a redacted event was made over the whole, and costs a hash to find. */
export function createEventWithId(pdu: Pdu, version: RoomVersion, eventId: EventId): Event {
  const isRoomIdGiver = version.roomIdFromCreate && pdu.type === 'm.room.create';
  return {
    eventId,
    roomId: (isRoomIdGiver ? `!${eventId.slice(1)}` : (pdu.room_id ?? '')) as RoomId,
    type: pdu.type,
    stateKey: pdu.state_key,
    sender: pdu.sender as UserId,
    content: pdu.content,
    originServerTs: pdu.origin_server_ts,
    depth: pdu.depth,
    prevEvents: pdu.prev_events.flatMap(toEventId),
    authEvents: pdu.auth_events.flatMap(toEventId),
    redacts: redactsOf(pdu, version),
    pdu,
  };
}

/** A reference is an id, or in versions 1 and 2 a pair of an id and hashes. */
function toEventId(reference: JsonValue): readonly EventId[] {
  const id = Array.isArray(reference) ? reference[0] : reference;
  return typeof id === 'string' ? [id as EventId] : [];
}

function redactsOf(pdu: Pdu, version: RoomVersion): EventId | undefined {
  if (pdu.type !== 'm.room.redaction') return undefined;
  const redacts = version.redactsInContent ? pdu.content['redacts'] : pdu.redacts;
  return typeof redacts === 'string' ? (redacts as EventId) : undefined;
}
