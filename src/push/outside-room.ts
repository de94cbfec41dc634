/**
 * A room that this server is not in, as far as an invite to it tells: enough to judge the invite by the push rules, and to
 * name the room and the inviter in a push.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import { createEventWithId } from '../protocol/event.ts';
import type { Event, Pdu, StateEvent } from '../protocol/pdu.ts';
import type { StrippedEvent } from '../protocol/stripped-state.ts';
import type { PlacedOutside } from '../storage/outside-memberships.ts';
import type { PushRoomState } from './types.ts';

/** The membership event itself. */
export function readOutsideEvent({ pduText, eventId, version }: PlacedOutside): Event {
  // Our own text, whose format was checked when it was stored.
  return createEventWithId(parseJsonText(pduText) as Pdu, version, eventId);
}

export function createOutsideRoom(outside: PlacedOutside): PushRoomState {
  const { version, userId, membership } = outside;
  const event = readOutsideEvent(outside);
  const stripped = parseJsonText(outside.strippedState) as readonly StrippedEvent[];
  const state = new Map(stripped.map((entry) => [keyOf(entry.type, entry.state_key), entry]));
  return {
    version,
    joinedCount: 0,
    parts: { members: stripped },
    membershipOf: (of) => (of === userId ? membership : undefined),
    members: () => [],
    get: (type, stateKey) => toState(state.get(keyOf(type, stateKey)), event),
  };
}

/** Nothing of what stripped state lacks is asked for here: it is filled in from the event that it came with. */
function toState(stripped: StrippedEvent | undefined, event: Event): StateEvent | undefined {
  if (stripped === undefined) return undefined;
  const { type, state_key: stateKey, content } = stripped;
  return {
    type,
    stateKey,
    content,
    sender: event.sender,
    eventId: event.eventId,
    originServerTs: event.originServerTs,
  };
}

function keyOf(type: string, stateKey: string): string {
  return `${type}\u0000${stateKey}`;
}
