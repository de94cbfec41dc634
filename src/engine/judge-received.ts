/**
 * The verdicts on an event of another server: by its own auth events, by the state before it, and by the current state,
 * steps 4 to 6 of the checks on receipt. Pure: what is judged with is loaded before.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 */
import { listAuthTypes, type StateKeyPair } from '../protocol/auth-events.ts';
import { checkAuth, checkAuthEvents } from '../protocol/auth-rules.ts';
import type { Event, StateEvent, StateView } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { stateKeyOf } from '../protocol/state-resolution/index.ts';
import { rejected, type Verdict } from '../protocol/verdict.ts';
import type { KnownEvent } from '../storage/received-events.ts';

/** What of a stored event judging reads. */
export type Citable = Pick<KnownEvent, 'event' | 'rejection'>;

export interface Citations {
  readonly version: RoomVersion;
  /** The events that it names as auth events, all of them. */
  readonly authEvents: readonly Citable[];
  /** The room's create event, which no event names from version 12 on. */
  readonly create: StateEvent | undefined;
}

/** Step 4: the auth events are the right ones, and they allow it. */
export function judgeByAuthEvents(event: Event, { version, authEvents, create }: Citations): Verdict {
  if (event.type === 'm.room.create' && create !== undefined && create.eventId !== event.eventId) {
    return rejected(`v${version.id}:1`, 'the room has another create event');
  }
  const rejectedIds = new Set<string>(
    authEvents.filter(({ rejection }) => rejection !== undefined).map(({ event: { eventId } }) => eventId),
  );
  const events = authEvents.map((cited) => cited.event);
  const verdict = checkAuthEvents(event, events, { version, isRejected: (eventId) => rejectedIds.has(eventId) });
  if (!verdict.allowed) return verdict;
  const implied = version.roomIdFromCreate && create !== undefined ? [create] : [];
  return checkAuth(event, viewOf([...implied, ...events.flatMap(asState)]), version);
}

/** The keys of the state that judging an event reads. */
export function keysToJudge(event: Event, version: RoomVersion): readonly StateKeyPair[] {
  const keys = listAuthTypes(event, version);
  return version.roomIdFromCreate ? [{ type: 'm.room.create', stateKey: '' }, ...keys] : keys;
}

/** A state that consists of these events. */
export function viewOf(events: Iterable<StateEvent>): StateView {
  const byKey = new Map<string, StateEvent>();
  for (const event of events) byKey.set(stateKeyOf(event.type, event.stateKey), event);
  return { get: (type, stateKey) => byKey.get(stateKeyOf(type, stateKey)) };
}

function asState(event: Event): readonly StateEvent[] {
  return event.stateKey === undefined ? [] : [{ ...event, stateKey: event.stateKey }];
}
