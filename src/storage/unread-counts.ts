/**
 * Unread counts as the database knows them: notifications after a user's receipts, per room and thread, up to where the
 * follower that makes the notifications has come.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql, textArray } from './sql.ts';

export interface UnreadRoom {
  readonly roomId: RoomId;
  /** Where the user came into the room. */
  readonly start: number;
  /** The stream position that each thread is read up to; '' for unthreaded receipts. */
  readonly read: ReadonlyMap<string, number>;
  readonly threads: ReadonlyMap<string, UnreadCount>;
}

export interface UnreadCount {
  readonly notifications: number;
  readonly highlights: number;
}

export interface UnreadRooms {
  /** What the counts are complete up to. */
  readonly position: number;
  readonly rooms: readonly UnreadRoom[];
}

export interface UnreadWanted {
  readonly userId: UserId;
  readonly roomIds: readonly RoomId[];
  readonly upTo: number;
  readonly follower: string;
  /** Of each room's unread notifications so many are counted, the newest. */
  readonly limit: number;
}

interface Row {
  readonly reached: number;
  readonly room_id: RoomId | null;
  readonly start: number | null;
  readonly read: string | null;
  readonly threads: string | null;
}

/** One statement for all rooms; the receipts of a user in a room are found by their key. */
export async function loadUnread(tx: Transaction, wanted: UnreadWanted): Promise<UnreadRooms> {
  const { userId, roomIds, upTo, follower, limit } = wanted;
  const rows = await tx.query(sql<Row>`
    select f.position as reached, s.room_id, s.position as start,
      (select jsonb_object_agg(thread_id, event_position)::text from (
        select r.thread_id, max(r.event_position) as event_position from receipts r
        where r.room_id = s.room_id and r.receipt_type in ('m.read', 'm.read.private') and r.user_id = ${userId}
        group by r.thread_id) per_thread) as read,
      counted.threads
    from stream_followers f
    left join unread_starts s on s.user_id = ${userId} and s.room_id = any(${textArray(roomIds)}::text[])
    left join lateral (
      select jsonb_object_agg(thread_id, json_build_array(notifications, highlights))::text as threads from (
        select n.thread_id, count(*) as notifications, count(*) filter (where n.highlight) as highlights
        from (
          select c.thread_id, c.position, coalesce(x.notify, c.notify) as notify,
            coalesce(x.highlight, c.highlight) as highlight
          from notifications c
          left join notification_exceptions x
            on x.user_id = ${userId} and x.room_id = c.room_id and x.position = c.position
          where c.room_id = s.room_id and c.position <= least(f.position, ${upTo}) and c.sender <> ${userId}
            and c.position > greatest(s.position, (
              select max(r.event_position) from receipts r
              where r.room_id = s.room_id and r.receipt_type in ('m.read', 'm.read.private')
                and r.user_id = ${userId} and r.thread_id = ''))
          order by c.position desc limit ${limit}
        ) n
        where n.notify and n.position > coalesce((
          select max(r.event_position) from receipts r
          where r.room_id = s.room_id and r.receipt_type in ('m.read', 'm.read.private')
            and r.user_id = ${userId} and r.thread_id = n.thread_id), 0)
        group by n.thread_id
      ) per_thread
    ) counted on true
    where f.follower = ${follower}`);
  return {
    position: rows[0]?.reached ?? 0,
    rooms: rows.flatMap(({ room_id, start, read, threads }) =>
      room_id === null || start === null
        ? []
        : [{ roomId: room_id, start, read: readMap(read), ...readThreads(threads) }],
    ),
  };
}

/** Most rooms have no receipt and nothing unread: one map for all of them. */
const NONE: ReadonlyMap<string, never> = new Map<string, never>();

function readMap(text: string | null): ReadonlyMap<string, number> {
  return text === null ? NONE : new Map(Object.entries(parseJsonText(text) as Record<string, number>));
}

function readThreads(text: string | null): Pick<UnreadRoom, 'threads'> {
  if (text === null) return { threads: NONE };
  const threads = parseJsonText(text) as Record<string, readonly [number, number]>;
  const counts = Object.entries(threads).map(([threadId, [notifications, highlights]]): [string, UnreadCount] => [
    threadId,
    { notifications, highlights },
  ]);
  return { threads: new Map(counts) };
}
