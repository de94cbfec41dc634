/**
 * This server's published room directory, for other servers.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#published-room-directory
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import { loadPublicRooms, type PublicRoomsRequest } from '../../rooms/public-rooms.ts';
import type { Rooms } from '../../rooms/rooms.ts';

const PATH = '/_matrix/federation/v1/publicRooms';
/** Of one answer; whoever wants more goes on from `next_batch`. */
const MAX_ROOMS = 100;

const Limit = Type.Optional(Type.Integer());
const Text = Type.Optional(Type.Union([Type.String(), Type.Null()]));

export function federationPublicRoomsEndpoints({ database }: Pick<Rooms, 'database'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: PATH,
      auth: 'server',
      query: Type.Object({ limit: Limit, since: Type.Optional(Type.String()) }),
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms',
      handle: ({ query }) => answer(database, { limit: readLimit(query.limit), since: query.since }),
    }),
    defineEndpoint({
      method: 'POST',
      path: PATH,
      auth: 'server',
      body: Type.Object({
        limit: Limit,
        since: Text,
        filter: Type.Optional(
          Type.Object({
            generic_search_term: Text,
            room_types: Type.Optional(Type.Array(Type.Union([Type.String(), Type.Null()]))),
          }),
        ),
      }),
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms',
      handle({ body }) {
        return answer(database, {
          limit: readLimit(body.limit),
          since: body.since ?? undefined,
          searchTerm: body.filter?.generic_search_term ?? undefined,
          roomTypes: body.filter?.room_types,
        });
      },
    }),
  ];
}

/** 0 and nothing both stand for as many as there are. */
function readLimit(limit: number | undefined): number {
  return limit === undefined || limit <= 0 ? MAX_ROOMS : Math.min(limit, MAX_ROOMS);
}

async function answer(database: Rooms['database'], request: PublicRoomsRequest): Promise<JsonObject> {
  const { chunk, nextBatch, prevBatch, total } = await loadPublicRooms(database, request);
  return {
    chunk,
    total_room_count_estimate: total,
    ...(nextBatch !== undefined && { next_batch: nextBatch }),
    ...(prevBatch !== undefined && { prev_batch: prevBatch }),
  };
}
