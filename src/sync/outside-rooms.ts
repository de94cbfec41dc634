/**
 * Rooms that this server is not in, and that the user is invited to or has knocked on, or was: all that is known of them
 * is what their servers showed. Where the room itself tells of the user as well, the newer of the two counts.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#stripped-state
 */
import { renderSyncStateText } from '../engine/client-events.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import { createEventWithId } from '../protocol/event.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import type { PlacedOutside } from '../storage/outside-memberships.ts';
import { type RoomText, renderRoom, stateSection } from './render.ts';
import { hidesInvitesOf, type SyncChanges, type SyncContext } from './types.ts';

/** The changes with each room in them once: as the room tells of the user, or as it was heard of from outside. */
export function withNewest(changes: SyncChanges): SyncChanges {
  if (changes.outside.length === 0) return changes;
  const inside = new Map(changes.rooms.map((room) => [room.roomId, room]));
  const outside = changes.outside.filter(({ roomId, position }) => {
    const room = inside.get(roomId);
    return room === undefined || (room.membership !== 'join' && position > (room.membershipPosition ?? 0));
  });
  const isOutside = new Set(outside.map(({ roomId }) => roomId));
  return {
    ...changes,
    outside,
    rooms: changes.rooms.filter(({ roomId }) => !isOutside.has(roomId)),
    deletedRooms: changes.deletedRooms.filter((roomId) => !isOutside.has(roomId)),
  };
}

export interface OutsideRooms {
  readonly invite: readonly (readonly [RoomId, string])[];
  readonly knock: readonly (readonly [RoomId, string])[];
  readonly leave: readonly (readonly [RoomId, RoomText])[];
}

export function renderOutsideRooms(
  context: SyncContext,
  rows: readonly PlacedOutside[],
  formatPosition: (position: number) => string,
): OutsideRooms {
  const { after, filter } = context;
  const rooms = rows.filter(({ roomId }) => filter.includesRoom(roomId));
  const of = (membership: PlacedOutside['membership']): readonly PlacedOutside[] =>
    rooms.filter((room) => room.membership === membership);
  return {
    invite: of('invite')
      .filter(({ sender }) => !hidesInvitesOf(context, sender))
      .map(({ roomId, strippedState }) => [roomId, `{"invite_state":{"events":${strippedState}}}`]),
    knock: of('knock').map(({ roomId, strippedState }) => [roomId, `{"knock_state":{"events":${strippedState}}}`]),
    leave: [...of('leave'), ...of('ban')]
      .filter(() => after > 0 || filter.includeLeave)
      .map((room) => [room.roomId, renderEnded(context, room, formatPosition(after))]),
  };
}

/** The event that ended it: of the room nothing else is known. */
function renderEnded({ useStateAfter }: SyncContext, room: PlacedOutside, prevBatch: string): RoomText {
  const events = [renderEvent(room)];
  return renderRoom({
    timeline: { events, limited: false, prevBatch },
    state: stateSection(useStateAfter, useStateAfter ? events : []),
  });
}

function renderEvent({ version, userId, eventId, pduText }: PlacedOutside): string {
  // Our own text, whose format was checked when it was stored.
  const event = createEventWithId(parseJsonText(pduText) as Pdu, version, eventId);
  return renderSyncStateText({ ...event, stateKey: userId });
}
