/**
 * The auth events selection: which events of the room state give an event its permission. What is selected depends on
 * the event alone, so the same list of types serves to build our events and to judge the auth events of others.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
 */
import type { JsonObject, StateEvent } from './pdu.ts';
import { entryOf } from './power-levels.ts';
import type { RoomVersion } from './room-version.ts';

/** What of an event decides about its auth events; an `Event` fits, and so does one that is still being built. */
export interface AuthEventsInput {
  readonly type: string;
  readonly stateKey: string | undefined;
  readonly sender: string;
  readonly content: JsonObject;
}

export interface StateKeyPair {
  readonly type: string;
  readonly stateKey: string;
}

/** The events of `state` that authorize `event`, as the state gives them. */
export function selectAuthEvents<Found extends StateEvent>(
  event: AuthEventsInput,
  state: { get(type: string, stateKey: string): Found | undefined },
  version: RoomVersion,
): Found[] {
  const selected: Found[] = [];
  for (const { type, stateKey } of listAuthTypes(event, version)) {
    const found = state.get(type, stateKey);
    if (found !== undefined) selected.push(found);
  }
  return selected;
}

/** The types and state keys that the selection may take for `event`, without repetition. */
export function listAuthTypes(event: AuthEventsInput, version: RoomVersion): StateKeyPair[] {
  if (event.type === 'm.room.create') return [];
  const pairs: StateKeyPair[] = [];
  if (!version.roomIdFromCreate) pairs.push({ type: 'm.room.create', stateKey: '' });
  pairs.push({ type: 'm.room.power_levels', stateKey: '' }, { type: 'm.room.member', stateKey: event.sender });
  if (event.type === 'm.room.member') addMemberTypes(pairs, event, version);
  return pairs;
}

function addMemberTypes(pairs: StateKeyPair[], event: AuthEventsInput, version: RoomVersion): void {
  const { content, stateKey, sender } = event;
  const membership = content['membership'];
  if (stateKey !== undefined && stateKey !== sender) pairs.push({ type: 'm.room.member', stateKey });
  if (membership === 'join' || membership === 'invite' || membership === 'knock') {
    pairs.push({ type: 'm.room.join_rules', stateKey: '' });
  }
  if (membership === 'invite') {
    const token = entryOf(entryOf(content['third_party_invite'], 'signed'), 'token');
    if (typeof token === 'string') pairs.push({ type: 'm.room.third_party_invite', stateKey: token });
  }
  if (membership === 'join' && version.restricted) {
    const authoriser = content['join_authorised_via_users_server'];
    if (typeof authoriser === 'string' && authoriser !== stateKey && authoriser !== sender) {
      pairs.push({ type: 'm.room.member', stateKey: authoriser });
    }
  }
}
