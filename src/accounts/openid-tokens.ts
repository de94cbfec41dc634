/**
 * OpenID tokens: a user hands one to a service, which asks us whose it is. They are good for nothing else.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#openid
 */
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import type { UserId } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import type { DeviceKey } from '../storage/devices.ts';
import { deleteExpiredTokens, insertOpenIdToken, loadOpenIdUser } from '../storage/short-lived-tokens.ts';
import { formatLocalUserId } from './localpart.ts';
import { createOpenIdToken, hashSecret } from './tokens.ts';

export interface OpenIdTokensOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: string;
}

export interface OpenIdTokens {
  create(device: DeviceKey): Promise<{ readonly token: string; readonly expiresInSeconds: number }>;
  /** Whose token it is; undefined for any other token, and for one that has expired. */
  findUser(token: string): Promise<UserId | undefined>;
}

/** Services ask at once; an hour leaves room for those that ask again. */
const LIFETIME_SECONDS = 60 * 60;

export function createOpenIdTokens({ database, clock, random, serverName }: OpenIdTokensOptions): OpenIdTokens {
  return {
    async create({ accountId, deviceId }) {
      const token = createOpenIdToken(random);
      const now = clock.now();
      await deleteExpiredTokens(database, now);
      const expiresAt = now + LIFETIME_SECONDS * 1000;
      await insertOpenIdToken(database, { tokenHash: hashSecret(token), accountId, deviceId, expiresAt });
      return { token, expiresInSeconds: LIFETIME_SECONDS };
    },
    async findUser(token) {
      const localpart = await loadOpenIdUser(database, hashSecret(token), clock.now());
      return localpart === undefined ? undefined : formatLocalUserId(localpart, serverName);
    },
  };
}
