/**
 * https://spec.matrix.org/v1.19/client-server-api/#room-aliases
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths, readAlias, readRoomId } from './room-requests.ts';

export function roomAliasEndpoints({ aliases }: Pick<Rooms, 'aliases'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/directory/room/{roomAlias}'),
      auth: 'none',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias',
      async handle({ params }) {
        const { roomId, servers } = await aliases.find(readAlias(params.roomAlias));
        return { room_id: roomId, servers };
      },
    }),
    defineEndpoint({
      method: 'PUT',
      path: clientPaths('/directory/room/{roomAlias}'),
      auth: 'user',
      body: Type.Object({ room_id: Type.String() }),
      missingKey: 'M_MISSING_PARAM',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias',
      async handle({ requester, params, body }) {
        await aliases.create(requester, readAlias(params.roomAlias), readRoomId(body.room_id));
        return {};
      },
    }),
    defineEndpoint({
      method: 'DELETE',
      path: clientPaths('/directory/room/{roomAlias}'),
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias',
      async handle({ requester, params }) {
        await aliases.delete(requester, readAlias(params.roomAlias));
        return {};
      },
    }),
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/rooms/{roomId}/aliases'),
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases',
      async handle({ requester, params }) {
        return { aliases: await aliases.list(requester, readRoomId(params.roomId)) };
      },
    }),
  ];
}
