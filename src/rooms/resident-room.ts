/**
 * A room as a server that is in it shows it to a server that wants in: it is there only while users of ours are, and only
 * for servers that its access control list lets take part.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 */
import { createLocalMembers } from '../engine/local-members.ts';
import { createRoomAcls } from '../engine/room-acls.ts';
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId, ServerName } from '../protocol/ids.ts';

export interface ResidentRoomOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly serverName: ServerName;
}

/** Throws M_NOT_FOUND where we cannot speak for the room, M_FORBIDDEN where the server may not take part in it. */
export type LoadResidentRoom = (roomId: RoomId, origin: ServerName) => Promise<RoomSnapshot>;

export function createResidentRooms({ engine, serverName }: ResidentRoomOptions): LoadResidentRoom {
  const isInhabited = createLocalMembers(serverName);
  const isAllowed = createRoomAcls();
  return async (roomId, origin) => {
    const snapshot = await engine.loadSnapshot(roomId);
    if (snapshot === undefined || !isInhabited(snapshot)) {
      throw new MatrixError('M_NOT_FOUND', 'This server is not in the room');
    }
    if (snapshot.isPartial) throw new MatrixError('M_NOT_FOUND', 'This server does not know all of the room yet');
    if (!isAllowed(snapshot, origin)) {
      throw new MatrixError('M_FORBIDDEN', 'The room does not let your server take part');
    }
    return snapshot;
  };
}
