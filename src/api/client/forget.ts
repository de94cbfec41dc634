/**
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths, readRoomId } from './room-requests.ts';

export function forgetEndpoints({ memberships }: Pick<Rooms, 'memberships'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/forget'),
      auth: 'user',
      body: AnyObject,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget',
      async handle({ requester, params }) {
        await memberships.forget(requester, readRoomId(params.roomId));
        return {};
      },
    }),
  ];
}
