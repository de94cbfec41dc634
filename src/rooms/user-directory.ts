/**
 * Searching for users whom the searcher could meet.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
 */
import type { ServerName, UserId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import { type FoundUser, searchUsers } from '../storage/user-directory.ts';

export interface UserSearchResult {
  readonly users: readonly FoundUser[];
  /** Whether there are more than the limit. */
  readonly isLimited: boolean;
}

export type SearchUsers = (searcher: UserId, search: { term: string; limit: number }) => Promise<UserSearchResult>;

export interface UserDirectoryOptions {
  readonly database: Transaction;
  readonly serverName: ServerName;
}

export function createUserDirectory({ database, serverName }: UserDirectoryOptions): SearchUsers {
  return async (searcher, { term, limit }) => {
    const wanted = term.trim();
    if (wanted === '') return { users: [], isLimited: false };
    const found = await searchUsers(database, { searcher, serverName, term: wanted, limit: limit + 1 });
    return { users: found.slice(0, limit), isLimited: found.length > limit };
  };
}
