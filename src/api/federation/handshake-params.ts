/**
 * What the endpoints share by which users of other servers come into rooms and out of them.
 */
import { MatrixError } from '../../protocol/errors.ts';
import { type EventId, parseEventId, parseRoomId, parseUserId, type RoomId, type UserId } from '../../protocol/ids.ts';

/** An event of 64 KiB, its text escaped. */
export const MAX_EVENT_BODY_BYTES = 512 * 1024;

export const readRoomId = (text: string): RoomId => required(parseRoomId(text), 'room');
export const readEventId = (text: string): EventId => required(parseEventId(text), 'event');
export const readUserId = (text: string): UserId => required(parseUserId(text), 'user');

function required<T>(id: T | undefined, kind: string): T {
  if (id === undefined) throw new MatrixError('M_INVALID_PARAM', `The ${kind} id is not valid`);
  return id;
}
