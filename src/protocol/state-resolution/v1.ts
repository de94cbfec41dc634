/**
 * State resolution of room version 1: conflicting power levels, then join rules, then memberships are replayed by
 * depth as long as each is allowed; of the rest the deepest allowed event wins. Known to reset state, and kept so,
 * since every server in such a room has to come to the same state.
 *
 * https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
 */
import { createHash } from 'node:crypto';
import { checkAuth } from '../auth-rules.ts';
import type { EventId } from '../ids.ts';
import type { Event, StateEvent, StateView } from '../pdu.ts';
import type { RoomVersion } from '../room-version.ts';
import { splitConflictsV1 } from './conflicts.ts';
import { isState, viewOf } from './iterative-auth.ts';
import { type EventLookup, type ResolutionInput, type ResolvedState, stateKeyOf } from './types.ts';

/** The types that affect authorization, in the order in which their conflicts are resolved. */
const AUTH_TYPES = ['m.room.power_levels', 'm.room.join_rules', 'm.room.member'];

/** Resolves state sets as room version 1 does. */
export function resolveV1({ version, stateSets, events }: ResolutionInput): ResolvedState {
  // Step 1: R is what does not conflict.
  const { unconflicted, conflicted } = splitConflictsV1(stateSets);
  const resolution: Resolution = { state: unconflicted, version, events };
  const groups = [...conflicted.values()].map((ids) => sortDeepestFirst(ids, events));
  // Steps 2 to 4: power levels, join rules and memberships.
  for (const type of AUTH_TYPES) {
    add(
      groups.filter(([first]) => first?.type === type).map((group) => replay(group, resolution)),
      resolution,
    );
  }
  // Step 5: everything else.
  const others = groups.filter(([first]) => first !== undefined && !AUTH_TYPES.includes(first.type));
  add(
    others.map((group) => pickDeepestAllowed(group, resolution)),
    resolution,
  );
  return { state: resolution.state, conflicted: groups.reduce((sum, group) => sum + group.length, 0) };
}

interface Resolution {
  /** R, the results so far. */
  readonly state: Map<string, EventId>;
  readonly version: RoomVersion;
  readonly events: EventLookup;
}

type Conflicting = Event & StateEvent;

/** The winners of one type are found before any of them is added, so that their order means nothing. */
function add(winners: readonly (Conflicting | undefined)[], { state }: Resolution): void {
  for (const event of winners) {
    if (event !== undefined) state.set(stateKeyOf(event.type, event.stateKey), event.eventId);
  }
}

/** Goes from the least deep event up until one is not allowed after those before it. */
function replay(deepestFirst: readonly Conflicting[], { state, version, events }: Resolution): Conflicting | undefined {
  const reached = viewOf(state, events);
  let winner: Conflicting | undefined;
  const view: StateView = {
    get: (type, stateKey) =>
      type === winner?.type && stateKey === winner.stateKey ? winner : reached.get(type, stateKey),
  };
  for (const event of deepestFirst.toReversed()) {
    if (winner !== undefined && !checkAuth(event, view, version).allowed) break;
    winner = event;
  }
  return winner;
}

function pickDeepestAllowed(
  deepestFirst: readonly Conflicting[],
  { state, version, events }: Resolution,
): Conflicting | undefined {
  const view = viewOf(state, events);
  // NOTSPEC: where none is allowed the spec is silent; the servers of these rooms take the least deep one.
  return deepestFirst.find((event) => checkAuth(event, view, version).allowed) ?? deepestFirst.at(-1);
}

/** By descending depth, then ascending SHA-1 of the event id. */
function sortDeepestFirst(ids: Iterable<EventId>, events: EventLookup): readonly Conflicting[] {
  const keyed: { readonly event: Conflicting; readonly hash: string }[] = [];
  for (const id of ids) {
    const event = events(id);
    if (event !== undefined && isState(event)) keyed.push({ event, hash: sha1(id) });
  }
  keyed.sort((x, y) => (x.event.depth === y.event.depth ? (x.hash < y.hash ? -1 : 1) : y.event.depth - x.event.depth));
  return keyed.map(({ event }) => event);
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}
