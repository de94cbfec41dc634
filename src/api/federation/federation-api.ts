/**
 * The server-server API as one list.
 */
import type { Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { type JoinEndpointsOptions, joinEndpoints } from './joins.ts';
import { type KeyEndpointsOptions, keyEndpoints } from './keys.ts';
import { federationPublicRoomsEndpoints } from './public-rooms.ts';
import { type QueryEndpointsOptions, queryEndpoints } from './query.ts';
import { type SendEndpointsOptions, sendEndpoints } from './send.ts';
import { federationVersionEndpoints } from './version.ts';

export interface FederationApiOptions
  extends KeyEndpointsOptions,
    QueryEndpointsOptions,
    SendEndpointsOptions,
    JoinEndpointsOptions {
  readonly version: string;
  readonly database: Rooms['database'];
}

export function federationEndpoints(options: FederationApiOptions): readonly Endpoint[] {
  return [
    ...federationVersionEndpoints(options),
    ...keyEndpoints(options),
    ...sendEndpoints(options),
    ...joinEndpoints(options),
    ...queryEndpoints(options),
    ...federationPublicRoomsEndpoints(options),
  ];
}
