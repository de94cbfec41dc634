/**
 * What state resolution reads and gives back. All of it is in memory: the caller loads what the algorithm may look at
 * beforehand, so that resolving is synchronous and can move to a worker thread unchanged.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
 */
import type { EventId } from '../ids.ts';
import type { Event } from '../pdu.ts';
import type { RoomVersion } from '../room-version.ts';

/** The state of a room: what `stateKeyOf` makes of a type and a state key, to the event that holds it. */
export type StateMap = ReadonlyMap<string, EventId>;

/** An event that is undefined here counts as one that does not exist: nothing is ever waited for. */
export type EventLookup = (eventId: EventId) => Event | undefined;

export interface ResolutionInput {
  readonly version: RoomVersion;
  readonly stateSets: readonly StateMap[];
  /**
   * Holds every event of the state sets and their auth chains. With `authDifference` given the conflicted events,
   * the auth difference, the auth chains of both, and the unconflicted events that auth rules may ask for are enough.
   */
  readonly events: EventLookup;
  /** Rejected events are not used as auth events; by default none is. */
  readonly isRejected?: (eventId: EventId) => boolean;
  /** The auth difference of the state sets, where storage has worked it out more cheaply than by walking. */
  readonly authDifference?: ReadonlySet<EventId>;
}

export interface ResolvedState {
  readonly state: StateMap;
  /** The size of the full conflicted set, that is the work there was; 0 where the state sets agreed. */
  readonly conflicted: number;
}

/** The key of a state map. */
export function stateKeyOf(type: string, stateKey: string): string {
  return `${type}\u0000${stateKey}`;
}
