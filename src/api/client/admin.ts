/**
 * The administration endpoints of the specification: who is behind a user, and locking and suspending accounts.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#server-administration
 */
import { Type } from 'typebox';
import type { AdminUsers, LocalUser } from '../../accounts/admin-users.ts';
import type { AuditLog } from '../../accounts/audit.ts';
import { defineEndpoint, type Endpoint, type Outcome, type Requester } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { isUserId, type ServerName, serverNameOf } from '../../protocol/ids.ts';

export interface ClientAdminOptions {
  readonly users: AdminUsers;
  readonly serverName: ServerName;
  readonly audit: Pick<AuditLog, 'record'>;
}

type Flag = 'locked' | 'suspended';

const SPEC = 'https://spec.matrix.org/v1.19/client-server-api';

export function clientAdminEndpoints(options: ClientAdminOptions): readonly Endpoint[] {
  return [
    whois(options),
    ...flagEndpoints(options, 'lock', 'locked'),
    ...flagEndpoints(options, 'suspend', 'suspended'),
  ];
}

function whois(options: ClientAdminOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/client/v3/admin/whois/{userId}',
    auth: 'user',
    spec: `${SPEC}/#get_matrixclientv3adminwhoisuserid`,
    async handle({ params, requester }) {
      // Before anything is looked up, so that nobody learns who has an account.
      if (params.userId !== requester.userId) await requireAdmin(options, requester);
      const { userId, devices } = await options.users.loadDetails(params.userId);
      return {
        user_id: userId,
        devices: Object.fromEntries(devices.map((device) => [device.deviceId, toSession(device)])),
      };
    },
  });
}

type DeviceDetails = Awaited<ReturnType<AdminUsers['loadDetails']>>['devices'][number];

function toSession({ lastSeenIp, lastSeenAt, lastSeenUserAgent }: DeviceDetails): object {
  const connection = { ip: lastSeenIp, last_seen: lastSeenAt, user_agent: lastSeenUserAgent };
  return { sessions: [{ connections: lastSeenAt === undefined ? [] : [connection] }] };
}

function flagEndpoints(options: ClientAdminOptions, verb: 'lock' | 'suspend', flag: Flag): readonly Endpoint[] {
  const path = `/_matrix/client/v1/admin/${verb}/{userId}` as const;
  return [
    defineEndpoint({
      method: 'GET',
      path,
      auth: 'user',
      spec: `${SPEC}/#get_matrixclientv1admin${verb}userid`,
      async handle({ params, requester }) {
        await requireAdmin(options, requester);
        const { account } = await findTarget(options, params.userId);
        return { [flag]: flag === 'locked' ? account.isLocked : account.isSuspended };
      },
    }),
    defineEndpoint({
      method: 'PUT',
      path,
      auth: 'user',
      body: Type.Object({ [flag]: Type.Boolean() }),
      spec: `${SPEC}/#put_matrixclientv1admin${verb}userid`,
      onOutcome: (outcome) => recordChange(options, outcome),
      async handle({ params, body, requester }) {
        await requireAdmin(options, requester);
        const { userId } = await findTarget(options, params.userId);
        const value = body[flag] === true;
        if (userId === requester.userId) throw new MatrixError('M_FORBIDDEN', `You cannot ${verb} yourself`);
        await options.users.update(userId, flag === 'locked' ? { isLocked: value } : { isSuspended: value });
        return { [flag]: value };
      },
    }),
  ];
}

/** What an administrator changed. Refused attempts of users are no matter for the audit log, which they could fill. */
async function recordChange({ audit }: ClientAdminOptions, outcome: Outcome): Promise<void> {
  const { context, requester, answer, ...request } = outcome;
  if (answer.status !== 200 || requester === undefined) return;
  await audit.record({
    actor: requester.userId,
    method: request.method,
    path: request.path,
    params: request.params,
    body: request.body,
    ip: context.ip,
    userAgent: context.userAgent,
    status: answer.status,
    errcode: answer.errcode,
  });
}

/** Read from the database, since the requester is cached. */
async function requireAdmin({ users }: ClientAdminOptions, { userId }: Requester): Promise<void> {
  const { account } = await users.find(userId);
  if (!account.isAdmin) throw new MatrixError('M_FORBIDDEN', 'Only server administrators can do this');
}

async function findTarget({ users, serverName }: ClientAdminOptions, userId: string): Promise<LocalUser> {
  if (!isUserId(userId) || serverNameOf(userId) !== serverName) {
    throw new MatrixError('M_INVALID_PARAM', 'This is no user of this server');
  }
  const found = await users.find(userId);
  if (found.account.isDeactivated) throw new MatrixError('M_NOT_FOUND', 'The account is deactivated');
  if (found.account.isAdmin) throw new MatrixError('M_FORBIDDEN', 'Administrators cannot be locked or suspended here');
  return found;
}
