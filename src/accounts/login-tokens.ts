/**
 * Login tokens: a session has one made, with fresh proof of identity, to log in another device. A token logs in once,
 * within two minutes, and not after the session that asked for it has ended.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#token-based
 */
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import { loadAccount } from '../storage/accounts.ts';
import type { Database } from '../storage/database.ts';
import type { DeviceKey } from '../storage/devices.ts';
import { deleteExpiredTokens, insertLoginToken, takeLoginToken } from '../storage/short-lived-tokens.ts';
import { formatLocalUserId } from './localpart.ts';
import type { NewSession, Session, Sessions } from './sessions.ts';
import { createLoginToken, hashSecret } from './tokens.ts';
import { checkUsable } from './usable-account.ts';

export interface LoginTokensOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: string;
  readonly sessions: Pick<Sessions, 'open'>;
  forgetTokens(accountId: number, deviceIds?: ReadonlySet<string>): void;
}

export interface LoginTokens {
  create(device: DeviceKey): Promise<{ readonly token: string; readonly expiresInMs: number }>;
  login(
    token: string,
    session: Omit<NewSession, 'accountId'>,
  ): Promise<{ readonly userId: UserId; readonly session: Session }>;
}

/** What the spec recommends: time to scan a code. */
const LIFETIME_MS = 2 * 60 * 1000;

export function createLoginTokens(options: LoginTokensOptions): LoginTokens {
  const { database, clock, serverName } = options;
  return {
    async create({ accountId, deviceId }) {
      const token = createLoginToken(options.random);
      const now = clock.now();
      await deleteExpiredTokens(database, now);
      const expiresAt = now + LIFETIME_MS;
      await insertLoginToken(database, { tokenHash: hashSecret(token), accountId, deviceId, expiresAt });
      return { token, expiresInMs: LIFETIME_MS };
    },
    async login(token, session) {
      const opened = await database.transaction(async (tx) => {
        const accountId = await takeLoginToken(tx, hashSecret(token), clock.now());
        const account = accountId === undefined ? undefined : await loadAccount(tx, accountId);
        if (account === undefined) throw new MatrixError('M_FORBIDDEN', 'This login token is not valid');
        checkUsable(account);
        return { account, session: await options.sessions.open(tx, { ...session, accountId: account.accountId }) };
      });
      const { account } = opened;
      if (session.deviceId !== undefined) options.forgetTokens(account.accountId, new Set([session.deviceId]));
      return { userId: formatLocalUserId(account.localpart, serverName), session: opened.session };
    },
  };
}
