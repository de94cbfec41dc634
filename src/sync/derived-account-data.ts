/**
 * What a type of global account data means, worked out once for each user who syncs, and kept up to date by the stream.
 */
import { Lru } from '../lib/lru.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import type { UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { accountDataStream, loadAccountData } from '../storage/account-data.ts';
import type { Transaction } from '../storage/database.ts';
import type { Hub } from '../streams/hub.ts';

export interface DerivedAccountData<T> extends Disposable {
  get(userId: UserId): T | undefined;
  load(userId: UserId): Promise<T>;
}

export interface DerivedAccountDataOptions<T> {
  readonly database: Transaction;
  readonly hub: Hub;
  readonly type: string;
  readonly derive: (content: JsonObject | undefined, userId: UserId) => T;
  readonly costOf: (derived: T) => number;
  readonly maxCost: number;
}

export function createDerivedAccountData<T extends object>(
  options: DerivedAccountDataOptions<T>,
): DerivedAccountData<T> {
  const { database, type, derive, maxCost, costOf } = options;
  const cache = new Lru<UserId, T>({ maxCost, costOf });
  const following = options.hub.follow((batch) => {
    for (const { row } of batch.rowsOf(accountDataStream)) {
      // Only objects are ever stored.
      if (row.type === type && row.roomId === undefined)
        cache.set(row.userId, derive(parseJsonText(row.content) as JsonObject, row.userId));
    }
  });
  return {
    get: (userId) => cache.get(userId),
    async load(userId) {
      const known = cache.get(userId);
      if (known !== undefined) return known;
      const content = await loadAccountData(database, { userId, roomId: undefined, type });
      // What was committed while the database answered is newer than its answer.
      const changed = cache.get(userId);
      if (changed !== undefined) return changed;
      const loaded = derive(content, userId);
      cache.set(userId, loaded);
      return loaded;
    },
    [Symbol.dispose]: () => following[Symbol.dispose](),
  };
}
