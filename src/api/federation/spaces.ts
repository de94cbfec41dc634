/**
 * Spaces and their children, for servers whose users look for rooms.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#spaces
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { readRoomId } from '../client/room-requests.ts';

export function federationSpacesEndpoints({
  loadServedHierarchy,
}: Pick<Rooms, 'loadServedHierarchy'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/federation/v1/hierarchy/{roomId}',
      auth: 'server',
      query: Type.Object({ suggested_only: Type.Optional(Type.Boolean()) }),
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid',
      async handle({ requester, params, query }) {
        const found = await loadServedHierarchy(requester, {
          roomId: readRoomId(params.roomId),
          suggestedOnly: query.suggested_only ?? false,
        });
        return { room: found.room, children: found.children, inaccessible_children: found.inaccessibleChildren };
      },
    }),
  ];
}
