/**
 * Whom a user ignores: what those sent is left out of what the server works out for the user.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
 */
import type { UserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import { loadAccountData } from '../storage/account-data.ts';
import type { Transaction } from '../storage/database.ts';

/** Nobody can ignore themselves. */
export async function loadIgnoredUsers(tx: Transaction, userId: UserId): Promise<ReadonlySet<string>> {
  const content = await loadAccountData(tx, { userId, roomId: undefined, type: 'm.ignored_user_list' });
  const users = content?.['ignored_users'];
  return new Set(isJsonObject(users) ? Object.keys(users).filter((ignored) => ignored !== userId) : []);
}
