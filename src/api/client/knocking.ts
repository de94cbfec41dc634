/**
 * https://spec.matrix.org/v1.19/client-server-api/#knocking-on-rooms
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { findRoom, Via } from './joining.ts';
import { Reason, reasonContent } from './membership-body.ts';
import { clientPaths } from './room-requests.ts';

export function knockingEndpoints({
  memberships,
  aliases,
}: Pick<Rooms, 'memberships' | 'aliases'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/knock/{roomIdOrAlias}'),
      auth: 'user',
      rateLimit: 'joins',
      query: Via,
      body: Reason,
      strictNumbers: true,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias',
      async handle({ requester, params, query, body }) {
        const { roomId, servers } = await findRoom(aliases, params.roomIdOrAlias, query);
        await memberships.knock(requester, { roomId, servers, content: reasonContent(body) });
        return { room_id: roomId };
      },
    }),
  ];
}
