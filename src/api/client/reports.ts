/**
 * Reporting events, rooms and users. What does not exist is answered like what does.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#reporting-content
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { optional } from '../../http/schema.ts';
import { parseEventId, parseRoomId, parseUserId } from '../../protocol/ids.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths } from './room-requests.ts';

const ReasonRequired = Type.Object({ reason: Type.String() });
const ReasonOptional = Type.Object({ reason: optional(Type.String()) });

export function reportEndpoints({ reports }: Pick<Rooms, 'reports'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/report/{eventId}'),
      auth: 'user',
      rateLimit: 'reports',
      body: ReasonOptional,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid',
      async handle({ requester, params, body }) {
        const [roomId, eventId] = [parseRoomId(params.roomId), parseEventId(params.eventId)];
        if (roomId !== undefined && eventId !== undefined) {
          await reports.reportEvent(requester, { roomId, eventId }, body.reason ?? '');
        }
        return {};
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/report'),
      auth: 'user',
      rateLimit: 'reports',
      body: ReasonRequired,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport',
      async handle({ requester, params, body }) {
        const roomId = parseRoomId(params.roomId);
        if (roomId !== undefined) await reports.reportRoom(requester, roomId, body.reason);
        return {};
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/users/{userId}/report'),
      auth: 'user',
      rateLimit: 'reports',
      body: ReasonRequired,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport',
      async handle({ requester, params, body }) {
        const userId = parseUserId(params.userId);
        if (userId !== undefined) await reports.reportUser(requester, userId, body.reason);
        return {};
      },
    }),
  ];
}
