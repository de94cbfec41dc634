/**
 * https://spec.matrix.org/v1.19/client-server-api/#banning-users-in-a-room
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { Target, targetedRequest } from './membership-body.ts';
import { clientPaths } from './room-requests.ts';

export function banningEndpoints({ memberships }: Pick<Rooms, 'memberships'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/ban'),
      auth: 'user',
      body: Target,
      strictNumbers: true,
      missingKey: 'M_MISSING_PARAM',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban',
      async handle({ requester, params, body }) {
        await memberships.ban(requester, targetedRequest(params.roomId, body));
        return {};
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/unban'),
      auth: 'user',
      body: Target,
      strictNumbers: true,
      missingKey: 'M_MISSING_PARAM',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban',
      async handle({ requester, params, body }) {
        await memberships.unban(requester, targetedRequest(params.roomId, body));
        return {};
      },
    }),
  ];
}
