/**
 * Users of other servers knock on rooms by way of this one.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import type { ResidentHandshakes } from '../../rooms/resident-handshakes.ts';
import { MAX_EVENT_BODY_BYTES, readEventId, readRoomId, readUserId } from './handshake-params.ts';

export interface KnockEndpointsOptions {
  readonly residentHandshakes: ResidentHandshakes;
}

export function knockEndpoints({ residentHandshakes }: KnockEndpointsOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/federation/v1/make_knock/{roomId}/{userId}',
      auth: 'server',
      query: Type.Object({ ver: Type.Optional(Type.Array(Type.String())) }),
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid',
      handle: ({ requester: origin, params, query }) =>
        residentHandshakes.makeKnock({
          origin,
          roomId: readRoomId(params.roomId),
          userId: readUserId(params.userId),
          versions: query.ver ?? [],
        }),
    }),
    defineEndpoint({
      method: 'PUT',
      path: '/_matrix/federation/v1/send_knock/{roomId}/{eventId}',
      auth: 'server',
      body: AnyObject,
      bodyLimit: MAX_EVENT_BODY_BYTES,
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid',
      async handle({ requester: origin, params, body, oddNumbers }) {
        const roomId = readRoomId(params.roomId);
        const eventId = readEventId(params.eventId);
        const shown = await residentHandshakes.sendKnock({ origin, roomId, eventId, body, oddNumbers });
        return { knock_room_state: shown };
      },
    }),
  ];
}
