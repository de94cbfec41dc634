/**
 * State resolution of room version 2 and, with what version 12 changed ("v2.1", MSC4297), of version 12.
 *
 * https://spec.matrix.org/v1.19/rooms/v2/#state-resolution
 * https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
 */
import type { EventId } from '../ids.ts';
import type { Event } from '../pdu.ts';
import { authDifferenceOf, conflictedSubgraphOf } from './auth-chain.ts';
import { type Conflicts, splitConflicts } from './conflicts.ts';
import { applyAllowed, type ResolutionContext } from './iterative-auth.ts';
import { sortByMainline } from './mainline.ts';
import { sortPowerEvents } from './power-sort.ts';
import { type EventLookup, type ResolutionInput, type ResolvedState, type StateMap, stateKeyOf } from './types.ts';

/** Resolves state sets as room versions 2 to 12 do. */
export function resolveV2(input: ResolutionInput): ResolvedState {
  const { version, events } = input;
  const conflicts = splitConflicts(input.stateSets);
  const { unconflicted } = conflicts;
  if (conflicts.conflicted.size === 0) return { state: unconflicted, conflicted: 0 };

  const full = fullConflictedSet(input, conflicts);
  const context: ResolutionContext = { version, events, isRejected: input.isRejected ?? (() => false) };

  // Step 1: the power events and what they rest on, in reverse topological power ordering.
  const powerEvents = sortPowerEvents(full, context);
  // Step 2: the iterative auth checks, in version 12 from nothing, before it from the unconflicted state.
  const initial: StateMap = version.stateResolution === 'v2.1' ? new Map() : unconflicted;
  const partial = applyAllowed(initial, powerEvents, context);
  // Step 3: the remaining events in the mainline ordering based on the power levels reached.
  const remaining = sortByMainline(
    eventsWithout(full, powerEvents, events),
    partial.get(stateKeyOf('m.room.power_levels', '')),
    events,
  );
  // Step 4: the iterative auth checks of these.
  const resolved = applyAllowed(partial, remaining, context);
  // Step 5: what did not conflict stands.
  for (const [key, id] of unconflicted) resolved.set(key, id);
  return { state: resolved, conflicted: full.size };
}

/** The conflicted events, the auth difference and, from version 12 on, the conflicted state subgraph. */
function fullConflictedSet(input: ResolutionInput, { unconflicted, conflicted }: Conflicts): ReadonlySet<EventId> {
  const { events, stateSets, version } = input;
  const conflictedEvents = new Set<EventId>();
  for (const ids of conflicted.values()) for (const id of ids) conflictedEvents.add(id);
  const difference = input.authDifference ?? authDifferenceOf(stateSets, unconflicted, events);
  const full = conflictedEvents.union(difference);
  return version.stateResolution === 'v2.1' ? full.union(conflictedSubgraphOf(conflictedEvents, events)) : full;
}

function eventsWithout(full: ReadonlySet<EventId>, taken: readonly Event[], events: EventLookup): readonly Event[] {
  const takenIds = new Set(taken.map((event) => event.eventId));
  const remaining: Event[] = [];
  for (const id of full) {
    const event = takenIds.has(id) ? undefined : events(id);
    if (event !== undefined) remaining.push(event);
  }
  return remaining;
}
