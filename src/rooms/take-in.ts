/**
 * Events that came by a handshake (an invite, a leave, a knock) into a room that we are in: by the same door as all others
 * of other servers, and told at once what became of them.
 */
import type { Receiver } from '../engine/receive-pdu.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Database } from '../storage/database.ts';
import { loadKnownEvents } from '../storage/received-events.ts';

export interface TakingIn {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  readonly eventId: EventId;
  readonly origin: ServerName;
  readonly pdu: Pdu;
  /** Whether it is for this server to send the event to the others in the room. */
  readonly isOutgoing: boolean;
}

export interface TakingInParts {
  readonly receiver: Receiver;
  readonly database: Database;
}

/** Throws M_FORBIDDEN where the room does not allow the event, M_INVALID_PARAM where it is not one of the room. */
export async function takeIn({ receiver, database }: TakingInParts, taking: TakingIn): Promise<void> {
  const { roomId, version, eventId, origin, pdu, isOutgoing } = taking;
  const [result] = await receiver.receive(roomId, { origin, pdus: [pdu] }, { isOutgoing });
  if (result === undefined || result.outcome === 'accepted') return;
  if (result.outcome === 'dropped') throw new MatrixError('M_INVALID_PARAM', result.reason);
  if (result.outcome !== 'known') throw new MatrixError('M_FORBIDDEN', result.reason);
  // It may have been here before, and not have been let in.
  const [known] = await loadKnownEvents(database, version, [eventId]);
  if (known === undefined || known.rejection !== undefined || known.softFailed) {
    throw new MatrixError('M_FORBIDDEN', 'The room does not allow the event');
  }
}
