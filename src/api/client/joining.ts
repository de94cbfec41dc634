/**
 * Joining rooms by id or alias.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#joining-rooms
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import type { RoomId } from '../../protocol/ids.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths, readAlias, readRoomId } from './room-requests.ts';

type Ports = Pick<Rooms, 'memberships' | 'aliases'>;

export function joiningEndpoints({ memberships, aliases }: Ports): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/join'),
      auth: 'user',
      guests: true,
      rateLimit: 'joins',
      body: AnyObject,
      strictNumbers: true,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin',
      async handle({ requester, params, body }) {
        const roomId = readRoomId(params.roomId);
        await memberships.join(requester, { roomId, content: memberContent(body) });
        return { room_id: roomId };
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/join/{roomIdOrAlias}'),
      auth: 'user',
      rateLimit: 'joins',
      body: AnyObject,
      strictNumbers: true,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias',
      async handle({ requester, params, body }) {
        const roomId = await resolveRoom(aliases, params.roomIdOrAlias);
        await memberships.join(requester, { roomId, content: memberContent(body) });
        return { room_id: roomId };
      },
    }),
  ];
}

/** The room that an id or alias means. */
export async function resolveRoom(aliases: Ports['aliases'], idOrAlias: string): Promise<RoomId> {
  return idOrAlias.startsWith('#') ? aliases.resolve(readAlias(idOrAlias)) : readRoomId(idOrAlias);
}

/** Whatever else the client sends becomes part of its member event, as other servers do it too. */
function memberContent(body: JsonObject): JsonObject {
  const { third_party_signed: _signed, membership: _membership, ...content } = body;
  return content;
}
