/**
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { Target, targetedRequest } from './membership-body.ts';
import { clientPaths } from './room-requests.ts';

export function kickingEndpoints({ memberships }: Pick<Rooms, 'memberships'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/kick'),
      auth: 'user',
      body: Target,
      strictNumbers: true,
      missingKey: 'M_MISSING_PARAM',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick',
      async handle({ requester, params, body }) {
        await memberships.kick(requester, targetedRequest(params.roomId, body));
        return {};
      },
    }),
  ];
}
