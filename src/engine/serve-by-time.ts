/**
 * The event of a room nearest to a time, for another server: the first in the order of time that it may see as it is. What
 * lies close together and hidden is stepped over in a few growing batches, which bounds the question.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
 */
import type { EventId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import { type EventTime, listEventsByTime } from '../storage/events-by-time.ts';
import { loadKnownEvents } from '../storage/received-events.ts';
import { filterShown, type ReadingServer } from './server-visibility.ts';

const BATCH_SIZES = [1, 100, 500] as const;

export interface TimedEventId {
  readonly eventId: EventId;
  readonly originServerTs: number;
}

export interface TimeWanted {
  /** Unix milliseconds. */
  readonly at: number;
  readonly direction: 'forward' | 'backward';
}

export async function loadNearest(
  tx: Transaction,
  server: ReadingServer,
  { at, direction }: TimeWanted,
): Promise<TimedEventId | undefined> {
  const { roomId, version } = server;
  let place: EventTime = { at, position: direction === 'forward' ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER };
  for (const limit of BATCH_SIZES) {
    const times = await listEventsByTime(tx, { roomId, ...place, direction, limit });
    const ids = times.map(({ eventId }) => eventId);
    const shown = await filterShown(tx, server, await loadKnownEvents(tx, version, ids));
    const visible = new Set(shown.map(({ event }) => event.eventId));
    const nearest = times.find(({ eventId }) => visible.has(eventId));
    if (nearest !== undefined) return { eventId: nearest.eventId, originServerTs: nearest.at };
    const last = times.at(-1);
    if (last === undefined || times.length < limit) return undefined;
    place = last;
  }
  return undefined;
}
