/**
 * https://spec.matrix.org/v1.19/client-server-api/#user-directory
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths, readLimit } from './room-requests.ts';

const LIMIT = { default: 10, max: 50 } as const;

export function userDirectoryEndpoints({ searchUsers }: Pick<Rooms, 'searchUsers'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/user_directory/search'),
      auth: 'user',
      rateLimit: 'search',
      body: Type.Object({ search_term: Type.String(), limit: Type.Optional(Type.Integer({ minimum: 0 })) }),
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch',
      async handle({ requester, body }) {
        const limit = readLimit(body.limit, LIMIT);
        const { users, isLimited } = await searchUsers(requester.userId, { term: body.search_term, limit });
        return {
          limited: isLimited,
          results: users.map(({ userId, displayName, avatarUrl }) => ({
            user_id: userId,
            ...(displayName !== undefined && { display_name: displayName }),
            ...(avatarUrl !== undefined && { avatar_url: avatarUrl }),
          })),
        };
      },
    }),
  ];
}
