/**
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
 */
import { type Static, Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { targetedRequest } from './membership-body.ts';
import { clientPaths } from './room-requests.ts';

/** By user id, or by an address that only an identity server could make one of. */
const Body = Type.Object({
  user_id: Type.Optional(Type.String()),
  reason: optional(Type.String()),
  medium: Type.Optional(Type.String()),
  address: Type.Optional(Type.String()),
});

export function invitingEndpoints({ memberships }: Pick<Rooms, 'memberships'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/rooms/{roomId}/invite'),
      auth: 'user',
      rateLimit: 'invites',
      body: Body,
      strictNumbers: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite',
      async handle({ requester, params, body }) {
        await memberships.invite(requester, targetedRequest(params.roomId, { ...body, user_id: inviteeOf(body) }));
        return {};
      },
    }),
  ];
}

function inviteeOf({ user_id: userId, medium, address }: Static<typeof Body>): string {
  if (userId !== undefined) return userId;
  if (medium !== undefined && address !== undefined) {
    throw new MatrixError('M_FORBIDDEN', 'This server trusts no identity server, so it cannot invite by address');
  }
  throw new MatrixError('M_MISSING_PARAM', 'user_id is missing');
}
