/**
 * The admin API as one list: what the server mounts, what the OpenAPI document describes, what the audit log records.
 */
import type { AuditLog } from '../../accounts/audit.ts';
import type { RegistrationTokenAdmin } from '../../accounts/registration-token-admin.ts';
import type { MakePdu } from '../../rooms/make-pdu.ts';
import type { ServerStatistics } from '../../rooms/server-statistics.ts';
import type { AdminEndpoint } from './admin-endpoint.ts';
import { adminAuditEndpoints, audited } from './audit.ts';
import { type AdminFederation, adminFederationEndpoints } from './federation.ts';
import { type AdminJobs, adminJobEndpoints } from './jobs.ts';
import { adminMakePduEndpoints } from './make-pdu.ts';
import { type AdminMediaOptions, adminMediaEndpoints } from './media.ts';
import { type AdminMediaModerationOptions, adminMediaModerationEndpoints } from './media-moderation.ts';
import { openApiEndpoint } from './openapi.ts';
import { adminRegistrationTokenEndpoints } from './registration-tokens.ts';
import { type AdminConfigOptions, adminReloadConfigEndpoints } from './reload-config.ts';
import { type AdminReportOptions, adminReportEndpoints } from './reports.ts';
import { adminRoomListEndpoints } from './room-list.ts';
import { type AdminRoomEndpointsOptions, adminRoomEndpoints } from './rooms.ts';
import { type AdminServerOptions, adminServerEndpoints } from './server.ts';
import { type ServerNoticeOptions, serverNoticeEndpoints } from './server-notices.ts';
import { adminStatisticsEndpoints } from './statistics.ts';
import { adminUserSearchEndpoints } from './user-search.ts';
import { adminUserSessionEndpoints } from './user-sessions.ts';
import { type AdminUserEndpointsOptions, adminUserEndpoints } from './users.ts';

export interface AdminApiOptions
  extends AdminServerOptions,
    AdminConfigOptions,
    AdminMediaOptions,
    AdminMediaModerationOptions,
    AdminRoomEndpointsOptions,
    AdminReportOptions,
    ServerNoticeOptions,
    AdminUserEndpointsOptions {
  readonly makePdu: MakePdu;
  readonly registrationTokens: RegistrationTokenAdmin;
  readonly federation: AdminFederation;
  readonly statistics: ServerStatistics;
  readonly jobs: AdminJobs;
  readonly audit: AuditLog;
}

export function adminApiEndpoints(options: AdminApiOptions): readonly AdminEndpoint[] {
  const endpoints = [
    ...adminServerEndpoints(options),
    ...adminMakePduEndpoints(options.makePdu),
    ...adminReloadConfigEndpoints(options),
    ...adminMediaEndpoints(options),
    ...adminMediaModerationEndpoints(options),
    ...adminRoomListEndpoints(options.adminRooms),
    ...adminRoomEndpoints(options),
    ...adminReportEndpoints(options),
    ...serverNoticeEndpoints(options),
    ...adminStatisticsEndpoints(options.statistics),
    ...adminUserEndpoints(options),
    ...adminUserSearchEndpoints(options.users),
    ...adminUserSessionEndpoints(options.users),
    ...adminRegistrationTokenEndpoints(options.registrationTokens),
    ...adminFederationEndpoints(options.federation),
    ...adminJobEndpoints(options.jobs),
    ...adminAuditEndpoints(options.audit),
  ];
  return [...audited(endpoints, options.audit), openApiEndpoint(endpoints, options.build.version)];
}
