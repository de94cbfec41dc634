/**
 * Messages to our devices and news of devices elsewhere, as other servers sent them: written with the answer to their
 * transaction, so that nothing acknowledged is lost and nothing comes twice.
 */
import type { UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql, textArray } from './sql.ts';

export interface ReceivedMessage {
  readonly localpart: string;
  /** `*` for all devices that the user has. */
  readonly deviceId: string;
  readonly sender: UserId;
  readonly type: string;
  readonly messageId: string;
  /** JSON. */
  readonly content: string;
}

export interface ReceivedDeviceUpdate {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly streamId: number;
  readonly content: string;
}

export interface ReceivedSigningKeys {
  readonly userId: UserId;
  readonly content: string;
}

/** Of one device: whoever has not synced for so long has lost more than this. */
const MAX_WAITING_PER_DEVICE = 10_000;
/** Of one user, as other servers bound it. */
const MAX_DEVICES_PER_USER = 1_000;

/** Keeps the messages for devices that there are; one that is here already is not kept twice. */
export async function insertReceivedMessages(
  tx: Transaction,
  messages: readonly ReceivedMessage[],
  receivedAt: number,
): Promise<void> {
  if (messages.length === 0) return;
  await tx.query(sql`
    with target as materialized (
      select d.account_id, d.device_id, m.sender, m.type, m.message_id, m.content, m.place
      from unnest(
        ${textArray(messages.map(({ localpart }) => localpart))}::text[],
        ${textArray(messages.map(({ deviceId }) => deviceId))}::text[],
        ${textArray(messages.map(({ sender }) => sender))}::text[],
        ${textArray(messages.map(({ type }) => type))}::text[],
        ${textArray(messages.map(({ messageId }) => messageId))}::text[],
        ${textArray(messages.map(({ content }) => content))}::text[]
      ) with ordinality as m (localpart, device_id, sender, type, message_id, content, place)
      join accounts a on a.localpart = m.localpart and not a.deactivated
      join devices d on d.account_id = a.account_id and (d.device_id = m.device_id or m.device_id = '*')
    ), waiting as materialized (
      select account_id, device_id, count(*) as count from received_to_device
      where (account_id, device_id) in (select account_id, device_id from target) group by account_id, device_id
    )
    insert into received_to_device (account_id, device_id, sender, type, message_id, content, received_at)
    select t.account_id, t.device_id, t.sender, t.type, t.message_id, t.content, ${receivedAt}
    from target t left join waiting w using (account_id, device_id)
    where coalesce(w.count, 0) < ${MAX_WAITING_PER_DEVICE}
    order by t.place
    on conflict (account_id, device_id, sender, message_id) do nothing`);
}

/** Keeps the newest of each device, of users who are in a room with ours. */
export async function upsertReceivedUpdates(
  tx: Transaction,
  updates: readonly ReceivedDeviceUpdate[],
  receivedAt: number,
): Promise<void> {
  if (updates.length === 0) return;
  await tx.query(sql`
    insert into received_device_updates (user_id, device_id, stream_id, content, received_at)
    select distinct on (u.user_id, u.device_id) u.user_id, u.device_id, u.stream_id, u.content, ${receivedAt}
    from unnest(
      ${textArray(updates.map(({ userId }) => userId))}::text[],
      ${textArray(updates.map(({ deviceId }) => deviceId))}::text[],
      ${bigintArray(updates.map(({ streamId }) => streamId))}::bigint[],
      ${textArray(updates.map(({ content }) => content))}::text[]
    ) as u (user_id, device_id, stream_id, content)
    where exists (select from memberships m where m.user_id = u.user_id and m.membership = 'join')
      and (select count(*) from received_device_updates r where r.user_id = u.user_id) < ${MAX_DEVICES_PER_USER}
    order by u.user_id, u.device_id, u.stream_id desc
    on conflict (user_id, device_id) do update
      set stream_id = excluded.stream_id, content = excluded.content, received_at = excluded.received_at
      where received_device_updates.stream_id < excluded.stream_id`);
}

/** Keeps the newest keys of each user who is in a room with ours. */
export async function upsertReceivedSigningKeys(
  tx: Transaction,
  keys: readonly ReceivedSigningKeys[],
  receivedAt: number,
): Promise<void> {
  const newest = [...new Map(keys.map((one) => [one.userId, one])).values()];
  if (newest.length === 0) return;
  await tx.query(sql`
    insert into received_signing_keys (user_id, content, received_at)
    select k.user_id, k.content, ${receivedAt} from unnest(
      ${textArray(newest.map(({ userId }) => userId))}::text[],
      ${textArray(newest.map(({ content }) => content))}::text[]
    ) as k (user_id, content)
    where exists (select from memberships m where m.user_id = k.user_id and m.membership = 'join')
    on conflict (user_id) do update set content = excluded.content, received_at = excluded.received_at`);
}
