/**
 * Single events and what happened around them.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
 */
import type { RoomSnapshot, StateEntry } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility, VisibleEvent } from '../engine/visible-events.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Gaps } from './gaps.ts';
import { withoutIgnored } from './history.ts';
import type { IgnoredUsers } from './ignored-users.ts';
import { type EventPredicate, loadPage, type Reader } from './load-page.ts';
import type { RoomAccess } from './room-access.ts';

export interface EventContext {
  readonly event: VisibleEvent;
  /** Newest first. */
  readonly before: readonly VisibleEvent[];
  /** Oldest first. */
  readonly after: readonly VisibleEvent[];
  /** Positions before the oldest and behind the newest of the events. */
  readonly start: number;
  readonly end: number;
  /** The room's state at the last of the events; empty for readers who may not read the room's state. */
  readonly state: readonly StateEntry[];
}

export interface ContextRequest {
  readonly eventId: EventId;
  /** For the events before and after together. */
  readonly limit: number;
  readonly passes: EventPredicate;
}

export interface EventReading {
  /** Throws M_NOT_FOUND for an event that the user may not see, as for one that does not exist. */
  loadEvent(reader: Reader, roomId: RoomId, eventId: EventId): Promise<VisibleEvent>;
  loadContext(reader: Reader, roomId: RoomId, request: ContextRequest): Promise<EventContext>;
}

export interface EventReadingOptions {
  readonly engine: Pick<RoomEngine, 'loadEvent' | 'loadTimeline' | 'loadStateAt' | 'loadStateEntries'>;
  readonly access: RoomAccess;
  readonly visibility: Visibility;
  readonly ignoredUsers: IgnoredUsers;
  readonly gaps: Gaps;
}

export function createEventReading(options: EventReadingOptions): EventReading {
  const { engine, access, visibility } = options;

  async function loadVisible(reader: Reader, roomId: RoomId, eventId: EventId): Promise<Found> {
    const snapshot = await access.loadKnown(reader.userId, roomId);
    const stored = snapshot === undefined ? undefined : await engine.loadEvent(roomId, eventId);
    if (snapshot === undefined || stored === undefined) throw notFound();
    const [event] = await visibility.filterVisible([stored], reader, snapshot);
    if (event === undefined) throw notFound();
    return { snapshot, event };
  }

  /** Who may see an event need not be allowed to see who else is there: an invited user, for one. */
  async function loadStateFor(reader: Reader, roomId: RoomId, last: VisibleEvent): Promise<readonly StateEntry[]> {
    if (last.stateAfter === null || !(await access.isReadable(reader.userId, roomId))) return [];
    return engine.loadStateAt(roomId, last.stateAfter);
  }

  return {
    async loadEvent(reader, roomId, eventId) {
      return (await loadVisible(reader, roomId, eventId)).event;
    },

    async loadContext(reader, roomId, { eventId, limit, ...request }) {
      const { snapshot, event } = await loadVisible(reader, roomId, eventId);
      const passes = await withoutIgnored(options.ignoredUsers, reader, request.passes);
      const viewer = { reader, room: { snapshot, until: undefined } };
      const earlier = Math.floor(limit / 2);
      const around = (direction: 'forward' | 'backward', count: number): Promise<readonly VisibleEvent[]> =>
        loadAround(options, viewer, { direction, event, limit: count, passes });
      const [before, after] = await Promise.all([around('backward', earlier), around('forward', limit - earlier)]);
      const last = after.at(-1) ?? event;
      const state = await loadStateFor(reader, roomId, last);
      return { event, before, after, start: (before.at(-1) ?? event).position - 1, end: last.position, state };
    },
  };
}

interface Found {
  readonly snapshot: RoomSnapshot;
  readonly event: VisibleEvent;
}

function notFound(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'The event was not found');
}

interface Around {
  readonly direction: 'forward' | 'backward';
  readonly event: VisibleEvent;
  readonly limit: number;
  readonly passes: EventPredicate;
}

async function loadAround(
  options: EventReadingOptions,
  viewer: Parameters<typeof loadPage>[1],
  { direction, event, limit, passes }: Around,
): Promise<readonly VisibleEvent[]> {
  if (limit === 0) return [];
  const from = direction === 'forward' ? event.position : event.position - 1;
  return (await loadPage(options, viewer, { direction, from, limit, passes })).events;
}
