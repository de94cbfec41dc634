/**
 * Account data: what a user's clients keep here, and the few types that the server keeps for them. Changes that depend on
 * what is there are made one at a time per user.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#client-config
 */
import { KeyedQueue } from '../lib/keyed-queue.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { type AccountDataRow, accountDataStream, loadAccountData } from '../storage/account-data.ts';
import type { Transaction } from '../storage/database.ts';
import type { Committer } from '../streams/committer.ts';

/** One type's content may take as much as an event: it is sent to every device in one answer. */
export const MAX_ACCOUNT_DATA_BYTES = 65_536;
/** As for the type of an event. */
const MAX_TYPE_BYTES = 255;

export interface AccountDataKey {
  readonly userId: UserId;
  /** Undefined for global account data. */
  readonly roomId: RoomId | undefined;
  readonly type: string;
}

export interface AccountData {
  load(key: AccountDataKey): Promise<JsonObject | undefined>;
  /** An empty content deletes: it is told to every session once, and then it is as if there had never been any. */
  set(key: AccountDataKey, content: JsonObject): Promise<void>;
  /** Does nothing where there is none. */
  remove(key: AccountDataKey): Promise<void>;
  /** Replaces the content by what `change` makes of it; undefined leaves it as it is. */
  update(
    key: AccountDataKey,
    change: (content: JsonObject | undefined) => JsonObject | undefined | Promise<JsonObject | undefined>,
  ): Promise<void>;
}

export interface AccountDataOptions {
  readonly database: Transaction;
  readonly committer: Pick<Committer, 'commit'>;
}

export function createAccountData({ database, committer }: AccountDataOptions): AccountData {
  // All changes of a user go through it, or one could undo what another just did.
  const queue = new KeyedQueue<UserId>();
  const write = async (key: AccountDataKey, content: JsonObject): Promise<void> => {
    const row = toAccountDataRow(key, content);
    await committer.commit({ facts: [{ table: accountDataStream, row }] });
  };
  return {
    load: (key) => loadAccountData(database, key),
    set: (key, content) => queue.run(key.userId, () => write(key, content)),
    remove: (key) =>
      queue.run(key.userId, async () => {
        if ((await loadAccountData(database, key)) !== undefined) await write(key, {});
      }),
    update: (key, change) =>
      queue.run(key.userId, async () => {
        const content = await change(await loadAccountData(database, key));
        if (content !== undefined) await write(key, content);
      }),
  };
}

/** The row that stores the content, which is refused where it is too large. */
export function toAccountDataRow(key: AccountDataKey, content: JsonObject): AccountDataRow {
  if (key.type === '' || Buffer.byteLength(key.type) > MAX_TYPE_BYTES) {
    throw new MatrixError('M_INVALID_PARAM', `The type must have 1 to ${MAX_TYPE_BYTES} bytes`);
  }
  const text = JSON.stringify(content);
  if (Buffer.byteLength(text) > MAX_ACCOUNT_DATA_BYTES && key.type !== PUSH_RULES_TYPE) {
    throw new MatrixError('M_TOO_LARGE', `Account data may take ${MAX_ACCOUNT_DATA_BYTES} bytes`);
  }
  return { ...key, content: text };
}

/** Push rules have bounds of their own, and are written by the server only. */
export const PUSH_RULES_TYPE = 'm.push_rules';
export const FULLY_READ_TYPE = 'm.fully_read';

/** Refuses the types that clients may read but not write. */
export function checkClientMayWrite(type: string): void {
  if (type !== PUSH_RULES_TYPE && type !== FULLY_READ_TYPE) return;
  throw new MatrixError('M_BAD_JSON', `${type} cannot be set through this API`, { status: 405 });
}
