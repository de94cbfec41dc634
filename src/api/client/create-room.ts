/**
 * https://spec.matrix.org/v1.19/client-server-api/#creation
 */
import { type Static, Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject, optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { getRoomVersion, type RoomVersion } from '../../protocol/room-version.ts';
import { localAlias } from '../../rooms/aliases.ts';
import type { NewRoomRequest } from '../../rooms/create-room.ts';
import type { InitialState, Preset } from '../../rooms/room-creation.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths, readUserId } from './room-requests.ts';

const Body = Type.Object({
  visibility: optional(Type.Union([Type.Literal('public'), Type.Literal('private')])),
  room_alias_name: optional(Type.String()),
  name: optional(Type.String()),
  topic: optional(Type.String()),
  invite: optional(Type.Array(Type.String())),
  invite_3pid: optional(Type.Array(AnyObject)),
  room_version: optional(Type.String()),
  creation_content: optional(AnyObject),
  initial_state: optional(
    Type.Array(Type.Object({ type: Type.String(), state_key: optional(Type.String()), content: AnyObject })),
  ),
  preset: optional(
    Type.Union([Type.Literal('private_chat'), Type.Literal('public_chat'), Type.Literal('trusted_private_chat')]),
  ),
  is_direct: optional(Type.Boolean()),
  power_level_content_override: optional(AnyObject),
});

export function createRoomEndpoints(
  rooms: Pick<Rooms, 'create' | 'serverName' | 'defaultVersion'>,
): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/createRoom'),
      auth: 'user',
      rateLimit: 'room_creation',
      body: Body,
      strictNumbers: true,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom',
      async handle({ requester, body }) {
        return { room_id: await rooms.create(requester, toRequest(rooms, body)) };
      },
    }),
  ];
}

function toRequest(rooms: Pick<Rooms, 'serverName' | 'defaultVersion'>, body: Static<typeof Body>): NewRoomRequest {
  if ((body.invite_3pid ?? []).length > 0) {
    throw new MatrixError('M_FORBIDDEN', 'This server trusts no identity server, so it cannot invite by address');
  }
  const isPublished = body.visibility === 'public';
  const preset: Preset = body.preset ?? (isPublished ? 'public_chat' : 'private_chat');
  const aliasName = body.room_alias_name ?? undefined;
  return {
    version: typeof body.room_version === 'string' ? supportedVersion(body.room_version) : rooms.defaultVersion,
    preset,
    isPublished,
    creationContent: body.creation_content ?? {},
    powerLevelOverride: body.power_level_content_override ?? undefined,
    initialState: toInitialState(body.initial_state ?? []),
    alias: aliasName === undefined ? undefined : localAlias(aliasName, rooms.serverName),
    name: body.name ?? undefined,
    topic: body.topic ?? undefined,
    invites: (body.invite ?? []).map(readUserId),
    isDirect: body.is_direct ?? false,
  };
}

function toInitialState(events: NonNullable<Static<typeof Body>['initial_state']>): readonly InitialState[] {
  return events.map(({ type, state_key: stateKey, content }) => ({ type, stateKey: stateKey ?? '', content }));
}

function supportedVersion(id: string): RoomVersion {
  const version = getRoomVersion(id);
  if (version === undefined) throw new MatrixError('M_UNSUPPORTED_ROOM_VERSION', 'The room version is not supported');
  return version;
}
