/**
 * https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { getRoomVersion } from '../../protocol/room-version.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths, readRoomId, readUserId } from './room-requests.ts';

export function roomUpgradeEndpoints({ upgrade }: Pick<Rooms, 'upgrade'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/upgrade'),
      auth: 'user',
      rateLimit: 'room_creation',
      body: Type.Object({ new_version: Type.String(), additional_creators: Type.Optional(Type.Array(Type.String())) }),
      missingKey: 'M_MISSING_PARAM',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade',
      async handle({ requester, params, body }) {
        const version = getRoomVersion(body.new_version);
        if (version === undefined) {
          throw new MatrixError('M_UNSUPPORTED_ROOM_VERSION', 'The room version is not supported');
        }
        const additionalCreators = (body.additional_creators ?? []).map(readUserId);
        const roomId = readRoomId(params.roomId);
        return { replacement_room: await upgrade(requester, roomId, { version, additionalCreators }) };
      },
    }),
  ];
}
