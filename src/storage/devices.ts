/**
 * Devices: one per login, named by the client or by us. Deleting a device deletes its tokens with it.
 */
import type { Transaction } from './database.ts';
import { bigintArray, sql, textArray } from './sql.ts';

export interface Device {
  readonly deviceId: string;
  readonly displayName: string | undefined;
  readonly lastSeenAt: number | undefined;
  readonly lastSeenIp: string | undefined;
}

export interface DeviceKey {
  readonly accountId: number;
  readonly deviceId: string;
}

export interface DeviceSighting extends DeviceKey {
  readonly seenAt: number;
  readonly ip: string;
  readonly userAgent: string;
}

interface DeviceRow {
  readonly device_id: string;
  readonly display_name: string | null;
  readonly last_seen_at: number | null;
  readonly last_seen_ip: string | null;
}

/** A known device keeps its display name. Returns whether the device is new. */
export async function insertDevice(
  tx: Transaction,
  device: DeviceKey & { readonly displayName: string | undefined; readonly createdAt: number },
): Promise<boolean> {
  const rows = await tx.query(sql<{ device_id: string }>`
    insert into devices (account_id, device_id, display_name, created_at)
    values (${device.accountId}, ${device.deviceId}, ${device.displayName ?? null}, ${device.createdAt})
    on conflict do nothing
    returning device_id`);
  return rows.length > 0;
}

export async function listDevices(tx: Transaction, accountId: number): Promise<readonly Device[]> {
  const rows = await tx.query(sql<DeviceRow>`
    select device_id, display_name, last_seen_at, last_seen_ip
    from devices where account_id = ${accountId} order by device_id`);
  return rows.map(readDevice);
}

export async function loadDevice(tx: Transaction, { accountId, deviceId }: DeviceKey): Promise<Device | undefined> {
  const rows = await tx.query(sql<DeviceRow>`
    select device_id, display_name, last_seen_at, last_seen_ip
    from devices where account_id = ${accountId} and device_id = ${deviceId}`);
  return rows.map(readDevice)[0];
}

/** Returns whether there is such a device. */
export async function updateDeviceName(
  tx: Transaction,
  { accountId, deviceId }: DeviceKey,
  displayName: string,
): Promise<boolean> {
  const rows = await tx.query(sql<{ device_id: string }>`
    update devices set display_name = ${displayName}
    where account_id = ${accountId} and device_id = ${deviceId}
    returning device_id`);
  return rows.length > 0;
}

/** Records when devices were last seen; those deleted in the meantime are left out. */
export async function updateLastSeen(tx: Transaction, sightings: readonly DeviceSighting[]): Promise<void> {
  await tx.query(sql`
    update devices d
    set last_seen_at = greatest(d.last_seen_at, s.seen_at), last_seen_ip = s.ip, last_seen_user_agent = s.user_agent
    from unnest(
      ${bigintArray(sightings.map(({ accountId }) => accountId))}::bigint[],
      ${textArray(sightings.map(({ deviceId }) => deviceId))}::text[],
      ${bigintArray(sightings.map(({ seenAt }) => seenAt))}::bigint[],
      ${textArray(sightings.map(({ ip }) => ip))}::text[],
      ${textArray(sightings.map(({ userAgent }) => userAgent))}::text[]
    ) as s (account_id, device_id, seen_at, ip, user_agent)
    where d.account_id = s.account_id and d.device_id = s.device_id`);
}

/** Deletes those of the devices that exist, and returns their ids. */
export async function deleteDevices(
  tx: Transaction,
  accountId: number,
  deviceIds: readonly string[],
): Promise<readonly string[]> {
  const rows = await tx.query(sql<{ device_id: string }>`
    delete from devices where account_id = ${accountId} and device_id = any(${textArray(deviceIds)}::text[])
    returning device_id`);
  return rows.map((row) => row.device_id);
}

/** Deletes all devices of an account but one, and returns their ids. */
export async function deleteAllDevices(
  tx: Transaction,
  accountId: number,
  kept: string | undefined,
): Promise<readonly string[]> {
  const rows = await tx.query(sql<{ device_id: string }>`
    delete from devices where account_id = ${accountId} and device_id is distinct from ${kept ?? null}
    returning device_id`);
  return rows.map((row) => row.device_id);
}

function readDevice(row: DeviceRow): Device {
  return {
    deviceId: row.device_id,
    displayName: row.display_name ?? undefined,
    lastSeenAt: row.last_seen_at ?? undefined,
    lastSeenIp: row.last_seen_ip ?? undefined,
  };
}
