/**
 * Pushers: where a user's notifications are sent to beside their syncing devices, and how far each has got.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Transaction } from './database.ts';
import { sql, textArray } from './sql.ts';

export interface PusherKey {
  readonly userId: UserId;
  readonly appId: string;
  readonly pushkey: string;
}

export interface Pusher extends PusherKey {
  /** The session that set it, which it ends with. */
  readonly deviceId: string;
  readonly kind: string;
  readonly appDisplayName: string;
  readonly deviceDisplayName: string;
  readonly profileTag: string;
  readonly lang: string;
  readonly data: JsonObject;
  /** The notifications up to here were pushed, or are not to be. */
  readonly position: number;
}

interface Row {
  readonly user_id: UserId;
  readonly device_id: string;
  readonly app_id: string;
  readonly pushkey: string;
  readonly kind: string;
  readonly app_display_name: string;
  readonly device_display_name: string;
  readonly profile_tag: string;
  readonly lang: string;
  readonly data: string;
  readonly position: number;
}

/** Sets a pusher; one that was there goes on where it stood. */
export async function upsertPusher(tx: Transaction, pusher: Pusher): Promise<void> {
  await tx.query(sql`
    insert into pushers (user_id, device_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag,
      lang, data, position)
    values (${pusher.userId}, ${pusher.deviceId}, ${pusher.appId}, ${pusher.pushkey}, ${pusher.kind},
      ${pusher.appDisplayName}, ${pusher.deviceDisplayName}, ${pusher.profileTag}, ${pusher.lang},
      ${JSON.stringify(pusher.data)}, ${pusher.position})
    on conflict (user_id, app_id, pushkey) do update set device_id = excluded.device_id, kind = excluded.kind,
      app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
      profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data`);
}

export async function listPushers(tx: Transaction, userId: UserId): Promise<readonly Pusher[]> {
  const rows = await tx.query(sql<Row>`
    select user_id, device_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data,
      position
    from pushers where user_id = ${userId} order by pusher_id`);
  return rows.map((row) => ({
    userId: row.user_id,
    deviceId: row.device_id,
    appId: row.app_id,
    pushkey: row.pushkey,
    kind: row.kind,
    appDisplayName: row.app_display_name,
    deviceDisplayName: row.device_display_name,
    profileTag: row.profile_tag,
    lang: row.lang,
    // Only objects are ever stored.
    data: parseJsonText(row.data) as JsonObject,
    position: row.position,
  }));
}

/** Everybody who has a pusher. */
export async function listPusherUsers(tx: Transaction): Promise<readonly UserId[]> {
  const rows = await tx.query(sql<{ user_id: UserId }>`select distinct user_id from pushers`);
  return rows.map(({ user_id }) => user_id);
}

export async function deletePusher(tx: Transaction, { userId, appId, pushkey }: PusherKey): Promise<void> {
  await tx.query(sql`
    delete from pushers where user_id = ${userId} and app_id = ${appId} and pushkey = ${pushkey}`);
}

/** Those of other users for the same app on the same device. */
export async function deletePushersOfOthers(tx: Transaction, { userId, appId, pushkey }: PusherKey): Promise<void> {
  await tx.query(sql`
    delete from pushers where app_id = ${appId} and pushkey = ${pushkey} and user_id <> ${userId}`);
}

export async function deletePushersOfDevices(
  tx: Transaction,
  userId: UserId,
  deviceIds: readonly string[],
): Promise<void> {
  await tx.query(sql`
    delete from pushers where user_id = ${userId} and device_id = any(${textArray(deviceIds)}::text[])`);
}

export async function savePusherPosition(tx: Transaction, pusher: PusherKey, position: number): Promise<void> {
  await tx.query(sql`
    update pushers set position = greatest(position, ${position})
    where user_id = ${pusher.userId} and app_id = ${pusher.appId} and pushkey = ${pusher.pushkey}`);
}
