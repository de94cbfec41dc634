/**
 * https://spec.matrix.org/v1.19/client-server-api/#knocking-on-rooms
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { resolveRoom } from './joining.ts';
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
      body: Reason,
      strictNumbers: true,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias',
      async handle({ requester, params, body }) {
        const roomId = await resolveRoom(aliases, params.roomIdOrAlias);
        await memberships.knock(requester, { roomId, content: reasonContent(body) });
        return { room_id: roomId };
      },
    }),
  ];
}
