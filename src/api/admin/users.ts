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
  readonly deactivation: Pick<Deactivation, 'deactivate' | 'erase'>;
}

/** A longer one would only make its hashing slow. */
export const MAX_PASSWORD_LENGTH = 512;
const Password = Type.String({ minLength: 1, maxLength: MAX_PASSWORD_LENGTH });
const NewUser = Type.Object({
  // Whatever is no valid localpart has the same error.
  localpart: Type.Optional(Type.Unknown()),
  // An empty one is none: nobody can log in with it.
  password: optional(Type.String({ maxLength: MAX_PASSWORD_LENGTH })),
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

export const AccountEntry = Type.Object({
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
        password: password || undefined,
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
function more({ users, deactivation }: AdminUserEndpointsOptions): readonly AdminEndpoint[] {
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
      path: '/_hammerhead/v0/admin/users/{user_id}/erase',
      auth: 'admin',
      body: Type.Object({ redact: optional(Type.Boolean()) }),
      emptyBody: true,
      doc: { summary: 'Erase Account', answers: { 200: Empty } },
      async handle({ params, body, requester }) {
        const { userId, account } = await users.find(params.user_id);
        const { accountId } = account;
        const redact = body.redact === true;
        await deactivation.erase({ userId, accountId, redact, requestedBy: nameOf(requester) });
        return {};
      },
    }),
  ];
}

type Entry = Awaited<ReturnType<AdminUsers['list']>>[number];

export function toEntry(account: Entry) {
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

function toDetails({ userId, account, profile, devices, rooms, roomCounts, media }: UserDetails): object {
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
    room_counts: roomCounts,
    media,
  };
}
