/**
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths } from './room-requests.ts';

export function joinedRoomsEndpoints({ members }: Pick<Rooms, 'members'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/joined_rooms'),
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms',
      async handle({ requester }) {
        return { joined_rooms: await members.listJoinedRooms(requester.userId) };
      },
    }),
  ];
}
