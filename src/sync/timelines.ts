/**
 * The timelines of a sync: for each room the newest events after the token that the reader may and wants to see. From
 * memory where the room's tail reaches back so far; all the other rooms share one question to the database.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#syncing
 */

import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility, VisibleEvent } from '../engine/visible-events.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { TimelineEvent } from '../storage/events.ts';
import type { SyncContext } from './types.ts';

export interface TimelineWanted {
  readonly snapshot: RoomSnapshot;
  /** Positions in (after, upTo]. */
  readonly after: number;
  readonly upTo: number;
}

export interface Timeline {
  /** What the client gets, oldest first. */
  readonly events: readonly VisibleEvent[];
  /**
   * State that is current although the timeline's last event of its key is another: shown once more behind the timeline,
   * so that a client which applies the events in order comes to the room's state.
   */
  readonly restated: readonly TimelineEvent[];
  /** Whether there is more between the token and the first event. */
  readonly limited: boolean;
  /** The position of the first event; one past the range where there is none. */
  readonly start: number;
  /** Every accepted event after `knownFrom`, seen by the reader or not, oldest first. */
  readonly known: readonly TimelineEvent[];
  readonly knownFrom: number;
}

export interface TimelinesOptions {
  readonly engine: Pick<RoomEngine, 'getRecent' | 'loadNewest' | 'loadTimeline'>;
  readonly visibility: Visibility;
}

/** Filters and history visibility may leave little of what was read: so much more is read at once, so often. */
const EVENTS_PER_STEP = 100;
const MAX_STEPS = 5;

interface Known {
  readonly events: readonly TimelineEvent[];
  /** Nothing is missing after this position. */
  readonly from: number;
}

export async function loadTimelines(
  options: TimelinesOptions,
  context: SyncContext,
  rooms: readonly TimelineWanted[],
): Promise<ReadonlyMap<RoomId, Timeline>> {
  const known = await loadNewest(options, context, rooms);
  const timelines = await Promise.all(
    rooms.map(async (wanted): Promise<[RoomId, Timeline]> => {
      const { roomId } = wanted.snapshot;
      const start = known.get(roomId) ?? { events: [], from: wanted.after };
      return [roomId, await chooseEvents(options, context, { wanted, start })];
    }),
  );
  return new Map(timelines);
}

async function loadNewest(
  { engine }: TimelinesOptions,
  { filter }: SyncContext,
  rooms: readonly TimelineWanted[],
): Promise<ReadonlyMap<RoomId, Known>> {
  const known = new Map<RoomId, Known>();
  const cold: TimelineWanted[] = [];
  for (const wanted of rooms) {
    const { snapshot, after, upTo } = wanted;
    const recent = engine.getRecent(snapshot.roomId, after);
    if (recent === undefined) cold.push(wanted);
    else known.set(snapshot.roomId, { events: upToPosition(recent, upTo), from: after });
  }
  if (cold.length === 0) return known;
  const limit = filter.timelineLimit + 1;
  const ranges = cold.map(({ snapshot: { roomId, version }, after, upTo }) => ({ roomId, version, after, upTo }));
  const found = await engine.loadNewest(ranges, limit);
  for (const { snapshot, after } of cold) {
    const events = found.get(snapshot.roomId) ?? [];
    known.set(snapshot.roomId, { events, from: events.length < limit ? after : (events[0]?.position ?? 1) - 1 });
  }
  return known;
}

function upToPosition(events: readonly TimelineEvent[], upTo: number): readonly TimelineEvent[] {
  return (events.at(-1)?.position ?? 0) <= upTo ? events : events.filter(({ position }) => position <= upTo);
}

interface Choice {
  readonly wanted: TimelineWanted;
  readonly start: Known;
}

async function chooseEvents(
  options: TimelinesOptions,
  context: SyncContext,
  { wanted, start }: Choice,
): Promise<Timeline> {
  const limit = context.filter.timelineLimit;
  let known = start;
  let chosen = await filterEvents(options, context, { snapshot: wanted.snapshot, events: known.events });
  let gap = lastGap(known.events);
  for (let step = 0; step < MAX_STEPS && isShort(chosen, limit, gap) && known.from > wanted.after; step++) {
    const older = await loadOlder(options, wanted, known.from);
    known = { events: [...older.events, ...known.events], from: older.from };
    chosen = [
      ...(await filterEvents(options, context, { snapshot: wanted.snapshot, events: older.events })),
      ...chosen,
    ];
    gap = lastGap(known.events);
  }
  // What came before a gap is no part of this timeline: the client reads back through it.
  const behindGap = gap === undefined ? chosen : chosen.filter(({ position }) => position >= gap.position);
  const events = limit === 0 ? [] : behindGap.slice(-limit);
  return {
    events,
    restated: context.useStateAfter ? [] : restate(known.events, events),
    limited: gap !== undefined || chosen.length > events.length || known.from > wanted.after,
    start: events[0]?.position ?? wanted.upTo + 1,
    known: known.events,
    knownFrom: known.from,
  };
}

function lastGap(events: readonly TimelineEvent[]): TimelineEvent | undefined {
  return events.findLast(({ afterGap }) => afterGap === true);
}

function isShort(chosen: readonly VisibleEvent[], limit: number, gap: TimelineEvent | undefined): boolean {
  return chosen.length < limit && gap === undefined;
}

function restate(known: readonly TimelineEvent[], shown: readonly VisibleEvent[]): readonly TimelineEvent[] {
  const changes = known.filter(({ isStateChange }) => isStateChange === true);
  if (changes.length === 0) return [];
  const keyOf = ({ event: { type, stateKey } }: TimelineEvent): string => `${type}\u0000${stateKey}`;
  const last = new Map(known.filter(({ sidelined }) => sidelined !== true).map((event) => [keyOf(event), event]));
  const lastShown = new Map(shown.map((event) => [keyOf(event), event]));
  return [...last]
    .filter(([key, { event, isStateChange }]) => {
      const seen = lastShown.get(key);
      return isStateChange === true && seen !== undefined && seen.event.eventId !== event.eventId;
    })
    .map(([, event]) => event);
}

async function loadOlder({ engine }: TimelinesOptions, wanted: TimelineWanted, from: number): Promise<Known> {
  const { roomId, version } = wanted.snapshot;
  const newestFirst = await engine.loadTimeline({
    roomId,
    version,
    after: wanted.after,
    before: from + 1,
    limit: EVENTS_PER_STEP,
    direction: 'backward',
  });
  const oldest = newestFirst.at(-1)?.position;
  const isAll = newestFirst.length < EVENTS_PER_STEP || oldest === undefined;
  return { events: newestFirst.toReversed(), from: isAll ? wanted.after : oldest - 1 };
}

async function filterEvents(
  { visibility }: TimelinesOptions,
  { filter, userId, ignored }: SyncContext,
  { snapshot, events }: { readonly snapshot: RoomSnapshot; readonly events: readonly TimelineEvent[] },
): Promise<readonly VisibleEvent[]> {
  const visible = await visibility.filterVisible(events, { userId }, snapshot);
  return visible.filter(({ event }) => {
    if (event.stateKey === undefined && ignored.has(event.sender)) return false;
    return filter.timeline(event);
  });
}
