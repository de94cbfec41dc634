/**
 * https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { readUserId } from './room-requests.ts';

export function mutualRoomsEndpoints({ loadMutualRooms }: Pick<Rooms, 'loadMutualRooms'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      // MSC2666: where clients of before v1.19 ask.
      path: ['/_matrix/client/v1/mutual_rooms', '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms'],
      auth: 'user',
      rateLimit: 'search',
      query: Type.Object({ user_id: Type.String(), from: Type.Optional(Type.String()) }),
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms',
      async handle({ requester, query }) {
        const users = [requester.userId, readUserId(query.user_id)] as const;
        const { roomIds, count, nextBatch } = await loadMutualRooms(users, query.from);
        return { joined: roomIds, count, ...(nextBatch !== undefined && { next_batch: nextBatch }) };
      },
    }),
  ];
}
