/**
 * The published room directory.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { parseServerName } from '../../protocol/ids.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import { loadPublicRooms, type PublicRoomsRequest } from '../../rooms/public-rooms.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths, readLimit, readRoomId } from './room-requests.ts';

const LIMIT = { default: 100, max: 100 } as const;

const Limit = Type.Optional(Type.Integer({ minimum: 0 }));
const Server = Type.Optional(Type.String());

type Ports = Pick<Rooms, 'aliases' | 'database' | 'serverName' | 'remoteDirectory'>;

export function directoryEndpoints(rooms: Ports): readonly Endpoint[] {
  return [...visibilityEndpoints(rooms), ...publicRoomsEndpoints(rooms)];
}

function visibilityEndpoints({ aliases }: Ports): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/directory/list/room/{roomId}'),
      auth: 'none',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid',
      async handle({ params }) {
        return { visibility: (await aliases.isPublished(readRoomId(params.roomId))) ? 'public' : 'private' };
      },
    }),
    defineEndpoint({
      method: 'PUT',
      path: clientPaths('/directory/list/room/{roomId}'),
      auth: 'user',
      body: Type.Object({ visibility: Type.Optional(Type.Union([Type.Literal('public'), Type.Literal('private')])) }),
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid',
      async handle({ requester, params, body }) {
        await aliases.setPublished(requester, readRoomId(params.roomId), body.visibility !== 'private');
        return {};
      },
    }),
  ];
}

function publicRoomsEndpoints(rooms: Ports): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/publicRooms'),
      auth: 'none',
      query: Type.Object({ limit: Limit, since: Type.Optional(Type.String()), server: Server }),
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms',
      handle({ query }) {
        return answerPublicRooms(rooms, query.server, { limit: readSize(query.limit), since: query.since });
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/publicRooms'),
      auth: 'user',
      rateLimit: 'search',
      query: Type.Object({ server: Server }),
      body: Type.Object({
        limit: Limit,
        since: Type.Optional(Type.String()),
        filter: Type.Optional(
          Type.Object({
            generic_search_term: Type.Optional(Type.Union([Type.String(), Type.Null()])),
            room_types: Type.Optional(Type.Array(Type.Union([Type.String(), Type.Null()]))),
          }),
        ),
        include_all_networks: Type.Optional(Type.Boolean()),
        third_party_instance_id: Type.Optional(Type.String()),
      }),
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms',
      handle({ query, body }) {
        return answerPublicRooms(rooms, query.server, {
          limit: readSize(body.limit),
          since: body.since,
          searchTerm: body.filter?.generic_search_term ?? undefined,
          roomTypes: body.filter?.room_types,
        });
      },
    }),
  ];
}

/** Older clients ask for 0 and mean as many as there are. */
function readSize(limit: number | undefined): number {
  return readLimit(limit === 0 ? undefined : limit, LIMIT);
}

async function answerPublicRooms(
  { database, serverName, remoteDirectory }: Ports,
  server: string | undefined,
  request: PublicRoomsRequest,
): Promise<JsonObject> {
  if (server !== undefined && server !== serverName) {
    const name = parseServerName(server);
    if (name === undefined) throw new MatrixError('M_INVALID_PARAM', 'server is not the name of a server');
    if (remoteDirectory !== undefined) return remoteDirectory.fetchPublicRooms(name, toRemoteRequest(request));
    throw new MatrixError('M_UNKNOWN', 'The directories of other servers cannot be asked', { status: 502 });
  }
  const { chunk, nextBatch, prevBatch, total } = await loadPublicRooms(database, request);
  return {
    chunk,
    total_room_count_estimate: total,
    ...(nextBatch !== undefined && { next_batch: nextBatch }),
    ...(prevBatch !== undefined && { prev_batch: prevBatch }),
  };
}

function toRemoteRequest({ limit, since, searchTerm, roomTypes }: PublicRoomsRequest): JsonObject {
  const filter = {
    ...(searchTerm !== undefined && { generic_search_term: searchTerm }),
    ...(roomTypes !== undefined && { room_types: roomTypes }),
  };
  return { limit, ...(since !== undefined && { since }), ...(Object.keys(filter).length > 0 && { filter }) };
}
