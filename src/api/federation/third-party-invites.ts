/**
 * Invites by address, once an identity server has found their users.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
 */
import { type Static, Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { ThirdPartyInvite, ThirdPartyInvites } from '../../rooms/third-party-invites.ts';
import { MAX_EVENT_BODY_BYTES, readRoomId, readUserId } from './handshake-params.ts';

export interface ThirdPartyInviteEndpointsOptions {
  readonly thirdPartyInvites: ThirdPartyInvites;
}

/** Invites that wait for one address: more than anybody has. */
const MAX_INVITES = 20;

const Exchange = Type.Object({
  type: Type.Literal('m.room.member'),
  room_id: Type.String(),
  sender: Type.String(),
  state_key: Type.String(),
  content: Type.Object({
    membership: Type.Literal('invite'),
    third_party_invite: Type.Object({ display_name: Type.Optional(Type.String()), signed: AnyObject }),
  }),
});

const Bound = Type.Object({
  medium: Type.String(),
  address: Type.String(),
  mxid: Type.String(),
  invites: Type.Array(
    Type.Object({
      medium: Type.String(),
      address: Type.String(),
      mxid: Type.String(),
      room_id: Type.String(),
      sender: Type.String(),
      signed: AnyObject,
    }),
    { maxItems: MAX_INVITES },
  ),
});

export function thirdPartyInviteEndpoints(options: ThirdPartyInviteEndpointsOptions): readonly Endpoint[] {
  const { thirdPartyInvites } = options;
  return [
    defineEndpoint({
      method: 'PUT',
      path: '/_matrix/federation/v1/exchange_third_party_invite/{roomId}',
      auth: 'server',
      body: Exchange,
      bodyLimit: MAX_EVENT_BODY_BYTES,
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid',
      async handle({ requester, params, body }) {
        const roomId = readRoomId(params.roomId);
        if (body.room_id !== roomId) throw new MatrixError('M_INVALID_PARAM', 'The invite is for another room');
        const { signed, display_name: displayName } = body.content.third_party_invite;
        const sender = readUserId(body.sender);
        await thirdPartyInvites.exchange(requester, {
          roomId,
          sender,
          invitee: readUserId(body.state_key),
          signed,
          displayName,
        });
        return {};
      },
    }),
    defineEndpoint({
      method: 'PUT',
      path: '/_matrix/federation/v1/3pid/onbind',
      // Identity servers are no homeservers and sign nothing here; what they signed in the invites is what counts.
      auth: 'none',
      rateLimit: 'invites',
      body: Bound,
      bodyLimit: MAX_EVENT_BODY_BYTES,
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind',
      async handle({ body }) {
        await thirdPartyInvites.onBind(readUserId(body.mxid), body.invites.map(readInvite));
        return {};
      },
    }),
  ];
}

function readInvite(invite: Static<typeof Bound>['invites'][number]): ThirdPartyInvite {
  return {
    roomId: readRoomId(invite.room_id),
    sender: readUserId(invite.sender),
    invitee: readUserId(invite.mxid),
    signed: invite.signed,
    displayName: undefined,
  };
}
