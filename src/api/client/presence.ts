/**
 * https://spec.matrix.org/v1.19/client-server-api/#presence
 */
import { Type } from 'typebox';
import type { Presence } from '../../ephemeral/presence.ts';
import type { SharedRooms } from '../../ephemeral/shared-rooms.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Clock } from '../../lib/clock.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { presenceContent } from '../../protocol/presence.ts';
import { checkOwnUser } from './own-user.ts';
import { clientPaths, readUserId } from './room-requests.ts';

/** As long as a display name may be, and some more: it is sent to everybody who shares a room. */
const MAX_STATUS_LENGTH = 1_024;

const Body = Type.Object({
  presence: Type.Union([Type.Literal('online'), Type.Literal('unavailable'), Type.Literal('offline')]),
  status_msg: Type.Optional(Type.Union([Type.String({ maxLength: MAX_STATUS_LENGTH }), Type.Null()])),
});

export interface PresenceEndpointsOptions {
  /** Undefined where presence is off: then everybody is offline, whatever they say. */
  readonly presence: Pick<Presence, 'load' | 'set'> | undefined;
  readonly sharedRooms: Pick<SharedRooms, 'load' | 'share'>;
  readonly clock: Clock;
}

export function createPresenceEndpoints(options: PresenceEndpointsOptions): readonly Endpoint[] {
  const { presence, sharedRooms, clock } = options;
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/presence/{userId}/status'),
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus',
      async handle({ requester, params }) {
        const userId = readUserId(params.userId);
        if (userId !== requester.userId) {
          await sharedRooms.load([userId, requester.userId]);
          const isAllowed = sharedRooms.share(userId, requester.userId);
          if (!isAllowed) throw new MatrixError('M_FORBIDDEN', 'You are not allowed to see their presence');
        }
        const known = await presence?.load(userId);
        return known === undefined ? { presence: 'offline' } : presenceContent(known, clock.now());
      },
    }),
    defineEndpoint({
      method: 'PUT',
      path: clientPaths('/presence/{userId}/status'),
      auth: 'user',
      rateLimit: 'presence',
      body: Body,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus',
      async handle({ requester, params, body }) {
        const userId = checkOwnUser(requester, params.userId);
        await presence?.set(userId, { state: body.presence, message: body.status_msg ?? undefined });
        return {};
      },
    }),
  ];
}
