/**
 * Joining rooms by id or alias.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#joining-rooms
 */
import { type Static, Type } from 'typebox';
import type { RemoteAlias } from '../../federation/remote-directory.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { parseServerName } from '../../protocol/ids.ts';
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
      query: Via,
      body: AnyObject,
      strictNumbers: true,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias',
      async handle({ requester, params, query, body }) {
        const { roomId, servers } = await findRoom(aliases, params.roomIdOrAlias, query);
        await memberships.join(requester, { roomId, servers, content: memberContent(body) });
        return { room_id: roomId };
      },
    }),
  ];
}

/** `server_name` is what `via` was called before. */
export const Via = Type.Object({
  via: Type.Optional(Type.Array(Type.String())),
  server_name: Type.Optional(Type.Array(Type.String())),
});

/** Servers that one request may name; what is no server name counts for nothing. */
const MAX_VIA = 20;

/** The room that an id or alias means, with servers that may be in it: those named first. */
export async function findRoom(
  aliases: Ports['aliases'],
  idOrAlias: string,
  { via = [], server_name = [] }: Static<typeof Via>,
): Promise<RemoteAlias> {
  const servers = [...via, ...server_name].slice(0, MAX_VIA).flatMap((name) => parseServerName(name) ?? []);
  if (!idOrAlias.startsWith('#')) return { roomId: readRoomId(idOrAlias), servers };
  const found = await aliases.find(readAlias(idOrAlias));
  return { roomId: found.roomId, servers: [...servers, ...found.servers] };
}

/** Whatever else the client sends becomes part of its member event, as other servers do it too. */
function memberContent(body: JsonObject): JsonObject {
  const { third_party_signed: _signed, membership: _membership, ...content } = body;
  return content;
}
