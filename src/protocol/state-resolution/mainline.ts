/**
 * Mainline ordering: events are ordered by how far along the history of power levels, followed back from the resolved
 * `m.room.power_levels` event, the power levels lie that they were sent under.
 *
 * https://spec.matrix.org/v1.19/rooms/v2/#definitions
 */
import type { EventId } from '../ids.ts';
import type { Event } from '../pdu.ts';
import { compareByTimeAndId } from './compare.ts';
import type { EventLookup } from './types.ts';

/** Sorts `list` by the mainline ordering based on the power levels event `powerLevels`, if there is one. */
export function sortByMainline(
  list: readonly Event[],
  powerLevels: EventId | undefined,
  events: EventLookup,
): readonly Event[] {
  const mainline = mainlineOf(powerLevels, events);
  const positions = new Map<EventId, number>();
  const keyed = list.map((event) => ({ event, position: positionOf(event, { mainline, positions, events }) }));
  // Infinite positions are equal to each other, which a difference would not say.
  keyed.sort((x, y) =>
    x.position === y.position ? compareByTimeAndId(x.event, y.event) : x.position > y.position ? -1 : 1,
  );
  return keyed.map(({ event }) => event);
}

/** The place of each event of the mainline, 0 for the one that it is based on. */
function mainlineOf(powerLevels: EventId | undefined, events: EventLookup): ReadonlyMap<EventId, number> {
  const mainline = new Map<EventId, number>();
  let current = powerLevels === undefined ? undefined : events(powerLevels);
  // Event ids of versions 1 and 2 are not hashes, so a hostile server can make a circle of them.
  while (current !== undefined && !mainline.has(current.eventId)) {
    mainline.set(current.eventId, mainline.size);
    current = powerLevelsBehind(current, events);
  }
  return mainline;
}

interface MainlineContext {
  readonly mainline: ReadonlyMap<EventId, number>;
  /** The positions found so far, by power levels event: events that share one share the walk. */
  readonly positions: Map<EventId, number>;
  readonly events: EventLookup;
}

/** The mainline position of `event`: that of the nearest power levels event behind it which is on the mainline. */
function positionOf(event: Event, { mainline, positions, events }: MainlineContext): number {
  const walked: EventId[] = [];
  let position = Number.POSITIVE_INFINITY;
  let current = powerLevelsBehind(event, events);
  while (current !== undefined) {
    const known = mainline.get(current.eventId) ?? positions.get(current.eventId);
    if (known !== undefined) {
      position = known;
      break;
    }
    // Until the walk is over the position counts as infinite, which also ends a circle.
    positions.set(current.eventId, Number.POSITIVE_INFINITY);
    walked.push(current.eventId);
    current = powerLevelsBehind(current, events);
  }
  for (const id of walked) positions.set(id, position);
  return position;
}

function powerLevelsBehind(event: Event, events: EventLookup): Event | undefined {
  for (const id of event.authEvents) {
    const authEvent = events(id);
    if (authEvent?.type === 'm.room.power_levels' && authEvent.stateKey === '') return authEvent;
  }
  return undefined;
}
