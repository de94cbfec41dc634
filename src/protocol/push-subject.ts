/**
 * An event on its way through the push rules of many users: what the rules read of it is worked out once, when the first
 * of them asks, and kept for the others.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#conditions
 */
import { foldCase } from '../lib/glob.ts';
import type { Event, JsonObject, JsonValue } from './pdu.ts';
import { getProperty, parsePropertyPath } from './property-path.ts';

/** What the rules ask about the room, the same for all its members. */
export interface PushRoom {
  readonly memberCount: number;
  /** Whether the sender's power level allows the notification `key`, such as `room`. */
  readonly canNotify: (key: string) => boolean;
}

export interface PushSubject {
  readonly event: Event;
  readonly room: PushRoom;
  /** The property at a dot-separated path of the event. */
  property(path: string): JsonValue | undefined;
  /** The string at a path with its case folded; undefined where there is no string. */
  foldedText(path: string): string | undefined;
}

/** Paths kept per event: users may invent any number, while those of ordinary rules are about ten. */
const MAX_REMEMBERED_PATHS = 256;

/** Prepares an event for `evaluatePushRules`. */
export function createPushSubject(event: Event, room: PushRoom): PushSubject {
  const root = toRoot(event);
  const property = remember((path: string) => getProperty(root, parsePropertyPath(path)));
  const foldedText = remember((path: string) => {
    const value = property(path);
    return typeof value === 'string' ? foldCase(value) : undefined;
  });
  return { event, room, property, foldedText };
}

/** The event as clients see it; rules may name any of its properties. */
function toRoot(event: Event): JsonObject {
  return {
    content: event.content,
    event_id: event.eventId,
    origin_server_ts: event.originServerTs,
    room_id: event.roomId,
    sender: event.sender,
    type: event.type,
    ...(event.stateKey !== undefined && { state_key: event.stateKey }),
    ...(event.redacts !== undefined && { redacts: event.redacts }),
  };
}

function remember<T>(work: (path: string) => T): (path: string) => T {
  const known = new Map<string, { readonly value: T }>();
  return (path) => {
    const found = known.get(path);
    if (found !== undefined) return found.value;
    const value = work(path);
    if (known.size < MAX_REMEMBERED_PATHS) known.set(path, { value });
    return value;
  };
}
