/**
 * The admin API as one list: what the server mounts, what the OpenAPI document describes, what the audit log records.
 */
import type { AuditLog } from '../../accounts/audit.ts';
import type { RegistrationTokenAdmin } from '../../accounts/registration-token-admin.ts';
import type { MakePdu } from '../../rooms/make-pdu.ts';
import type { AdminEndpoint } from './admin-endpoint.ts';
import { adminAuditEndpoints, audited } from './audit.ts';
import { type AdminFederation, adminFederationEndpoints } from './federation.ts';
import { type AdminJobs, adminJobEndpoints } from './jobs.ts';
import { adminMakePduEndpoints } from './make-pdu.ts';
import { type AdminMediaOptions, adminMediaEndpoints } from './media.ts';
import { openApiEndpoint } from './openapi.ts';
import { adminRegistrationTokenEndpoints } from './registration-tokens.ts';
import { type AdminConfigOptions, adminReloadConfigEndpoints } from './reload-config.ts';
import { type AdminRoomEndpointsOptions, adminRoomEndpoints } from './rooms.ts';
import { type AdminServerOptions, adminServerEndpoints } from './server.ts';
import { type AdminUserEndpointsOptions, adminUserEndpoints } from './users.ts';

export interface AdminApiOptions
  extends AdminServerOptions,
    AdminConfigOptions,
    AdminMediaOptions,
    AdminRoomEndpointsOptions,
    AdminUserEndpointsOptions {
  readonly makePdu: MakePdu;
  readonly registrationTokens: RegistrationTokenAdmin;
  readonly federation: AdminFederation;
  readonly jobs: AdminJobs;
  readonly audit: AuditLog;
}

export function adminApiEndpoints(options: AdminApiOptions): readonly AdminEndpoint[] {
  const endpoints = [
    ...adminServerEndpoints(options),
    ...adminMakePduEndpoints(options.makePdu),
    ...adminReloadConfigEndpoints(options),
    ...adminMediaEndpoints(options),
    ...adminRoomEndpoints(options),
    ...adminUserEndpoints(options),
    ...adminRegistrationTokenEndpoints(options.registrationTokens),
    ...adminFederationEndpoints(options.federation),
    ...adminJobEndpoints(options.jobs),
    ...adminAuditEndpoints(options.audit),
  ];
  return [...audited(endpoints, options.audit), openApiEndpoint(endpoints, options.build.version)];
}
