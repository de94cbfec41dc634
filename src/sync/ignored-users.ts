/**
 * Whom each user ignores, from the account data `m.ignored_user_list`.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
 */

import type { UserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import {
  createDerivedAccountData,
  type DerivedAccountData,
  type DerivedAccountDataOptions,
} from './derived-account-data.ts';

const TYPE = 'm.ignored_user_list';
/** Lists of users who sync now, by the number of their entries. */
const MAX_CACHED_ENTRIES = 200_000;

export type IgnoredUsers = DerivedAccountData<ReadonlySet<string>>;

export type IgnoredUsersOptions = Pick<DerivedAccountDataOptions<ReadonlySet<string>>, 'database' | 'hub'>;

export function createIgnoredUsers(options: IgnoredUsersOptions): IgnoredUsers {
  return createDerivedAccountData<ReadonlySet<string>>({
    ...options,
    type: TYPE,
    derive: ignoredIn,
    costOf: (list) => list.size + 1,
    maxCost: MAX_CACHED_ENTRIES,
  });
}

function ignoredIn(content: JsonObject | undefined, userId: UserId): ReadonlySet<string> {
  const users = content?.['ignored_users'];
  const ignored = new Set(isJsonObject(users) ? Object.keys(users) : []);
  ignored.delete(userId);
  return ignored;
}
