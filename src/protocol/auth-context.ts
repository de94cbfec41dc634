/**
 * What the rules look at when they judge one event: the event, the state to judge it against, and what nearly every
 * rule reads of that state, looked up once.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#authorization-rules
 */
import type { Event, StateEvent, StateView } from './pdu.ts';
import { type PowerLevels, readPowerLevels } from './power-levels.ts';
import type { RoomVersion } from './room-version.ts';

export interface AuthContext {
  readonly event: Event;
  readonly state: StateView;
  readonly version: RoomVersion;
  readonly create: StateEvent;
  readonly levels: PowerLevels;
}

/** The context of an event in a room whose create event is `create`. */
export function makeAuthContext(
  event: Event,
  state: StateView,
  room: { readonly version: RoomVersion; readonly create: StateEvent },
): AuthContext {
  return { event, state, version: room.version, create: room.create, levels: readPowerLevels(state, room.version) };
}

/** A user's membership in `state`; users without one are as those who left. */
export function membershipOf(state: StateView, userId: string): string {
  const membership = state.get('m.room.member', userId)?.content['membership'];
  return typeof membership === 'string' ? membership : 'leave';
}

/** The server part of any id, even a malformed one: what follows the first colon, or nothing. */
export function domainOf(id: string): string {
  const colon = id.indexOf(':');
  return colon === -1 ? '' : id.slice(colon + 1);
}
