/**
 * https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
 */
import { Type } from 'typebox';
import type { Typing } from '../../ephemeral/typing.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { RoomId } from '../../protocol/ids.ts';
import { checkOwnUser } from './own-user.ts';
import { clientPaths, readRoomId } from './room-requests.ts';

export interface TypingEndpointsOptions {
  readonly typing: Pick<Typing, 'start' | 'stop'>;
  readonly rooms: {
    loadSnapshot(roomId: RoomId): Promise<{ membershipOf(userId: string): string | undefined } | undefined>;
  };
}

const Body = Type.Object({ typing: Type.Boolean(), timeout: Type.Optional(Type.Integer()) });

export function createTypingEndpoints({ typing, rooms }: TypingEndpointsOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'PUT',
      path: clientPaths('/rooms/{roomId}/typing/{userId}'),
      auth: 'user',
      body: Body,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid',
      async handle({ requester, params, body }) {
        const userId = checkOwnUser(requester, params.userId);
        const roomId = readRoomId(params.roomId);
        const snapshot = await rooms.loadSnapshot(roomId);
        if (snapshot?.membershipOf(userId) !== 'join') throw new MatrixError('M_FORBIDDEN', 'You are not in this room');
        if (body.typing) typing.start(roomId, userId, body.timeout);
        else typing.stop(roomId, userId);
        return {};
      },
    }),
  ];
}
