/**
 * History for other servers: what lies before events that they have, and what they miss between two.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { isEventId } from '../../protocol/ids.ts';
import { readRoomId } from '../client/room-requests.ts';
import { type ReadingEndpointsOptions, requireReadable, toTransaction } from './events.ts';

const MISSING_LIMIT = 10;
const EventIds = Type.Array(Type.String());

export function backfillEndpoints(options: ReadingEndpointsOptions): readonly Endpoint[] {
  return [backfillEndpoint(options), missingEventsEndpoint(options)];
}

function backfillEndpoint(options: ReadingEndpointsOptions): Endpoint {
  const { peers } = options;
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/backfill/{roomId}',
    auth: 'server',
    query: Type.Object({ v: EventIds, limit: Type.Integer({ minimum: 1 }) }),
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid',
    async handle({ requester: serverName, params, query }) {
      const roomId = readRoomId(params.roomId);
      await requireReadable(peers, serverName, roomId);
      const from = query.v.filter(isEventId);
      const pdus = await peers.loadBackfill({ serverName, roomId, from, limit: query.limit });
      return toTransaction(options, pdus ?? []);
    },
  });
}

function missingEventsEndpoint({ peers }: ReadingEndpointsOptions): Endpoint {
  return defineEndpoint({
    method: 'POST',
    path: '/_matrix/federation/v1/get_missing_events/{roomId}',
    auth: 'server',
    body: Type.Object({
      earliest_events: EventIds,
      latest_events: EventIds,
      limit: Type.Optional(Type.Integer({ minimum: 0 })),
      min_depth: Type.Optional(Type.Integer()),
    }),
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid',
    async handle({ requester: serverName, params, body }) {
      const roomId = readRoomId(params.roomId);
      await requireReadable(peers, serverName, roomId);
      const events = await peers.loadMissingEvents({
        serverName,
        roomId,
        earliest: body.earliest_events.filter(isEventId),
        latest: body.latest_events.filter(isEventId),
        limit: body.limit ?? MISSING_LIMIT,
        minDepth: body.min_depth ?? 0,
      });
      return { events: events ?? [] };
    },
  });
}
