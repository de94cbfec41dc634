/**
 * What a user does to the own account with fresh proof of identity: a new password, and deactivation, which is for ever.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#account-management
 */
import type { UserId } from '../protocol/ids.ts';
import { deactivateAccount, updatePasswordHash } from '../storage/accounts.ts';
import type { Database } from '../storage/database.ts';
import { deleteProfile } from '../storage/profiles.ts';
import type { DeviceOwner, Devices } from './devices.ts';
import type { PasswordHasher } from './password-hasher.ts';
import type { PasswordCheck } from './password-strength.ts';

export interface CredentialsOptions {
  readonly database: Database;
  readonly hasher: PasswordHasher;
  readonly checkPassword: PasswordCheck;
  readonly devices: Devices;
  /** For rooms to be left, pushers, account data; `erase` asks to hide the user's messages from newcomers. */
  onDeactivated?(userId: UserId, options: { readonly erase: boolean }): Promise<void>;
}

export interface Credentials {
  /** Throws M_WEAK_PASSWORD; to be asked before the user has to prove anything. */
  checkPassword(password: string, userId: UserId): void;
  /** `keptDevice` stays logged in; undefined keeps all. */
  changePassword(owner: DeviceOwner, password: string, keptDevice: string | undefined): Promise<void>;
  deactivate(owner: DeviceOwner, options: { readonly erase: boolean }): Promise<void>;
}

export function createCredentials(options: CredentialsOptions): Credentials {
  const { database, devices } = options;
  return {
    checkPassword: (password, userId) => options.checkPassword(password, [userId]),
    async changePassword(owner, password, keptDevice) {
      const hash = await options.hasher.hash(password);
      if (keptDevice === undefined) await updatePasswordHash(database, owner.accountId, hash);
      else await devices.deleteAllWith(owner, keptDevice, (tx) => updatePasswordHash(tx, owner.accountId, hash));
    },
    async deactivate(owner, { erase }) {
      await devices.deleteAllWith(owner, undefined, async (tx) => {
        await deactivateAccount(tx, owner.accountId, erase);
        await deleteProfile(tx, owner.userId);
      });
      await options.onDeactivated?.(owner.userId, { erase });
    },
  };
}
