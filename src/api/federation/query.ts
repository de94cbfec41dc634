/**
 * Questions of other servers about our users and aliases. Of other servers' users and aliases nothing is said here,
 * whatever we may know of them.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
 */
import { Type } from 'typebox';
import type { Profiles } from '../../accounts/profiles.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { parseRoomAlias, parseUserId, type RoomAlias, type ServerName, serverNameOf } from '../../protocol/ids.ts';
import type { Aliases } from '../../rooms/aliases.ts';

export interface QueryEndpointsOptions {
  readonly serverName: ServerName;
  readonly profiles: Pick<Profiles, 'load'>;
  readonly aliases: Pick<Aliases, 'find'>;
}

export function queryEndpoints(options: QueryEndpointsOptions): readonly Endpoint[] {
  return [profileEndpoint(options), directoryEndpoint(options)];
}

function profileEndpoint({ serverName, profiles }: QueryEndpointsOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/query/profile',
    auth: 'server',
    query: Type.Object({ user_id: Type.String(), field: Type.Optional(Type.String()) }),
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile',
    async handle({ query: { user_id, field } }) {
      const userId = parseUserId(user_id);
      if (userId === undefined || serverNameOf(userId) !== serverName) {
        throw new MatrixError('M_INVALID_PARAM', 'user_id is no user of this server');
      }
      const profile = await profiles.load(userId);
      if (profile === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such user');
      if (field === undefined) return profile;
      return Object.hasOwn(profile, field) ? Object.fromEntries([[field, profile[field]]]) : {};
    },
  });
}

function directoryEndpoint(options: QueryEndpointsOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/query/directory',
    auth: 'server',
    query: Type.Object({ room_alias: Type.String() }),
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory',
    async handle({ query }) {
      const alias = readOwnAlias(query.room_alias, options.serverName);
      const { roomId, servers } = await options.aliases.find(alias);
      return { room_id: roomId, servers };
    },
  });
}

function readOwnAlias(text: string, serverName: ServerName): RoomAlias {
  const alias = parseRoomAlias(text);
  if (alias === undefined) throw new MatrixError('M_INVALID_PARAM', 'room_alias is no room alias');
  if (serverNameOf(alias) !== serverName) throw new MatrixError('M_NOT_FOUND', 'The alias is not one of this server');
  return alias;
}
