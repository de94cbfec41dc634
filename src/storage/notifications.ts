/**
 * Notifications: what each event means to the members of its room. The event's row says it for all of them; a member to
 * whom it means something else has an exception.
 */
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import { getRoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { loadEventsByNid, type StoredEvent } from './events.ts';
import { bigintArray, booleanArray, sql, textArray } from './sql.ts';
import { saveFollowerPosition } from './stream-followers.ts';

export const NOTIFICATIONS_FOLLOWER = 'notifications';

/** What the push rules made of an event for somebody. */
export interface NotificationOutcome {
  readonly notify: boolean;
  readonly highlight: boolean;
  /** As JSON; undefined for none. */
  readonly tweaks: string | undefined;
}

export interface Notification {
  readonly roomId: RoomId;
  /** The event's. */
  readonly position: number;
  readonly eventId: EventId;
  /** `main` or a thread's root. */
  readonly threadId: string;
  readonly sender: UserId;
  /** For the members that are no exceptions. */
  readonly common: NotificationOutcome;
  readonly exceptions: ReadonlyMap<UserId, NotificationOutcome>;
}

/** Where a member came into a room. */
export interface UnreadStart {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly position: number;
}

export interface NotificationBatch {
  readonly notifications: readonly Notification[];
  readonly starts: readonly UnreadStart[];
  /** Notifications whose events were redacted. */
  readonly removed: readonly Pick<Notification, 'roomId' | 'position'>[];
  /** Everything up to here was looked at. */
  readonly position: number;
}

/** Writes what a follower made of a part of the stream; the same part may come again after a crash. */
export async function insertNotifications(tx: Transaction, batch: NotificationBatch): Promise<void> {
  if (batch.notifications.length > 0) await insertEvents(tx, batch.notifications);
  const exceptions = batch.notifications.flatMap(({ exceptions: of, ...event }) =>
    [...of].map(([userId, outcome]) => ({ ...event, userId, outcome })),
  );
  if (exceptions.length > 0) await insertExceptions(tx, exceptions);
  if (batch.starts.length > 0) await upsertStarts(tx, batch.starts);
  if (batch.removed.length > 0) await deleteNotifications(tx, batch.removed);
  await saveFollowerPosition(tx, NOTIFICATIONS_FOLLOWER, batch.position);
}

async function insertEvents(tx: Transaction, rows: readonly Notification[]): Promise<void> {
  await tx.query(sql`
    insert into notifications (room_id, position, event_id, thread_id, sender, notify, highlight, tweaks)
    select * from unnest(
      ${textArray(rows.map(({ roomId }) => roomId))}::text[],
      ${bigintArray(rows.map(({ position }) => position))}::bigint[],
      ${textArray(rows.map(({ eventId }) => eventId))}::text[],
      ${textArray(rows.map(({ threadId }) => threadId))}::text[],
      ${textArray(rows.map(({ sender }) => sender))}::text[],
      ${booleanArray(rows.map(({ common }) => common.notify))}::boolean[],
      ${booleanArray(rows.map(({ common }) => common.highlight))}::boolean[],
      ${textArray(rows.map(({ common }) => common.tweaks ?? null))}::text[])
    on conflict do nothing`);
}

interface ExceptionRow extends Omit<Notification, 'exceptions'> {
  readonly userId: UserId;
  readonly outcome: NotificationOutcome;
}

async function insertExceptions(tx: Transaction, rows: readonly ExceptionRow[]): Promise<void> {
  await tx.query(sql`
    insert into notification_exceptions (user_id, room_id, position, notify, highlight, tweaks)
    select * from unnest(
      ${textArray(rows.map(({ userId }) => userId))}::text[],
      ${textArray(rows.map(({ roomId }) => roomId))}::text[],
      ${bigintArray(rows.map(({ position }) => position))}::bigint[],
      ${booleanArray(rows.map(({ outcome }) => outcome.notify))}::boolean[],
      ${booleanArray(rows.map(({ outcome }) => outcome.highlight))}::boolean[],
      ${textArray(rows.map(({ outcome }) => outcome.tweaks ?? null))}::text[])
    on conflict do nothing`);
}

/** Who came, left and came again within one batch starts where they came last. */
async function upsertStarts(tx: Transaction, all: readonly UnreadStart[]): Promise<void> {
  const rows = [...new Map(all.map((start) => [JSON.stringify([start.roomId, start.userId]), start])).values()];
  await tx.query(sql`
    insert into unread_starts (room_id, user_id, position)
    select * from unnest(
      ${textArray(rows.map(({ roomId }) => roomId))}::text[],
      ${textArray(rows.map(({ userId }) => userId))}::text[],
      ${bigintArray(rows.map(({ position }) => position))}::bigint[])
    on conflict (room_id, user_id) do update set position = excluded.position`);
}

async function deleteNotifications(tx: Transaction, removed: NotificationBatch['removed']): Promise<void> {
  const roomIds = textArray(removed.map(({ roomId }) => roomId));
  const positions = bigintArray(removed.map(({ position }) => position));
  await tx.query(sql`
    delete from notification_exceptions x using unnest(${roomIds}::text[], ${positions}::bigint[]) as r (room_id, position)
    where x.room_id = r.room_id and x.position = r.position`);
  await tx.query(sql`
    delete from notifications n using unnest(${roomIds}::text[], ${positions}::bigint[]) as r (room_id, position)
    where n.room_id = r.room_id and n.position = r.position`);
}

interface LoadedRow {
  readonly event_id: EventId;
  readonly thread_id: string;
  readonly sender: UserId;
  readonly notify: boolean;
  readonly highlight: boolean;
  readonly tweaks: string | null;
  readonly user_id: UserId | null;
  readonly user_notify: boolean | null;
  readonly user_highlight: boolean | null;
  readonly user_tweaks: string | null;
}

/** One notification with its exceptions. */
export async function loadNotification(
  tx: Transaction,
  roomId: RoomId,
  position: number,
): Promise<Notification | undefined> {
  const rows = await tx.query(sql<LoadedRow>`
    select n.event_id, n.thread_id, n.sender, n.notify, n.highlight, n.tweaks,
      x.user_id, x.notify as user_notify, x.highlight as user_highlight, x.tweaks as user_tweaks
    from notifications n left join notification_exceptions x using (room_id, position)
    where n.room_id = ${roomId} and n.position = ${position}`);
  const [first] = rows;
  if (first === undefined) return undefined;
  return {
    roomId,
    position,
    eventId: first.event_id,
    threadId: first.thread_id,
    sender: first.sender,
    common: { notify: first.notify, highlight: first.highlight, tweaks: first.tweaks ?? undefined },
    exceptions: new Map(
      rows.flatMap((row): [UserId, NotificationOutcome][] =>
        row.user_id === null
          ? []
          : [
              [
                row.user_id,
                {
                  notify: row.user_notify === true,
                  highlight: row.user_highlight === true,
                  tweaks: row.user_tweaks ?? undefined,
                },
              ],
            ],
      ),
    ),
  };
}

export interface NotificationsWanted {
  readonly userId: UserId;
  /** Exclusive. */
  readonly before: number;
  readonly limit: number;
  readonly onlyHighlights: boolean;
}

export interface NotifiedEvent {
  readonly position: number;
  readonly event: StoredEvent;
  readonly tweaks: string | undefined;
  /** Whether a receipt of the user reaches to it. */
  readonly isRead: boolean;
}

interface NotifiedRow {
  readonly position: number;
  readonly event_nid: number;
  readonly room_version: string;
  readonly tweaks: string | null;
  readonly is_read: boolean;
}

/** What a user was notified of, newest first: one statement, and one more per room version. */
export async function listNotifications(
  tx: Transaction,
  wanted: NotificationsWanted,
): Promise<readonly NotifiedEvent[]> {
  const { userId, before, limit, onlyHighlights } = wanted;
  const rows = await tx.query(sql<NotifiedRow>`
    select n.position, e.event_nid, r.room_version, n.tweaks,
      n.position <= coalesce((
        select max(event_position) from receipts
        where receipts.room_id = m.room_id and receipt_type in ('m.read', 'm.read.private')
          and receipts.user_id = ${userId} and receipts.thread_id in ('', n.thread_id)), 0) as is_read
    from memberships m
    left join unread_starts s on s.room_id = m.room_id and s.user_id = m.user_id
    cross join lateral (
      select c.position, c.event_id, c.thread_id, case when x.user_id is null then c.tweaks else x.tweaks end as tweaks
      from notifications c
      left join notification_exceptions x
        on x.user_id = ${userId} and x.room_id = c.room_id and x.position = c.position
      where c.room_id = m.room_id and c.position < ${before} and c.sender <> ${userId}
        -- Of a room that the user is only invited to, nothing but the invite.
        and case when m.membership = 'join' then c.position > s.position and coalesce(x.notify, c.notify)
          else c.position >= m.position and x.notify end
        and (not ${onlyHighlights} or coalesce(x.highlight, c.highlight))
      order by c.position desc limit ${limit}
    ) n
    join events e on e.event_id = n.event_id
    join rooms r on r.room_id = m.room_id
    where m.user_id = ${userId} and m.membership in ('join', 'invite')
    order by n.position desc limit ${limit}`);
  return readNotified(tx, rows);
}

/** What a user was notified of after a position, oldest first. */
export async function listNewNotifications(
  tx: Transaction,
  { userId, after, limit }: { readonly userId: UserId; readonly after: number; readonly limit: number },
): Promise<readonly NotifiedEvent[]> {
  const rows = await tx.query(sql<NotifiedRow>`
    select n.position, e.event_nid, r.room_version, n.tweaks,
      n.position <= coalesce((
        select max(event_position) from receipts
        where receipts.room_id = m.room_id and receipt_type in ('m.read', 'm.read.private')
          and receipts.user_id = ${userId} and receipts.thread_id in ('', n.thread_id)), 0) as is_read
    from memberships m
    left join unread_starts s on s.room_id = m.room_id and s.user_id = m.user_id
    cross join lateral (
      select c.position, c.event_id, c.thread_id, case when x.user_id is null then c.tweaks else x.tweaks end as tweaks
      from notifications c
      left join notification_exceptions x
        on x.user_id = ${userId} and x.room_id = c.room_id and x.position = c.position
      where c.room_id = m.room_id and c.position > ${after} and c.sender <> ${userId}
        and case when m.membership = 'join' then c.position > s.position and coalesce(x.notify, c.notify)
          else c.position >= m.position and x.notify end
      order by c.position limit ${limit}
    ) n
    join events e on e.event_id = n.event_id
    join rooms r on r.room_id = m.room_id
    where m.user_id = ${userId} and m.membership in ('join', 'invite')
    order by n.position limit ${limit}`);
  return readNotified(tx, rows);
}

async function readNotified(tx: Transaction, rows: readonly NotifiedRow[]): Promise<readonly NotifiedEvent[]> {
  const events = new Map<number, StoredEvent>();
  for (const [id, ofVersion] of Map.groupBy(rows, ({ room_version }) => room_version)) {
    const version = getRoomVersion(id);
    if (version === undefined) continue;
    const nids = ofVersion.map(({ event_nid }) => event_nid);
    for (const event of await loadEventsByNid(tx, version, nids)) events.set(event.nid, event);
  }
  return rows.flatMap(({ position, event_nid, tweaks, is_read }) => {
    const event = events.get(event_nid);
    return event === undefined ? [] : [{ position, event, tweaks: tweaks ?? undefined, isRead: is_read }];
  });
}
