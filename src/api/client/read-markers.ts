/**
 * https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers
 */
import { Type } from 'typebox';
import type { Receipts } from '../../ephemeral/receipts.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { clientPaths, readRoomId } from './room-requests.ts';

const Body = Type.Object({
  'm.fully_read': Type.Optional(Type.String()),
  'm.read': Type.Optional(Type.String()),
  'm.read.private': Type.Optional(Type.String()),
});

const TYPES = ['m.fully_read', 'm.read', 'm.read.private'] as const;

export function createReadMarkerEndpoints({ receipts }: { readonly receipts: Receipts }): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/read_markers'),
      auth: 'user',
      body: Body,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers',
      async handle({ requester, params, body }) {
        const markers = TYPES.flatMap((type) => {
          const eventId = body[type];
          return eventId === undefined ? [] : [{ type, eventId }];
        });
        await receipts.move(readRoomId(params.roomId), requester.userId, markers);
        return {};
      },
    }),
  ];
}
