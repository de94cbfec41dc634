/**
 * https://spec.matrix.org/v1.19/client-server-api/#redactions
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths, readEventId, readRoomId } from './room-requests.ts';

export function redactionEndpoints({ sender }: Pick<Rooms, 'sender'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'PUT',
      path: clientPaths('/rooms/{roomId}/redact/{eventId}/{txnId}'),
      auth: 'user',
      rateLimit: 'messages',
      body: AnyObject,
      strictNumbers: true,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid',
      async handle({ requester, params: { roomId, eventId, txnId }, body }) {
        const request = {
          roomId: readRoomId(roomId),
          redacts: readEventId(eventId),
          txnId,
          content: withoutTarget(body),
        };
        return { event_id: await sender.redact(requester, request) };
      },
    }),
  ];
}

/** The path alone says what is redacted. */
function withoutTarget({ redacts: _redacts, ...content }: JsonObject): JsonObject {
  return content;
}
