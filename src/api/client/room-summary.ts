/**
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { parseRoomAlias, parseRoomId, type RoomId } from '../../protocol/ids.ts';
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
      query: Type.Object({ via: Type.Optional(Type.Array(Type.String())) }),
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias',
      async handle({ requester, params }) {
        return rooms.loadSummary(requester?.userId, await resolve(rooms, params.roomIdOrAlias));
      },
    }),
  ];
}

/** What is no id of a room is one that does not exist. */
async function resolve({ aliases }: Ports, text: string): Promise<RoomId> {
  const alias = parseRoomAlias(text);
  const roomId = alias === undefined ? parseRoomId(text) : await aliases.resolve(alias);
  if (roomId === undefined) throw unknownRoom();
  return roomId;
}
