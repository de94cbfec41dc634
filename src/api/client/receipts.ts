/**
 * https://spec.matrix.org/v1.19/client-server-api/#receipts
 */
import type { MarkerType, Receipts } from '../../ephemeral/receipts.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import { clientPaths, readRoomId } from './room-requests.ts';

export function createReceiptEndpoints({ receipts }: { readonly receipts: Receipts }): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/receipt/{receiptType}/{eventId}'),
      auth: 'user',
      body: AnyObject,
      // Older clients send none.
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid',
      async handle({ requester, params, body }) {
        const type = readMarkerType(params.receiptType);
        const threadId = readThreadId(body);
        await receipts.move(readRoomId(params.roomId), requester.userId, [{ type, eventId: params.eventId, threadId }]);
        return {};
      },
    }),
  ];
}

function readMarkerType(text: string): MarkerType {
  if (text === 'm.read' || text === 'm.read.private' || text === 'm.fully_read') return text;
  throw new MatrixError('M_INVALID_PARAM', 'The receipt type has to be m.read, m.read.private or m.fully_read');
}

function readThreadId({ thread_id: threadId }: JsonObject): string | undefined {
  if (threadId === undefined || typeof threadId === 'string') return threadId;
  throw new MatrixError('M_INVALID_PARAM', 'thread_id must be a string');
}
