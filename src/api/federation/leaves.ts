/**
 * Users of other servers leave rooms by way of this one.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
 */
import { answer } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import type { ResidentHandshakes } from '../../rooms/resident-handshakes.ts';
import { MAX_EVENT_BODY_BYTES, readEventId, readRoomId, readUserId } from './handshake-params.ts';

export interface LeaveEndpointsOptions {
  readonly residentHandshakes: ResidentHandshakes;
}

export function leaveEndpoints({ residentHandshakes }: LeaveEndpointsOptions): readonly Endpoint[] {
  const sending = { method: 'PUT', auth: 'server', body: AnyObject, bodyLimit: MAX_EVENT_BODY_BYTES } as const;
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/federation/v1/make_leave/{roomId}/{userId}',
      auth: 'server',
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid',
      handle: ({ requester: origin, params }) =>
        residentHandshakes.makeLeave({ origin, roomId: readRoomId(params.roomId), userId: readUserId(params.userId) }),
    }),
    defineEndpoint({
      ...sending,
      path: '/_matrix/federation/v2/send_leave/{roomId}/{eventId}',
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid',
      async handle({ requester: origin, params, body, oddNumbers }) {
        const roomId = readRoomId(params.roomId);
        const eventId = readEventId(params.eventId);
        await residentHandshakes.sendLeave({ origin, roomId, eventId, body, oddNumbers });
        return {};
      },
    }),
    defineEndpoint({
      ...sending,
      path: '/_matrix/federation/v1/send_leave/{roomId}/{eventId}',
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_leaveroomideventid',
      async handle({ requester: origin, params, body, oddNumbers }) {
        const roomId = readRoomId(params.roomId);
        const eventId = readEventId(params.eventId);
        await residentHandshakes.sendLeave({ origin, roomId, eventId, body, oddNumbers });
        return answer(200, [200, {}]);
      },
    }),
  ];
}
