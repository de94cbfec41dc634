/**
 * Accounts: create, list, look at, change, deactivate.
 */
import { Type } from 'typebox';
import type { AdminUsers, UserDetails } from '../../accounts/admin-users.ts';
import type { Deactivation } from '../../accounts/deactivation.ts';
import { Answer, answer } from '../../http/answer.ts';
import { optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { type AdminEndpoint, defineAdminEndpoint, Empty, Page, readLimit, readSince } from './admin-endpoint.ts';
import { nameOf } from './audit.ts';

export interface AdminUserEndpointsOptions {
  readonly users: AdminUsers;
  readonly deactivation: Pick<Deactivation, 'deactivate'>;
}

const Password = Type.String({ minLength: 1, maxLength: 512 });
const NewUser = Type.Object({
  // Whatever is no valid localpart has the same error.
  localpart: Type.Optional(Type.Unknown()),
  password: optional(Password),
  locked: optional(Type.Boolean()),
  suspended: optional(Type.Boolean()),
});
const UserChange = Type.Object({
  password: optional(Password),
  admin: optional(Type.Boolean()),
  locked: optional(Type.Boolean()),
  suspended: optional(Type.Boolean()),
});
const DeactivationBody = Type.Object({ erase: optional(Type.Boolean()), redact: optional(Type.Boolean()) });

const AccountEntry = Type.Object({
  entry_id: Type.Integer(),
  localpart: Type.String(),
  admin: Type.Boolean(),
  locked: Type.Boolean(),
  suspended: Type.Boolean(),
  deactivated: Type.Boolean(),
  erased: Type.Boolean(),
  created_at: Type.Integer(),
});
const AccountList = Type.Object({ chunk: Type.Array(AccountEntry), next_batch: Type.Optional(Type.Integer()) });
const NewToken = Type.Object({ access_token: Type.String(), device_id: Type.String() });
const Details = Type.Object(
  {},
  { additionalProperties: true, description: 'The account with profile, devices, rooms' },
);

/** The reference's own default. */
const DEFAULT_LIMIT = 1;

export function adminUserEndpoints(options: AdminUserEndpointsOptions): readonly AdminEndpoint[] {
  return [createUser(options), listUsers(options), updateUser(options), deactivateUser(options), ...more(options)];
}

function createUser({ users }: AdminUserEndpointsOptions): AdminEndpoint {
  return defineAdminEndpoint({
    method: 'POST',
    path: '/_hammerhead/v0/admin/users/create',
    auth: 'admin-or-psk',
    body: NewUser,
    doc: { summary: 'Create User', answers: { 201: Type.Object({ account_id: Type.Integer() }) } },
    async handle({ body }) {
      const { localpart, password, locked, suspended } = body;
      if (typeof localpart !== 'string') throw new MatrixError('M_INVALID_USERNAME', 'localpart has to be given');
      const accountId = await users.create({
        localpart,
        password: password ?? undefined,
        isLocked: locked === true,
        isSuspended: suspended === true,
      });
      return answer(201, { account_id: accountId });
    },
  });
}

function listUsers({ users }: AdminUserEndpointsOptions): AdminEndpoint {
  return defineAdminEndpoint({
    method: 'GET',
    path: '/_hammerhead/v0/admin/users',
    auth: 'admin',
    query: Type.Object(Page),
    doc: { summary: 'List Users', answers: { 200: AccountList } },
    async handle({ query }) {
      const limit = readLimit(query.limit, DEFAULT_LIMIT);
      const accounts = await users.list({ before: readSince(query.since), limit });
      const last = accounts.at(-1);
      return {
        chunk: accounts.map(toEntry),
        ...(accounts.length === limit && last !== undefined && { next_batch: last.accountId }),
      };
    },
  });
}

function updateUser({ users }: AdminUserEndpointsOptions): AdminEndpoint {
  return defineAdminEndpoint({
    method: 'PATCH',
    path: '/_hammerhead/v0/admin/users/{user_id}',
    auth: 'admin-or-psk',
    body: UserChange,
    doc: { summary: 'Update User', answers: { 200: Empty } },
    async handle({ params, body }) {
      await users.update(params.user_id, {
        password: body.password ?? undefined,
        isAdmin: body.admin ?? undefined,
        isLocked: body.locked ?? undefined,
        isSuspended: body.suspended ?? undefined,
      });
      return {};
    },
  });
}

function deactivateUser({ users, deactivation }: AdminUserEndpointsOptions): AdminEndpoint {
  return defineAdminEndpoint({
    method: 'POST',
    path: '/_hammerhead/v0/admin/users/{user_id}/deactivate',
    auth: 'admin-or-psk',
    body: DeactivationBody,
    // Both keys have defaults.
    emptyBody: true,
    doc: { summary: 'Deactivate Account', answers: { 200: Empty, 304: 'The account was deactivated before.' } },
    async handle({ params, body, requester }) {
      const { userId, account } = await users.find(params.user_id);
      const isDone = await deactivation.deactivate({
        userId,
        accountId: account.accountId,
        erase: body.erase === true,
        redact: body.redact === true,
        requestedBy: nameOf(requester),
      });
      return isDone ? {} : new Answer(304, '');
    },
  });
}

/** Beyond the reference. */
function more({ users }: AdminUserEndpointsOptions): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/users/{user_id}',
      auth: 'admin',
      doc: { summary: 'Get User', answers: { 200: Details } },
      handle: async ({ params }) => toDetails(await users.loadDetails(params.user_id)),
    }),
    defineAdminEndpoint({
      method: 'POST',
      path: '/_hammerhead/v0/admin/users/{user_id}/access-token',
      auth: 'admin',
      body: Type.Object({ display_name: optional(Type.String({ maxLength: 100 })) }),
      emptyBody: true,
      doc: { summary: 'Create Access Token', answers: { 201: NewToken } },
      async handle({ params, body }) {
        const session = await users.openSession(params.user_id, body.display_name ?? 'Made by an administrator');
        return answer(201, { access_token: session.accessToken, device_id: session.deviceId });
      },
    }),
    defineAdminEndpoint({
      method: 'POST',
      path: '/_hammerhead/v0/admin/users/{user_id}/reset-sessions',
      auth: 'admin',
      doc: { summary: 'Reset Sessions', answers: { 200: Type.Object({ devices: Type.Integer() }) } },
      handle: async ({ params }) => ({ devices: await users.resetSessions(params.user_id) }),
    }),
  ];
}

type Entry = Awaited<ReturnType<AdminUsers['list']>>[number];

function toEntry(account: Entry) {
  return {
    entry_id: account.accountId,
    localpart: account.localpart,
    admin: account.isAdmin,
    locked: account.isLocked,
    suspended: account.isSuspended,
    deactivated: account.isDeactivated,
    erased: account.isErased,
    created_at: account.createdAt,
  };
}

function toDetails({ userId, account, profile, devices, rooms }: UserDetails): object {
  return {
    ...toEntry(account),
    user_id: userId,
    guest: account.isGuest,
    has_password: account.passwordHash !== undefined,
    profile: Object.fromEntries(profile.map(({ field, value }) => [field, value])),
    devices: devices.map((device) => ({
      device_id: device.deviceId,
      display_name: device.displayName,
      created_at: device.createdAt,
      last_seen_at: device.lastSeenAt,
      last_seen_ip: device.lastSeenIp,
      last_seen_user_agent: device.lastSeenUserAgent,
    })),
    last_seen_at: devices[0]?.lastSeenAt,
    rooms,
  };
}
