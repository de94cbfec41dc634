/**
 * A new password, set by a user with fresh proof of identity.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#account-management
 */
import type { UserId } from '../protocol/ids.ts';
import { updatePasswordHash } from '../storage/accounts.ts';
import type { Database } from '../storage/database.ts';
import type { DeviceOwner, Devices } from './devices.ts';
import type { PasswordHasher } from './password-hasher.ts';
import type { PasswordCheck } from './password-strength.ts';

export interface CredentialsOptions {
  readonly database: Database;
  readonly hasher: PasswordHasher;
  readonly checkPassword: PasswordCheck;
  readonly devices: Devices;
}

export interface Credentials {
  /** Throws M_WEAK_PASSWORD; to be asked before the user has to prove anything. */
  checkPassword(password: string, userId: UserId): void;
  /** `keptDevice` stays logged in; undefined keeps all. */
  changePassword(owner: DeviceOwner, password: string, keptDevice: string | undefined): Promise<void>;
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
  };
}
