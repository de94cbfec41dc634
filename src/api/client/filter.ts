/**
 * https://spec.matrix.org/v1.19/client-server-api/#filtering
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { SyncFilters } from '../../sync/sync-filters.ts';
import { checkOwnUser } from './own-user.ts';
import { clientPaths } from './room-requests.ts';

export function createFilterEndpoints({ filters }: { readonly filters: SyncFilters }): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/user/{userId}/filter'),
      auth: 'user',
      body: AnyObject,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter',
      async handle({ requester, params, body }) {
        const userId = checkOwnUser(requester, params.userId);
        return { filter_id: await filters.store(userId, body) };
      },
    }),
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/user/{userId}/filter/{filterId}'),
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid',
      async handle({ requester, params }) {
        const userId = checkOwnUser(requester, params.userId);
        const definition = await filters.loadDefinition(userId, params.filterId);
        if (definition === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such filter');
        return definition;
      },
    }),
  ];
}
