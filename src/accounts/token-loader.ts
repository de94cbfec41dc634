/**
 * What an access token stands for, for the authenticator. The first use of a token that a refresh token was exchanged for
 * revokes what it replaces.
 */
import type { UserId } from '../protocol/ids.ts';
import { loadAccessToken, revokeReplaced } from '../storage/access-tokens.ts';
import type { Database } from '../storage/database.ts';
import { formatLocalUserId } from './localpart.ts';
import { hashSecret } from './tokens.ts';

export interface LoadedToken {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly accountId: number;
  readonly isGuest: boolean;
  readonly isSuspended: boolean;
  readonly isAdmin: boolean;
  readonly isLocked: boolean;
  readonly expiresAt: number | undefined;
  /** Loading it made the device's other tokens invalid. */
  readonly revokedOthers: boolean;
}

export type TokenLoader = (token: string) => Promise<LoadedToken | undefined>;

export function createTokenLoader(options: { readonly database: Database; readonly serverName: string }): TokenLoader {
  const { database, serverName } = options;
  return async (shown) => {
    const token = await loadAccessToken(database, hashSecret(shown));
    if (token === undefined || token.isDeactivated) return undefined;
    const { replaces } = token;
    if (replaces !== undefined) await database.transaction((tx) => revokeReplaced(tx, token, replaces));
    return {
      userId: formatLocalUserId(token.localpart, serverName),
      deviceId: token.deviceId,
      accountId: token.accountId,
      isGuest: token.isGuest,
      isSuspended: token.isSuspended,
      isAdmin: token.isAdmin,
      isLocked: token.isLocked,
      expiresAt: token.expiresAt,
      revokedOthers: replaces !== undefined,
    };
  };
}
