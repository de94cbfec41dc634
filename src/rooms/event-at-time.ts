/**
 * Jumping to a date: the event nearest to a time that the user may see.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
 */
import type { Visibility, VisibleEvent } from '../engine/visible-events.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import { type EventTime, listEventsByTime } from '../storage/events-by-time.ts';
import type { Reader } from './load-page.ts';
import { loadRelated } from './load-related.ts';
import type { RoomAccess } from './room-access.ts';

/** The first one is nearly always visible; who joined late needs more, up to what bounds the request. */
const BATCH_SIZES = [1, 100, 500] as const;

export interface TimeRequest {
  /** Unix milliseconds. */
  readonly at: number;
  readonly direction: 'forward' | 'backward';
}

/** Throws M_FORBIDDEN for a room that the user may not read, M_NOT_FOUND where there is nothing in this direction. */
export type LoadEventAtTime = (reader: Reader, roomId: RoomId, request: TimeRequest) => Promise<VisibleEvent>;

export interface EventAtTimeOptions {
  readonly database: Transaction;
  readonly access: RoomAccess;
  readonly visibility: Visibility;
}

export function createEventAtTime({ database, access, visibility }: EventAtTimeOptions): LoadEventAtTime {
  return async (reader, roomId, { at, direction }) => {
    const { snapshot } = await access.loadReadable(reader.userId, roomId);
    const edge = direction === 'forward' ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
    let place: EventTime = { at, position: edge };
    for (const limit of BATCH_SIZES) {
      const times = await listEventsByTime(database, { roomId, ...place, direction, limit });
      const events = await loadRelated(database, snapshot.version, times);
      const [nearest] = await visibility.filterVisible(events, reader, snapshot);
      if (nearest !== undefined) return nearest;
      const last = times.at(-1);
      if (last === undefined || times.length < limit) break;
      place = last;
    }
    throw new MatrixError(
      'M_NOT_FOUND',
      `No event was found ${direction === 'forward' ? 'after' : 'before'} this time`,
    );
  };
}
