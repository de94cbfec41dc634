/**
 * Whom each user ignores, from the account data `m.ignored_user_list`: read once, then kept up to date by the stream.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
 */

import { Lru } from '../lib/lru.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import type { UserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { accountDataStream, loadAccountData } from '../storage/account-data.ts';
import type { Transaction } from '../storage/database.ts';
import type { Hub } from '../streams/hub.ts';

const TYPE = 'm.ignored_user_list';
/** Lists of users who sync now, by the number of their entries. */
const MAX_CACHED_ENTRIES = 200_000;

export interface IgnoredUsers extends Disposable {
  get(userId: UserId): ReadonlySet<string> | undefined;
  load(userId: UserId): Promise<ReadonlySet<string>>;
}

export interface IgnoredUsersOptions {
  readonly database: Transaction;
  readonly hub: Hub;
}

export function createIgnoredUsers({ database, hub }: IgnoredUsersOptions): IgnoredUsers {
  const cache = new Lru<UserId, ReadonlySet<string>>({ maxCost: MAX_CACHED_ENTRIES, costOf: (list) => list.size + 1 });
  const following = hub.follow((batch) => {
    for (const { row } of batch.rowsOf(accountDataStream)) {
      // Only objects are ever stored.
      if (row.type === TYPE && row.roomId === undefined)
        cache.set(row.userId, ignoredIn(parseJsonText(row.content) as JsonObject, row.userId));
    }
  });
  return {
    get: (userId) => cache.get(userId),
    async load(userId) {
      const known = cache.get(userId);
      if (known !== undefined) return known;
      const content = await loadAccountData(database, { userId, roomId: undefined, type: TYPE });
      // What was committed while the database answered is newer than its answer.
      const changed = cache.get(userId);
      if (changed !== undefined) return changed;
      const loaded = ignoredIn(content, userId);
      cache.set(userId, loaded);
      return loaded;
    },
    [Symbol.dispose]: () => following[Symbol.dispose](),
  };
}

function ignoredIn(content: JsonObject | undefined, userId: UserId): ReadonlySet<string> {
  const users = content?.['ignored_users'];
  const ignored = new Set(isJsonObject(users) ? Object.keys(users) : []);
  ignored.delete(userId);
  return ignored;
}
