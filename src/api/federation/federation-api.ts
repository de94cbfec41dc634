/**
 * The server-server API as one list.
 */
import type { Endpoint } from '../../http/endpoint.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { backfillEndpoints } from './backfill.ts';
import { type FederationDevicesOptions, federationDevicesEndpoints } from './devices.ts';
import { eventsEndpoints, type ReadingEndpointsOptions } from './events.ts';
import { type InviteEndpointsOptions, inviteEndpoints } from './invites.ts';
import { type JoinEndpointsOptions, joinEndpoints } from './joins.ts';
import { type KeyEndpointsOptions, keyEndpoints } from './keys.ts';
import { type KnockEndpointsOptions, knockEndpoints } from './knocks.ts';
import { type LeaveEndpointsOptions, leaveEndpoints } from './leaves.ts';
import { type FederationMediaOptions, federationMediaEndpoints } from './media.ts';
import { federationPublicRoomsEndpoints } from './public-rooms.ts';
import { type QueryEndpointsOptions, queryEndpoints } from './query.ts';
import { type SendEndpointsOptions, sendEndpoints } from './send.ts';
import { federationSpacesEndpoints } from './spaces.ts';
import { type ThirdPartyInviteEndpointsOptions, thirdPartyInviteEndpoints } from './third-party-invites.ts';
import { federationVersionEndpoints } from './version.ts';

export interface FederationApiOptions
  extends KeyEndpointsOptions,
    QueryEndpointsOptions,
    SendEndpointsOptions,
    ReadingEndpointsOptions,
    FederationMediaOptions,
    FederationDevicesOptions,
    JoinEndpointsOptions,
    InviteEndpointsOptions,
    LeaveEndpointsOptions,
    KnockEndpointsOptions,
    ThirdPartyInviteEndpointsOptions {
  readonly version: string;
  readonly database: Rooms['database'];
  readonly loadServedHierarchy: Rooms['loadServedHierarchy'];
}

export function federationEndpoints(options: FederationApiOptions): readonly Endpoint[] {
  return [
    ...federationVersionEndpoints(options),
    ...keyEndpoints(options),
    ...sendEndpoints(options),
    ...joinEndpoints(options),
    ...inviteEndpoints(options),
    ...leaveEndpoints(options),
    ...knockEndpoints(options),
    ...thirdPartyInviteEndpoints(options),
    ...queryEndpoints(options),
    ...eventsEndpoints(options),
    ...backfillEndpoints(options),
    ...federationSpacesEndpoints(options),
    ...federationPublicRoomsEndpoints(options),
    ...federationMediaEndpoints(options),
    ...federationDevicesEndpoints(options),
  ];
}
