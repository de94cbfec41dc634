/**
 * https://spec.matrix.org/v1.19/client-server-api/#listing-notifications
 */
import { Type } from 'typebox';
import { renderClientEvent } from '../../engine/client-events.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Clock } from '../../lib/clock.ts';
import type { UserId } from '../../protocol/ids.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import { toActions } from '../../push/actions.ts';
import type { Notifications } from '../../push/follow-notifications.ts';
import { formatPosition, parsePosition } from '../../rooms/pagination-token.ts';
import { clientPaths, readLimit } from './room-requests.ts';

const Query = Type.Object({
  from: Type.Optional(Type.String()),
  limit: Type.Optional(Type.Integer({ minimum: 1 })),
  only: Type.Optional(Type.String()),
});

const PAGE = { default: 20, max: 100 };

export interface NotificationEndpointsOptions {
  readonly notifications: Pick<Notifications, 'list'>;
  readonly writerId: number;
  readonly clock: Clock;
}

export function createNotificationEndpoints(options: NotificationEndpointsOptions): readonly Endpoint[] {
  const { notifications, writerId } = options;
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/notifications'),
      auth: 'user',
      query: Query,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications',
      async handle({ requester: { userId }, query: { from, limit, only } }) {
        const page = await notifications.list({
          userId,
          before: from === undefined ? Number.MAX_SAFE_INTEGER : parsePosition(writerId, 'from', from),
          limit: readLimit(limit, PAGE),
          onlyHighlights: only === 'highlight',
        });
        const last = page.at(-1);
        return {
          notifications: page.map((notification) => render(options, notification, userId)),
          ...(last !== undefined &&
            page.length === readLimit(limit, PAGE) && { next_token: formatPosition(writerId, last.position) }),
        };
      },
    }),
  ];
}

type Listed = Awaited<ReturnType<Notifications['list']>>[number];

function render({ clock }: NotificationEndpointsOptions, notified: Listed, userId: UserId): JsonObject {
  const { event, tweaks, isRead } = notified;
  const { room_id: roomId, ...rendered } = renderClientEvent(event, { userId }, clock.now());
  return {
    actions: toActions(tweaks),
    event: rendered,
    read: isRead,
    ...(roomId !== undefined && { room_id: roomId }),
    ts: event.event.originServerTs,
  };
}
