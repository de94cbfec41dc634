/**
 * Reading along relations: children of an event, threads of a room.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#relationships-api
 */
import { type Static, Type } from 'typebox';
import { type Answer, rawJson } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint, type Requester } from '../../http/endpoint.ts';
import type { RoomId } from '../../protocol/ids.ts';
import { formatPosition, parsePosition } from '../../rooms/pagination-token.ts';
import { RECURSION_DEPTH, type RelationsPage } from '../../rooms/relations.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { renderBundledEvent } from './bundled-events.ts';
import { readEventId, readLimit, readRoomId } from './room-requests.ts';

const LIMIT = { default: 20, max: 100 } as const;

const RelationsQuery = Type.Object({
  from: Type.Optional(Type.String()),
  to: Type.Optional(Type.String()),
  dir: Type.Optional(Type.Union([Type.Literal('b'), Type.Literal('f')])),
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  recurse: Type.Optional(Type.Boolean()),
});
const ThreadsQuery = Type.Object({
  from: Type.Optional(Type.String()),
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  include: Type.Optional(Type.Union([Type.Literal('all'), Type.Literal('participated')])),
});

type Ports = Pick<Rooms, 'aggregations' | 'relations' | 'clock' | 'writerId'>;

export function relationEndpoints(rooms: Ports): readonly Endpoint[] {
  return [childrenEndpoint(rooms), threadsEndpoint(rooms)];
}

const RELATIONS_PATH = '/_matrix/client/v1/rooms/{roomId}/relations/{eventId}';

function childrenEndpoint(rooms: Ports): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: [RELATIONS_PATH, `${RELATIONS_PATH}/{relType}`, `${RELATIONS_PATH}/{relType}/{eventType}`],
    auth: 'user',
    query: RelationsQuery,
    spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid',
    async handle({ requester, params, query }) {
      const roomId = readRoomId(params.roomId);
      const page = await rooms.relations.loadChildren(requester, roomId, {
        ...readRange(rooms.writerId, query),
        eventId: readEventId(params.eventId),
        relType: params.relType,
        type: params.eventType,
      });
      return renderPage(rooms, { requester, roomId, page }, [
        ...(query.from === undefined ? [] : [`"prev_batch":${JSON.stringify(query.from)}`]),
        ...(query.recurse === undefined ? [] : [`"recursion_depth":${query.recurse ? RECURSION_DEPTH : 1}`]),
      ]);
    },
  });
}

function readRange(writerId: number, query: Static<typeof RelationsQuery>) {
  return {
    direction: query.dir === 'f' ? ('forward' as const) : ('backward' as const),
    from: query.from === undefined ? undefined : parsePosition(writerId, 'from', query.from),
    to: query.to === undefined ? undefined : parsePosition(writerId, 'to', query.to),
    limit: Math.max(readLimit(query.limit, LIMIT), 1),
    recurse: query.recurse ?? false,
  };
}

function threadsEndpoint(rooms: Ports): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/client/v1/rooms/{roomId}/threads',
    auth: 'user',
    query: ThreadsQuery,
    spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads',
    async handle({ requester, params, query }) {
      const roomId = readRoomId(params.roomId);
      const page = await rooms.relations.loadThreads(requester, roomId, {
        from: query.from === undefined ? undefined : parsePosition(rooms.writerId, 'from', query.from),
        limit: Math.max(readLimit(query.limit, LIMIT), 1),
        onlyParticipated: query.include === 'participated',
      });
      return renderPage(rooms, { requester, roomId, page }, []);
    },
  });
}

interface ReadPage {
  readonly requester: Requester;
  readonly roomId: RoomId;
  readonly page: RelationsPage;
}

async function renderPage(
  { aggregations: loader, clock, writerId }: Ports,
  { requester, roomId, page: { events, end } }: ReadPage,
  fields: readonly string[],
): Promise<Answer> {
  const aggregations = await loader.load(requester, roomId, events);
  const rendering = { aggregations, reader: requester, now: clock.now() };
  const chunk = `"chunk":[${events.map((event) => renderBundledEvent(event, rendering)).join()}]`;
  const next = end === undefined ? [] : [`"next_batch":${JSON.stringify(formatPosition(writerId, end))}`];
  return rawJson(`{${[chunk, ...next, ...fields].join()}}`);
}
