/**
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { readRoomId } from './room-requests.ts';

const Query = Type.Object({
  ts: Type.Integer(),
  dir: Type.Union([Type.Literal('b'), Type.Literal('f')]),
});

export function timestampToEventEndpoints({ loadEventAtTime }: Pick<Rooms, 'loadEventAtTime'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v1/rooms/{roomId}/timestamp_to_event',
      auth: 'user',
      query: Query,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event',
      async handle({ requester, params, query }) {
        const direction = query.dir === 'f' ? 'forward' : 'backward';
        const request = { at: query.ts, direction } as const;
        const { event } = await loadEventAtTime(requester, readRoomId(params.roomId), request);
        return { event_id: event.eventId, origin_server_ts: event.originServerTs };
      },
    }),
  ];
}
