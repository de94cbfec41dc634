/**
 * What the endpoints share by which users of other servers come into rooms and out of them.
 */
import { MatrixError } from '../../protocol/errors.ts';
import { type EventId, parseEventId } from '../../protocol/ids.ts';

export { readRoomId, readUserId } from '../client/room-requests.ts';

/** An event of 64 KiB, its text escaped. */
export const MAX_EVENT_BODY_BYTES = 512 * 1024;

/** The event is in the body: another id than its own is wrong, and not one that is looked for. */
export function readEventId(text: string): EventId {
  const eventId = parseEventId(text);
  if (eventId === undefined) throw new MatrixError('M_INVALID_PARAM', 'The event id is not valid');
  return eventId;
}
