/**
 * Making accounts. A localpart is given out once, however many ask for it at the same time; the first account becomes an
 * administrator, and until it exists a bootstrap token opens the registration even where it is disabled.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#account-registration-and-management
 */
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import { loadAccessToken } from '../storage/access-tokens.ts';
import { hasAccounts, insertAccount, loadAccountByLocalpart, lockFirstAccount } from '../storage/accounts.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { promoteGuest } from '../storage/guests.ts';
import {
  deleteBootstrapTokens,
  hasBootstrapToken,
  insertRegistrationToken,
  lockUsableToken,
  spendRegistrationToken,
} from '../storage/registration-tokens.ts';
import type { Devices } from './devices.ts';
import { formatLocalUserId, readNewLocalpart } from './localpart.ts';
import type { PasswordHasher } from './password-hasher.ts';
import type { PasswordCheck } from './password-strength.ts';
import type { NewSession, Session, Sessions } from './sessions.ts';
import { createSecret, hashSecret } from './tokens.ts';
import { FailedStageError, type Stage, type StageResult } from './uia.ts';

export interface RegistrationPolicy {
  readonly enabled: boolean;
  readonly requiresToken: boolean;
  /** A token from the configuration, good for any number of accounts. */
  readonly token?: string | undefined;
  readonly guests?: boolean;
}

/** A guest who becomes an ordinary user, by its token. */
export interface Guest {
  readonly accountId: number;
  readonly localpart: string;
}

export interface RegistrationOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: string;
  readonly policy: RegistrationPolicy;
  readonly hasher: PasswordHasher;
  readonly checkPassword: PasswordCheck;
  readonly sessions: Sessions;
  /** Whether a localpart belongs to somebody who is no account: an application service. */
  isReserved?(localpart: string): boolean;
  onAccountCreated?(userId: UserId): Promise<void>;
  /** Whose sessions end when a guest becomes an ordinary user. */
  readonly devices: Pick<Devices, 'deleteAllWith'>;
}

export interface NewUser {
  /** Undefined lets us choose. */
  readonly localpart: string | undefined;
  /** Undefined for accounts that nobody logs in to with a password. */
  readonly password: string | undefined;
  readonly isAdmin?: boolean;
  readonly isGuest?: boolean;
  /** The account that becomes this user's. */
  readonly guest?: Guest | undefined;
  /** Spent together with the account's creation. */
  readonly registrationToken?: string | undefined;
  /** Undefined opens none. */
  readonly session: Omit<NewSession, 'accountId'> | undefined;
}

export interface NewUserResult {
  readonly userId: UserId;
  readonly session: Session | undefined;
}

/** How somebody may register now. */
export type RegistrationMode = 'closed' | 'open' | 'token';

export interface Registration {
  readonly allowsGuests: boolean;
  /** The guest whose token this is; M_FORBIDDEN where it is no guest's. */
  findGuest(token: string): Promise<Guest>;
  loadMode(): Promise<RegistrationMode>;
  /** The localpart for the user name, or the error why it can't be had. */
  reserve(username: string): Promise<string>;
  checkPassword: PasswordCheck;
  create(user: NewUser): Promise<NewUserResult>;
  /** Whether a registration could start with the token. */
  isTokenValid(token: string): Promise<boolean>;
  readonly tokenStage: Stage;
  /** A fresh one-time token while nobody has an account; the former one stops working. Undefined afterwards. */
  createBootstrapToken(): Promise<string | undefined>;
}

const RANDOM_LOCALPART_LENGTH = 16;

export function createRegistration(options: RegistrationOptions): Registration {
  const { database, serverName, policy } = options;
  const anyAccounts = rememberAccounts();

  return {
    get allowsGuests() {
      return policy.guests === true;
    },
    findGuest: (token) => findGuest(options, token),
    checkPassword: options.checkPassword,
    async loadMode() {
      if (policy.enabled) return policy.requiresToken ? 'token' : 'open';
      if (await anyAccounts(database)) return 'closed';
      return (await hasBootstrapToken(database)) ? 'token' : 'closed';
    },
    async reserve(username) {
      const localpart = readNewLocalpart(username, serverName);
      if (options.isReserved?.(localpart) === true) throw new MatrixError('M_EXCLUSIVE', 'This user name is reserved');
      if ((await loadAccountByLocalpart(database, localpart)) !== undefined) throw inUse();
      return localpart;
    },
    async create(user) {
      const passwordHash = user.password === undefined ? undefined : await options.hasher.hash(user.password);
      if (user.guest !== undefined) return promote(options, user.guest, { ...user, passwordHash, anyAccounts });
      const created = await database.transaction(async (tx) => {
        const isFirst = user.isGuest !== true && (await decideFirst(tx, anyAccounts));
        return insertUser(options, tx, { ...user, passwordHash, isFirst });
      });
      await options.onAccountCreated?.(created.userId);
      return created;
    },
    async isTokenValid(token) {
      try {
        await database.transaction((tx) => claimToken(options, tx, { token }));
        return true;
      } catch (error) {
        if (error instanceof FailedStageError) return false;
        throw error;
      }
    },
    tokenStage: {
      async claim(tx, { token }, sessionHash) {
        if (typeof token !== 'string') throw new FailedStageError('M_MISSING_PARAM', 'The token is missing');
        return claimToken(options, tx, { token, sessionHash });
      },
    },
    createBootstrapToken: () =>
      database.transaction(async (tx) => {
        if (await anyAccounts(tx)) return undefined;
        const token = createSecret(options.random);
        await deleteBootstrapTokens(tx);
        const createdAt = options.clock.now();
        await insertRegistrationToken(tx, {
          token,
          usesAllowed: 1,
          expiresAt: undefined,
          createdAt,
          isBootstrap: true,
        });
        return token;
      }),
  };
}

type AnyAccounts = (tx: Transaction) => Promise<boolean>;

/** Whether there are accounts; asked until there are, since none is ever deleted. */
function rememberAccounts(): AnyAccounts {
  let found = false;
  return async (tx) => {
    found ||= await hasAccounts(tx);
    return found;
  };
}

/** A token of the configuration need not be spent; any other stays with the session. */
async function claimToken(
  { clock, policy }: RegistrationOptions,
  tx: Transaction,
  shown: { readonly token: string; readonly sessionHash?: string },
): Promise<StageResult> {
  const { token, sessionHash: exceptSession } = shown;
  // Hashed first, so that the comparison's time tells nothing of the token.
  if (policy.token !== undefined && hashSecret(token) === hashSecret(policy.token)) return {};
  const isUsable = await lockUsableToken(tx, token, { now: clock.now(), exceptSession });
  if (!isUsable) throw new FailedStageError('M_UNAUTHORIZED', 'This registration token is not valid');
  return { registrationToken: token };
}

async function findGuest({ database, clock }: RegistrationOptions, token: string): Promise<Guest> {
  const known = await loadAccessToken(database, hashSecret(token));
  const isGood = known?.isGuest === true && !known.isDeactivated && !known.isLocked;
  if (isGood && (known.expiresAt === undefined || known.expiresAt > clock.now())) return known;
  throw new MatrixError('M_FORBIDDEN', 'guest_access_token is not the token of a guest');
}

interface PromotedUser extends NewUser {
  readonly passwordHash: string | undefined;
  readonly anyAccounts: AnyAccounts;
}

/** The guest keeps the name and the rooms. Its sessions end, or whoever holds their tokens would become an ordinary user. */
async function promote(options: RegistrationOptions, guest: Guest, user: PromotedUser): Promise<NewUserResult> {
  const { accountId, localpart } = guest;
  const { passwordHash, registrationToken } = user;
  const userId = formatLocalUserId(localpart, options.serverName);
  await options.devices.deleteAllWith({ accountId, userId }, undefined, async (tx) => {
    await spendToken(tx, registrationToken);
    const isFirst = await decideFirst(tx, user.anyAccounts);
    const isPromoted = await promoteGuest(tx, accountId, { passwordHash, isAdmin: isFirst });
    if (!isPromoted) throw new MatrixError('M_FORBIDDEN', 'This account is not the one of a guest any more');
    if (isFirst) await deleteBootstrapTokens(tx);
  });
  const wanted = user.session;
  if (wanted === undefined) return { userId, session: undefined };
  const session = await options.database.transaction((tx) => options.sessions.open(tx, { accountId, ...wanted }));
  return { userId, session };
}

async function spendToken(tx: Transaction, token: string | undefined): Promise<void> {
  if (token === undefined || (await spendRegistrationToken(tx, token))) return;
  throw new MatrixError('M_FORBIDDEN', 'This registration token has been used up');
}

interface DecidedUser extends NewUser {
  readonly passwordHash: string | undefined;
  readonly isFirst: boolean;
}

async function insertUser(options: RegistrationOptions, tx: Transaction, user: DecidedUser): Promise<NewUserResult> {
  const { registrationToken, isFirst, passwordHash, isGuest = false } = user;
  await spendToken(tx, registrationToken);
  const localpart = user.localpart ?? options.random.alphanumeric(RANDOM_LOCALPART_LENGTH).toLowerCase();
  const isAdmin = isFirst || user.isAdmin === true;
  const createdAt = options.clock.now();
  const accountId = await insertAccount(tx, { localpart, passwordHash, isAdmin, isGuest, createdAt });
  if (accountId === undefined) throw inUse();
  if (isFirst) await deleteBootstrapTokens(tx);
  const wanted = user.session;
  const session = wanted === undefined ? undefined : await options.sessions.open(tx, { accountId, ...wanted });
  return { userId: formatLocalUserId(localpart, options.serverName), session };
}

/** One at a time while nobody is known to have an account, so that exactly one is the first. */
async function decideFirst(tx: Transaction, anyAccounts: AnyAccounts): Promise<boolean> {
  if (await anyAccounts(tx)) return false;
  await lockFirstAccount(tx);
  return !(await anyAccounts(tx));
}

function inUse(): MatrixError {
  return new MatrixError('M_USER_IN_USE', 'This user name is taken');
}
