/**
 * Jumping to a date: the event nearest to a time that the user may see.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility, VisibleEvent } from '../engine/visible-events.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import { type EventTime, listEventsByTime } from '../storage/events-by-time.ts';
import type { Reader } from './load-page.ts';
import { loadRelated } from './load-related.ts';
import type { RoomAccess } from './room-access.ts';
import type { FindElsewhere, TimeRequest } from './time-elsewhere.ts';

/** The first one is nearly always visible; who joined late needs more, up to what bounds the request. */
const BATCH_SIZES = [1, 100, 500] as const;

/** Throws M_FORBIDDEN for a room that the user may not read, M_NOT_FOUND where there is nothing in this direction. */
export type LoadEventAtTime = (reader: Reader, roomId: RoomId, request: TimeRequest) => Promise<VisibleEvent>;

export interface EventAtTimeOptions {
  readonly engine: Pick<RoomEngine, 'loadEvent'>;
  readonly database: Transaction;
  readonly access: RoomAccess;
  readonly visibility: Visibility;
  /** Undefined where this server talks with no others. */
  readonly findElsewhere?: FindElsewhere | undefined;
}

export function createEventAtTime(options: EventAtTimeOptions): LoadEventAtTime {
  const { engine, access, visibility, findElsewhere } = options;
  return async (reader, roomId, request) => {
    const { snapshot } = await access.loadReadable(reader.userId, roomId);
    const local = await findHere(options, { reader, snapshot }, request);
    const elsewhere = await findElsewhere?.(snapshot, request, local);
    const fetched = elsewhere === undefined ? undefined : await engine.loadEvent(roomId, elsewhere);
    const [nearer] = fetched === undefined ? [] : await visibility.filterVisible([fetched], reader, snapshot);
    const nearest = nearer ?? local;
    if (nearest !== undefined) return nearest;
    const side = request.direction === 'forward' ? 'after' : 'before';
    throw new MatrixError('M_NOT_FOUND', `No event was found ${side} this time`);
  };
}

async function findHere(
  { database, visibility }: EventAtTimeOptions,
  { reader, snapshot }: { readonly reader: Reader; readonly snapshot: RoomSnapshot },
  { at, direction }: TimeRequest,
): Promise<VisibleEvent | undefined> {
  const { roomId, version } = snapshot;
  const edge = direction === 'forward' ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
  let place: EventTime = { at, position: edge };
  for (const limit of BATCH_SIZES) {
    const times = await listEventsByTime(database, { roomId, ...place, direction, limit });
    const events = await loadRelated(database, version, times);
    const [nearest] = await visibility.filterVisible(events, reader, snapshot);
    if (nearest !== undefined) return nearest;
    const last = times.at(-1);
    if (last === undefined || times.length < limit) return undefined;
    place = last;
  }
  return undefined;
}
