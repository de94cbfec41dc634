/**
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
 */
import { Type } from 'typebox';
import type { RemoteAlias } from '../../federation/remote-directory.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { isServerName, parseRoomAlias, parseRoomId } from '../../protocol/ids.ts';
import { unknownRoom } from '../../rooms/room-summary.ts';
import type { Rooms } from '../../rooms/rooms.ts';

type Ports = Pick<Rooms, 'aliases' | 'loadSummary'>;

export function roomSummaryEndpoints(rooms: Ports): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      // MSC3266: where clients of before v1.15 ask.
      path: [
        '/_matrix/client/v1/room_summary/{roomIdOrAlias}',
        '/_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary',
        '/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}',
      ],
      auth: 'optional',
      guests: true,
      // It may have us ask other servers.
      rateLimit: 'search',
      query: Type.Object({ via: Type.Optional(Type.Array(Type.String())) }),
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias',
      async handle({ requester, params, query }) {
        const { roomId, servers } = await resolve(rooms, params.roomIdOrAlias);
        const named = (query.via ?? []).filter(isServerName);
        // Who asks without an account must not have us ask servers of their choice.
        const via = requester === undefined ? [] : [...named, ...servers];
        return rooms.loadSummary(requester?.userId, { roomId, via });
      },
    }),
  ];
}

/** What is no id of a room is one that does not exist. */
async function resolve({ aliases }: Ports, text: string): Promise<RemoteAlias> {
  const alias = parseRoomAlias(text);
  if (alias !== undefined) return aliases.find(alias);
  const roomId = parseRoomId(text);
  if (roomId === undefined) throw unknownRoom();
  return { roomId, servers: [] };
}
