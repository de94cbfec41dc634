/**
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths, readRoomId } from './room-requests.ts';

export function roomSendEndpoints({ sender }: Pick<Rooms, 'sender'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'PUT',
      path: clientPaths('/rooms/{roomId}/send/{eventType}/{txnId}'),
      auth: 'user',
      guests: true,
      rateLimit: 'messages',
      body: AnyObject,
      strictNumbers: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid',
      async handle({ requester, params: { roomId, eventType: type, txnId }, body: content }) {
        const request = { roomId: readRoomId(roomId), type, txnId, content };
        return { event_id: await sender.send(requester, request) };
      },
    }),
  ];
}
