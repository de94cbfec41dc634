/**
 * The iterative auth checks: applies sorted state events to a state one by one, each where the auth rules allow it in
 * the state reached so far. What that state lacks is taken from the event's own auth events, unless they were rejected.
 *
 * https://spec.matrix.org/v1.19/rooms/v2/#definitions
 */
import { checkAuth } from '../auth-rules.ts';
import type { EventId } from '../ids.ts';
import type { Event, StateEvent, StateView } from '../pdu.ts';
import type { RoomVersion } from '../room-version.ts';
import { type EventLookup, type StateMap, stateKeyOf } from './types.ts';

export interface ResolutionContext {
  readonly version: RoomVersion;
  readonly events: EventLookup;
  readonly isRejected: (eventId: EventId) => boolean;
}

/** Gives the state that `initial` becomes by those events of `sorted` that are allowed in turn. */
export function applyAllowed(
  initial: StateMap,
  sorted: readonly Event[],
  context: ResolutionContext,
): Map<string, EventId> {
  const state = new Map(initial);
  for (const event of sorted) {
    if (event.stateKey === undefined) continue;
    const reached = viewOf(state, context.events);
    const cited = authEventsView(event, context);
    const view: StateView = { get: (type, stateKey) => reached.get(type, stateKey) ?? cited.get(type, stateKey) };
    if (!checkAuth(event, view, context.version).allowed) continue;
    state.set(stateKeyOf(event.type, event.stateKey), event.eventId);
  }
  return state;
}

/** A view of a state map alone. */
export function viewOf(state: StateMap, events: EventLookup): StateView {
  return {
    get(type, stateKey) {
      const id = state.get(stateKeyOf(type, stateKey));
      const event = id === undefined ? undefined : events(id);
      return event !== undefined && isState(event) ? event : undefined;
    },
  };
}

/** A view of the auth events of `event`, those that were rejected left out. */
export function authEventsView(event: Event, context: ResolutionContext): StateView {
  let cited: ReadonlyMap<string, StateEvent> | undefined;
  return {
    get(type, stateKey) {
      cited ??= authEventsByKey(event, context);
      return cited.get(stateKeyOf(type, stateKey));
    },
  };
}

function authEventsByKey(
  event: Event,
  { version, events, isRejected }: ResolutionContext,
): ReadonlyMap<string, StateEvent> {
  const cited = new Map<string, StateEvent>();
  const ids = version.roomIdFromCreate ? [createEventIdOf(event), ...event.authEvents] : event.authEvents;
  for (const authEvent of ids.map(events)) {
    if (authEvent === undefined || !isState(authEvent) || isRejected(authEvent.eventId)) continue;
    cited.set(stateKeyOf(authEvent.type, authEvent.stateKey), authEvent);
  }
  return cited;
}

/** From version 12 on no event cites the create event, but the room id is its event id with another sigil. */
function createEventIdOf(event: Event): EventId {
  return `$${event.roomId.slice(1)}` as EventId;
}

/** Whether `event` is a state event, and so all that a `StateView` may give. */
export function isState(event: Event): event is Event & StateEvent {
  return event.stateKey !== undefined;
}
