/**
 * Finding accounts: what the list of the reference, which is neither filtered nor sorted, cannot do.
 */
import { Type } from 'typebox';
import type { AdminUsers } from '../../accounts/admin-users.ts';
import { type AdminEndpoint, DEFAULT_PAGE, defineAdminEndpoint, Page, readLimit, readSince } from './admin-endpoint.ts';
import { AccountEntry, toEntry } from './users.ts';

const FoundEntry = Type.Object({
  ...AccountEntry.properties,
  guest: Type.Boolean(),
  display_name: Type.Optional(Type.String()),
  devices: Type.Integer(),
  last_seen_at: Type.Optional(Type.Integer()),
});
const FoundList = Type.Object({ chunk: Type.Array(FoundEntry), next_batch: Type.Optional(Type.Integer()) });
const Flag = Type.Optional(Type.Boolean());
const SearchFilters = {
  search: Type.Optional(Type.String()),
  admin: Flag,
  locked: Flag,
  suspended: Flag,
  deactivated: Flag,
  erased: Flag,
  guest: Flag,
};

export function adminUserSearchEndpoints(users: AdminUsers): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/user-search',
      auth: 'admin',
      query: Type.Object({ ...Page, ...SearchFilters }),
      doc: { summary: 'Search Users', answers: { 200: FoundList } },
      async handle({ query }) {
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        const found = await users.search({
          before: readSince(query.since),
          limit,
          search: query.search ?? '',
          isAdmin: query.admin,
          isLocked: query.locked,
          isSuspended: query.suspended,
          isDeactivated: query.deactivated,
          isErased: query.erased,
          isGuest: query.guest,
        });
        const last = found.at(-1);
        return {
          chunk: found.map(toFound),
          ...(found.length === limit && last !== undefined && { next_batch: last.accountId }),
        };
      },
    }),
  ];
}

type Found = Awaited<ReturnType<AdminUsers['search']>>[number];

function toFound({ displayName, devices, lastSeenAt, ...account }: Found) {
  return {
    ...toEntry(account),
    guest: account.isGuest,
    display_name: displayName,
    devices,
    last_seen_at: lastSeenAt,
  };
}
