/**
 * Devices of an account: deleting them ends their sessions. The authenticator and the hook are told after the commit.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#device-management
 */
import type { UserId } from '../protocol/ids.ts';
import { loadAccountByLocalpart } from '../storage/accounts.ts';
import type { Database, Transaction } from '../storage/database.ts';
import {
  type Device,
  type DeviceKey,
  deleteAllDevices,
  deleteDevices,
  listDevices,
  loadDevice,
  updateDeviceName,
} from '../storage/devices.ts';

export type { Device };

export interface DevicesOptions {
  readonly database: Database;
  forgetTokens(accountId: number, deviceIds?: ReadonlySet<string>): void;
  /** For everything that belongs to a device: keys, to-device messages, pushers. */
  onDevicesDeleted?(userId: UserId, deviceIds: readonly string[]): Promise<void>;
}

export interface DeviceOwner {
  readonly accountId: number;
  readonly userId: UserId;
}

export interface Devices {
  list(owner: DeviceOwner): Promise<readonly Device[]>;
  /** Undefined where there is no such user. */
  listOfUser(localpart: string): Promise<readonly Device[] | undefined>;
  load(device: DeviceKey): Promise<Device | undefined>;
  /** Returns whether there is such a device. */
  rename(device: DeviceKey, displayName: string): Promise<boolean>;
  delete(owner: DeviceOwner, deviceIds: readonly string[]): Promise<void>;
  /** All of them, or all but one. */
  deleteAll(owner: DeviceOwner, kept?: string): Promise<void>;
  /** Like deleteAll, together with `work` in one transaction. */
  deleteAllWith(owner: DeviceOwner, kept: string | undefined, work: (tx: Transaction) => Promise<void>): Promise<void>;
}

export function createDevices(options: DevicesOptions): Devices {
  const { database } = options;

  const tell = async ({ accountId, userId }: DeviceOwner, deleted: readonly string[]): Promise<void> => {
    options.forgetTokens(accountId, new Set(deleted));
    if (deleted.length > 0) await options.onDevicesDeleted?.(userId, deleted);
  };
  const deleteAllWith: Devices['deleteAllWith'] = async (owner, kept, work) => {
    const deleted = await database.transaction(async (tx) => {
      await work(tx);
      return deleteAllDevices(tx, owner.accountId, kept);
    });
    await tell(owner, deleted);
  };

  return {
    list: ({ accountId }) => listDevices(database, accountId),
    async listOfUser(localpart) {
      const account = await loadAccountByLocalpart(database, localpart);
      return account === undefined || account.isDeactivated ? undefined : listDevices(database, account.accountId);
    },
    load: (device) => loadDevice(database, device),
    rename: (device, displayName) => updateDeviceName(database, device, displayName),
    async delete(owner, deviceIds) {
      await tell(owner, await deleteDevices(database, owner.accountId, deviceIds));
    },
    deleteAll: (owner, kept) => deleteAllWith(owner, kept, () => Promise.resolve()),
    deleteAllWith,
  };
}
