/**
 * Rooms that the user is invited to or has knocked on: stripped state only, whatever the room's history visibility is.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#stripped-state
 */
import { renderStrippedState } from '../engine/client-events.ts';
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import { STRIPPED_TYPES } from '../protocol/stripped-state.ts';

/** The text of an entry in `rooms.invite`. */
export function renderInvitedRoom(snapshot: RoomSnapshot, userId: string): string {
  const inviter = snapshot.get('m.room.member', userId)?.sender;
  const users = inviter === undefined || inviter === userId ? [userId] : [inviter, userId];
  return `{"invite_state":{"events":${renderStripped(snapshot, users)}}}`;
}

/** The text of an entry in `rooms.knock`. */
export function renderKnockedRoom(snapshot: RoomSnapshot, userId: string): string {
  return `{"knock_state":{"events":${renderStripped(snapshot, [userId])}}}`;
}

function renderStripped(snapshot: RoomSnapshot, users: readonly string[]): string {
  const state = [
    ...STRIPPED_TYPES.map((type) => snapshot.get(type, '')),
    ...users.map((user) => snapshot.get('m.room.member', user)),
  ];
  return JSON.stringify(state.filter((entry) => entry !== undefined).map(renderStrippedState));
}
