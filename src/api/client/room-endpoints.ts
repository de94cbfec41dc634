/**
 * Every endpoint of the rooms API.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#rooms-1
 */
import type { Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { banningEndpoints } from './banning.ts';
import { createRoomEndpoints } from './create-room.ts';
import { directoryEndpoints } from './directory.ts';
import { eventContextEndpoints } from './event-context.ts';
import { forgetEndpoints } from './forget.ts';
import { invitingEndpoints } from './inviting.ts';
import { joinedRoomsEndpoints } from './joined-rooms.ts';
import { joiningEndpoints } from './joining.ts';
import { kickingEndpoints } from './kicking.ts';
import { knockingEndpoints } from './knocking.ts';
import { leavingEndpoints } from './leaving.ts';
import { mutualRoomsEndpoints } from './mutual-rooms.ts';
import { peekingEndpoints } from './peeking-events.ts';
import { redactionEndpoints } from './redaction.ts';
import { relationEndpoints } from './relations.ts';
import { reportEndpoints } from './reports.ts';
import { roomAliasEndpoints } from './room-aliases.ts';
import { roomSendEndpoints } from './room-send.ts';
import { roomStateEndpoints } from './room-state.ts';
import { roomSummaryEndpoints } from './room-summary.ts';
import { roomUpgradeEndpoints } from './room-upgrades.ts';
import { roomReadingEndpoints } from './rooms.ts';
import { searchEndpoints } from './search.ts';
import { spaceHierarchyEndpoints } from './space-hierarchy.ts';
import { thirdPartyLookupEndpoints } from './third-party-lookup.ts';
import { timestampToEventEndpoints } from './timestamp-to-event.ts';
import { userDirectoryEndpoints } from './user-directory.ts';

export function roomEndpoints(rooms: Rooms): readonly Endpoint[] {
  return [
    ...createRoomEndpoints(rooms),
    ...joiningEndpoints(rooms),
    ...leavingEndpoints(rooms),
    ...forgetEndpoints(rooms),
    ...invitingEndpoints(rooms),
    ...kickingEndpoints(rooms),
    ...banningEndpoints(rooms),
    ...knockingEndpoints(rooms),
    ...roomSendEndpoints(rooms),
    ...redactionEndpoints(rooms),
    ...roomStateEndpoints(rooms),
    ...roomReadingEndpoints(rooms),
    ...eventContextEndpoints(rooms),
    ...relationEndpoints(rooms),
    ...timestampToEventEndpoints(rooms),
    ...joinedRoomsEndpoints(rooms),
    ...roomAliasEndpoints(rooms),
    ...directoryEndpoints(rooms),
    ...roomUpgradeEndpoints(rooms),
    ...roomSummaryEndpoints(rooms),
    ...spaceHierarchyEndpoints(rooms),
    ...reportEndpoints(rooms),
    ...searchEndpoints(rooms),
    ...peekingEndpoints(rooms),
    ...mutualRoomsEndpoints(rooms),
    ...userDirectoryEndpoints(rooms),
    ...thirdPartyLookupEndpoints(),
  ];
}
