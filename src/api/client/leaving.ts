/**
 * https://spec.matrix.org/v1.19/client-server-api/#leaving-rooms
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { Reason, reasonContent } from './membership-body.ts';
import { clientPaths, readRoomId } from './room-requests.ts';

export function leavingEndpoints({ memberships }: Pick<Rooms, 'memberships'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/leave'),
      auth: 'user',
      guests: true,
      body: Reason,
      strictNumbers: true,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave',
      async handle({ requester, params, body }) {
        await memberships.leave(requester, { roomId: readRoomId(params.roomId), content: reasonContent(body) });
        return {};
      },
    }),
  ];
}
