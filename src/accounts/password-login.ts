/**
 * Log-in by password, and the `m.login.password` stage. Whoever guesses learns nothing: an unknown user and a wrong
 * password give the same answer after the same time, and failures are counted per account.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#password-based
 */
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { type Account, loadAccount, loadAccountByLocalpart } from '../storage/accounts.ts';
import type { Database } from '../storage/database.ts';
import { formatLocalUserId, lowerAscii, parseLocalUserId, readLoginName } from './localpart.ts';
import type { PasswordHasher } from './password-hasher.ts';
import type { NewSession, Session, Sessions } from './sessions.ts';
import { FailedStageError, type Stage } from './uia.ts';
import { checkUsable } from './usable-account.ts';

/** Counts failed attempts against one account. */
export interface AttemptCounter {
  /** Throws M_LIMIT_EXCEEDED after too many failures. */
  check(localpart: string): void;
  failed(localpart: string): void;
}

export interface PasswordLoginOptions {
  readonly database: Database;
  readonly serverName: string;
  readonly hasher: PasswordHasher;
  readonly sessions: Sessions;
  readonly attempts: AttemptCounter;
  forgetTokens(accountId: number, deviceIds?: ReadonlySet<string>): void;
}

export interface LoginRequest extends Omit<NewSession, 'accountId'> {
  /** A user id or a localpart; undefined for identifiers of a kind that no account has. */
  readonly user: string | undefined;
  readonly password: string;
}

export interface PasswordLogin {
  login(request: LoginRequest): Promise<{ readonly userId: UserId; readonly session: Session }>;
  /** The stage for operations of this user; another user's password is refused outright. */
  stage(owner: { readonly userId: UserId }): Stage;
}

const WRONG_CREDENTIALS = 'Wrong user name or password';

export function createPasswordLogin(options: PasswordLoginOptions): PasswordLogin {
  const { database, serverName, hasher, attempts } = options;

  const authenticate = async (user: string | undefined, password: string): Promise<Account | undefined> => {
    const localpart = user === undefined ? undefined : readLoginName(user, serverName);
    const counted = localpart === undefined ? undefined : lowerAscii(localpart);
    if (counted !== undefined) attempts.check(counted);
    const account = localpart === undefined ? undefined : await findAccount(database, localpart);
    const matches = await hasher.verify(account?.passwordHash, password);
    if (!matches && counted !== undefined) attempts.failed(counted);
    return matches ? account : undefined;
  };

  return {
    async login({ user, password, ...session }) {
      const account = await authenticate(user, password);
      if (account === undefined) throw new MatrixError('M_FORBIDDEN', WRONG_CREDENTIALS);
      const { accountId } = account;
      const opened = await database.transaction(async (tx) => {
        checkUsable(await loadAccount(tx, accountId));
        return options.sessions.open(tx, { accountId, ...session });
      });
      if (session.deviceId !== undefined) options.forgetTokens(accountId, new Set([session.deviceId]));
      return { userId: formatLocalUserId(account.localpart, serverName), session: opened };
    },
    stage: ({ userId }) => ({
      async verify(auth) {
        const user = readIdentifiedUser(auth) ?? userId;
        const localpart = parseLocalUserId(userId, serverName);
        const named = readLoginName(user, serverName);
        if (named === undefined || (named !== localpart && lowerAscii(named) !== localpart)) {
          throw new MatrixError('M_FORBIDDEN', 'Only the account itself can confirm this');
        }
        const { password } = auth;
        const account = typeof password === 'string' ? await authenticate(userId, password) : undefined;
        if (account === undefined) throw new FailedStageError('M_FORBIDDEN', WRONG_CREDENTIALS);
      },
    }),
  };
}

/** The user that `identifier`, or the older `user`, names; undefined where none is named or the kind is unknown. */
export function readIdentifiedUser(body: JsonObject): string | undefined {
  const { identifier, user } = body;
  if (isJsonObject(identifier)) {
    return identifier['type'] === 'm.id.user' && typeof identifier['user'] === 'string'
      ? identifier['user']
      : undefined;
  }
  return typeof user === 'string' ? user : undefined;
}

/** As it stands first: accounts from elsewhere may have capitals. */
async function findAccount(database: Database, localpart: string): Promise<Account | undefined> {
  const lowered = lowerAscii(localpart);
  const exact = await loadAccountByLocalpart(database, localpart);
  return exact ?? (lowered === localpart ? undefined : loadAccountByLocalpart(database, lowered));
}
