/**
 * What administrators do with accounts: make, change, list and look at them. Passwords are taken as they are, and
 * changes of flags count at once for sessions that are open.
 */
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import { isNewLocalpart, MAX_ID_BYTES, type RoomId, type UserId } from '../protocol/ids.ts';
import { type FoundAccount, searchAccounts, type UserSearch } from '../storage/account-search.ts';
import {
  type Account,
  hasAccounts,
  insertAccount,
  loadAccountByLocalpart,
  lockFirstAccount,
} from '../storage/accounts.ts';
import {
  type AccountSummary,
  type DeviceDetails,
  listAccounts,
  listDeviceDetails,
  updateAccount,
} from '../storage/admin-accounts.ts';
import type { Database } from '../storage/database.ts';
import { deleteAllDevices, deleteDevices } from '../storage/devices.ts';
import { loadMediaUsage, type MediaUsage } from '../storage/media.ts';
import { countRoomsOfUser, listRoomsAnywhereOfUser } from '../storage/memberships.ts';
import { loadProfile, type ProfileField } from '../storage/profiles.ts';
import { deleteBootstrapTokens } from '../storage/registration-tokens.ts';
import { formatLocalUserId, readLoginName } from './localpart.ts';
import type { Session, Sessions } from './sessions.ts';

export interface AdminUsersOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: string;
  hashPassword(password: string): Promise<string>;
  readonly sessions: Pick<Sessions, 'open'>;
  /** The authenticator's `forget`. */
  forgetTokens(accountId: number): void;
  /** Whether a localpart belongs to the server itself or to an application service. */
  isReserved?(localpart: string): boolean;
  onAccountCreated?(userId: UserId): Promise<void>;
  onDevicesDeleted?(userId: UserId, deviceIds: readonly string[]): Promise<void>;
}

export interface UserCreation {
  readonly localpart: string;
  readonly password: string | undefined;
  readonly isLocked: boolean;
  readonly isSuspended: boolean;
}

export interface UserChanges {
  readonly password?: string | undefined;
  readonly isAdmin?: boolean | undefined;
  readonly isLocked?: boolean | undefined;
  readonly isSuspended?: boolean | undefined;
}

/** A local account by what an administrator called it. */
export interface LocalUser {
  readonly userId: UserId;
  readonly account: Account;
}

export interface UserDetails extends LocalUser {
  readonly profile: readonly ProfileField[];
  readonly devices: readonly DeviceDetails[];
  /** The newest, MAX_ROOMS_SHOWN of each; how many there are is in `roomCounts`. */
  readonly rooms: Readonly<Record<'join' | 'invite' | 'knock', readonly RoomId[]>>;
  readonly roomCounts: Readonly<Record<string, number>>;
  readonly media: MediaUsage;
}

export interface AdminUsers {
  /** The new account's id. */
  create(user: UserCreation): Promise<number>;
  /** By user id or localpart; throws M_NOT_FOUND for whoever has no account here. */
  find(name: string): Promise<LocalUser>;
  update(name: string, changes: UserChanges): Promise<void>;
  /** The newest first, those before the given account. */
  list(page: { readonly before: number; readonly limit: number }): Promise<readonly AccountSummary[]>;
  /** As `list`, of those that meet all that is asked for. */
  search(wanted: Omit<UserSearch, 'serverName'>): Promise<readonly FoundAccount[]>;
  loadDetails(name: string): Promise<UserDetails>;
  /** A session for somebody who need not log in; throws M_USER_DEACTIVATED where nobody may. */
  openSession(name: string, displayName: string | undefined): Promise<Session>;
  /** Logs all devices out; how many there were. */
  resetSessions(name: string): Promise<number>;
  /** Logs one device out; throws M_NOT_FOUND where there is none of that id. */
  deleteDevice(name: string, deviceId: string): Promise<void>;
  /** Sets a password, a random one where none is given, and logs all devices out unless told otherwise. */
  resetPassword(name: string, wanted: PasswordReset): Promise<{ readonly password: string; readonly devices: number }>;
}

export interface PasswordReset {
  readonly password: string | undefined;
  readonly logsOut: boolean;
}

/** Of each membership in a user's details: an answer of some 60 kB. */
const MAX_ROOMS_SHOWN = 1_000;
/** More than 100 bits, and still to be read out over the telephone. */
const PASSWORD_LENGTH = 20;

export function createAdminUsers(options: AdminUsersOptions): AdminUsers {
  const { database, serverName } = options;

  const find = async (name: string): Promise<LocalUser> => {
    const localpart = readLoginName(name, serverName);
    const account = localpart === undefined ? undefined : await loadAccountByLocalpart(database, localpart);
    if (account === undefined) throw new MatrixError('M_NOT_FOUND', 'No such user on this server');
    return { userId: formatLocalUserId(account.localpart, serverName), account };
  };

  return {
    find,
    create: (user) => create(options, user),
    async update(name, { password, ...flags }) {
      const { account } = await find(name);
      const passwordHash = password === undefined ? undefined : await options.hashPassword(password);
      await updateAccount(database, account.accountId, { ...flags, passwordHash });
      options.forgetTokens(account.accountId);
    },
    list: (page) => listAccounts(database, page),
    search: (wanted) => searchAccounts(database, { ...wanted, serverName }),
    async loadDetails(name) {
      const { userId, account } = await find(name);
      const listRooms = (membership: string): Promise<readonly RoomId[]> =>
        listRoomsAnywhereOfUser(database, { userId, membership, limit: MAX_ROOMS_SHOWN });
      const [profile, devices, media, roomCounts, join, invite, knock] = await Promise.all([
        loadProfile(database, userId),
        listDeviceDetails(database, account.accountId),
        loadMediaUsage(database, userId),
        countRoomsOfUser(database, userId),
        listRooms('join'),
        listRooms('invite'),
        listRooms('knock'),
      ]);
      return { userId, account, profile, devices, media, roomCounts, rooms: { join, invite, knock } };
    },
    ...createSessionAdmin(options, find),
  };
}

type SessionAdmin = Pick<AdminUsers, 'openSession' | 'resetSessions' | 'deleteDevice' | 'resetPassword'>;

/** Letting users in, and throwing them out. */
function createSessionAdmin(options: AdminUsersOptions, find: AdminUsers['find']): SessionAdmin {
  const { database } = options;
  const logOut = async ({ userId, account }: LocalUser): Promise<number> => {
    const deleted = await deleteAllDevices(database, account.accountId, undefined);
    options.forgetTokens(account.accountId);
    if (deleted.length > 0) await options.onDevicesDeleted?.(userId, deleted);
    return deleted.length;
  };

  return {
    async openSession(name, displayName) {
      const { account } = await find(name);
      if (account.isDeactivated) throw deactivated();
      const session = { accountId: account.accountId, deviceId: undefined, displayName, wantsRefreshToken: false };
      return database.transaction((tx) => options.sessions.open(tx, session));
    },
    resetSessions: async (name) => logOut(await find(name)),
    async deleteDevice(name, deviceId) {
      const { userId, account } = await find(name);
      const deleted = await deleteDevices(database, account.accountId, [deviceId]);
      options.forgetTokens(account.accountId);
      if (deleted.length === 0) throw new MatrixError('M_NOT_FOUND', 'The user has no such device');
      await options.onDevicesDeleted?.(userId, deleted);
    },
    async resetPassword(name, { password = options.random.alphanumeric(PASSWORD_LENGTH), logsOut }) {
      const user = await find(name);
      if (user.account.isDeactivated) throw deactivated();
      const passwordHash = await options.hashPassword(password);
      await updateAccount(database, user.account.accountId, { passwordHash });
      return { password, devices: logsOut ? await logOut(user) : 0 };
    },
  };
}

function deactivated(): MatrixError {
  return new MatrixError('M_USER_DEACTIVATED', 'This account has been deactivated');
}

async function create(options: AdminUsersOptions, user: UserCreation): Promise<number> {
  const { database, clock, serverName } = options;
  const { localpart, password, isLocked, isSuspended } = user;
  if (!isNewLocalpart(localpart) || localpart.length + serverName.length + 2 > MAX_ID_BYTES) {
    throw new MatrixError('M_INVALID_USERNAME', 'A localpart may hold lower case letters, digits and ._=-/+ only');
  }
  if (options.isReserved?.(localpart) === true) throw new MatrixError('M_USER_IN_USE', 'This user name is reserved');
  const passwordHash = password === undefined ? undefined : await options.hashPassword(password);
  const accountId = await database.transaction(async (tx) => {
    await lockFirstAccount(tx);
    const isFirst = !(await hasAccounts(tx));
    const createdAt = clock.now();
    const created = await insertAccount(tx, { localpart, passwordHash, isAdmin: isFirst, isGuest: false, createdAt });
    if (created === undefined) throw new MatrixError('M_USER_IN_USE', 'This user name is taken');
    if (isLocked || isSuspended) await updateAccount(tx, created, { isLocked, isSuspended });
    if (isFirst) await deleteBootstrapTokens(tx);
    return created;
  });
  await options.onAccountCreated?.(formatLocalUserId(localpart, serverName));
  return accountId;
}
