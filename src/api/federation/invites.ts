/**
 * Invites of other servers to users of this one.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
 */
import { Type } from 'typebox';
import { answer } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { isJsonObject } from '../../protocol/json-value.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import { getRoomVersion, type RoomVersion } from '../../protocol/room-version.ts';
import type { Elsewhere } from '../../rooms/elsewhere.ts';
import { readEventId, readRoomId } from './handshake-params.ts';

export interface InviteEndpointsOptions {
  readonly elsewhere: Pick<Elsewhere, 'receivedInvites'>;
}

/** An invite of 64 KiB and the state that is shown with it, their texts escaped. */
const MAX_INVITE_BYTES = 1024 * 1024;

const Body = Type.Object({
  room_version: Type.String(),
  event: AnyObject,
  invite_room_state: Type.Optional(Type.Unsafe<JsonObject[string]>({})),
});

export function inviteEndpoints({ elsewhere: { receivedInvites } }: InviteEndpointsOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'PUT',
      path: '/_matrix/federation/v2/invite/{roomId}/{eventId}',
      auth: 'server',
      body: Body,
      bodyLimit: MAX_INVITE_BYTES,
      missingKey: 'M_MISSING_PARAM',
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid',
      async handle({ requester, params, body, oddNumbers }) {
        const event = await receivedInvites.receive({
          origin: requester,
          roomId: readRoomId(params.roomId),
          eventId: readEventId(params.eventId),
          version: readVersion(body.room_version),
          event: body.event,
          inviteState: body.invite_room_state,
          oddNumbers,
        });
        return { event };
      },
    }),
    defineEndpoint({
      method: 'PUT',
      path: '/_matrix/federation/v1/invite/{roomId}/{eventId}',
      auth: 'server',
      body: AnyObject,
      bodyLimit: MAX_INVITE_BYTES,
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid',
      async handle({ requester, params, body, oddNumbers }) {
        const { unsigned } = body;
        const event = await receivedInvites.receive({
          origin: requester,
          roomId: readRoomId(params.roomId),
          eventId: readEventId(params.eventId),
          // It does not say; only rooms of the first two versions are invited to in this way, which look the same here.
          version: readVersion('1'),
          event: body,
          inviteState: isJsonObject(unsigned) ? unsigned['invite_room_state'] : undefined,
          oddNumbers,
        });
        return answer(200, [200, { event }]);
      },
    }),
  ];
}

function readVersion(id: string): RoomVersion {
  const version = getRoomVersion(id);
  if (version !== undefined) return version;
  throw new MatrixError('M_INCOMPATIBLE_ROOM_VERSION', 'This server does not support the version of the room', {
    fields: { room_version: id },
  });
}
