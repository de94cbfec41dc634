/**
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
 */
import { type Static, Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { RoomId } from '../../protocol/ids.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { type HierarchyRequest, MAX_VISITED } from '../../rooms/space-hierarchy.ts';
import { readLimit, readRoomId } from './room-requests.ts';

const LIMIT = { default: 50, max: 50 } as const;
/** Deeper trees than anybody built so far. */
const MAX_DEPTH = 50;

const Query = Type.Object({
  suggested_only: Type.Optional(Type.Boolean()),
  limit: Type.Optional(Type.Integer({ minimum: 1 })),
  max_depth: Type.Optional(Type.Integer({ minimum: 0 })),
  from: Type.Optional(Type.String()),
});

export function spaceHierarchyEndpoints({ loadHierarchy }: Pick<Rooms, 'loadHierarchy'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v1/rooms/{roomId}/hierarchy',
      auth: 'user',
      rateLimit: 'search',
      query: Query,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy',
      async handle({ requester, params, query }) {
        const request = toRequest(readRoomId(params.roomId), query);
        const { rooms, hasMore } = await loadHierarchy(requester.userId, request);
        const next = { ...request, skip: request.skip + rooms.length };
        return { rooms, ...(hasMore && { next_batch: formatToken(next) }) };
      },
    }),
  ];
}

function toRequest(roomId: RoomId, query: Static<typeof Query>): HierarchyRequest {
  const request = {
    roomId,
    suggestedOnly: query.suggested_only ?? false,
    maxDepth: Math.min(query.max_depth ?? MAX_DEPTH, MAX_DEPTH),
    limit: readLimit(query.limit, LIMIT),
  };
  if (query.from === undefined) return { ...request, skip: 0 };
  const token = /^h(\d{1,4})_(.+)$/.exec(query.from);
  const skip = Number(token?.[1]);
  if (token === null || skip > MAX_VISITED) {
    throw new MatrixError('M_INVALID_PARAM', 'from is not a token that this server gave');
  }
  if (query.from !== formatToken({ ...request, skip })) {
    throw new MatrixError('M_INVALID_PARAM', 'The room, suggested_only and max_depth cannot change between pages');
  }
  return { ...request, skip };
}

/** How many rooms to leave out, and what must stay the same for that to mean anything. */
function formatToken({ roomId, suggestedOnly, maxDepth, skip }: HierarchyRequest): string {
  return `h${skip}_${maxDepth}${suggestedOnly ? 's' : 'a'}_${Buffer.from(roomId).toString('base64url')}`;
}
