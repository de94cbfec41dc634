/**
 * https://spec.matrix.org/v1.19/client-server-api/#syncing
 */
import { Type } from 'typebox';
import { longJson, rawJson } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Sync } from '../../sync/sync.ts';
import { clientPaths } from './room-requests.ts';

const Query = Type.Object({
  filter: Type.Optional(Type.String()),
  since: Type.Optional(Type.String()),
  full_state: Type.Optional(Type.Boolean()),
  set_presence: Type.Optional(
    Type.Union([Type.Literal('offline'), Type.Literal('online'), Type.Literal('unavailable')]),
  ),
  timeout: Type.Optional(Type.Integer()),
  use_state_after: Type.Optional(Type.Boolean()),
  'org.matrix.msc4222.use_state_after': Type.Optional(Type.Boolean()),
});

export function createSyncEndpoints({ sync }: { readonly sync: Sync }): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/sync'),
      auth: 'user',
      guests: true,
      query: Query,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync',
      async handle({ requester, query, signal }) {
        const body = await sync.handle({
          userId: requester.userId,
          deviceId: requester.deviceId,
          // Some clients send an empty token for their first sync.
          since: query.since || undefined,
          filter: query.filter,
          fullState: query.full_state ?? false,
          useStateAfter: query.use_state_after ?? (query['org.matrix.msc4222.use_state_after'] === true && 'unstable'),
          setPresence: query.set_presence ?? 'online',
          timeout: query.timeout ?? 0,
          signal,
        });
        return typeof body === 'string' || Buffer.isBuffer(body) ? rawJson(body) : longJson(body);
      },
    }),
  ];
}
