/**
 * The unread counts of a room: of all of it, or of its main timeline and each of its threads.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
 */
import type { JsonObject } from '../protocol/pdu.ts';
import { MAIN_THREAD } from '../protocol/threads.ts';
import type { RoomSections } from './render.ts';
import type { SyncContext, UnreadCount } from './types.ts';

const NONE: UnreadCount = { notifications: 0, highlights: 0 };

/** Nothing where the counts are not known: then the client keeps those that it has. */
export function renderUnread(
  { filter }: SyncContext,
  threads: ReadonlyMap<string, UnreadCount> | undefined,
): Pick<RoomSections, 'unread' | 'unreadThreads'> {
  if (threads === undefined) return {};
  if (!filter.unreadThreads) return { unread: toJson([...threads.values()].reduce(add, NONE)) };
  const others = [...threads].filter(([threadId]) => threadId !== MAIN_THREAD);
  return {
    unread: toJson(threads.get(MAIN_THREAD) ?? NONE),
    ...(others.length > 0 && {
      unreadThreads: Object.fromEntries(others.map(([threadId, count]) => [threadId, toJson(count)])),
    }),
  };
}

function add(a: UnreadCount, b: UnreadCount): UnreadCount {
  return { notifications: a.notifications + b.notifications, highlights: a.highlights + b.highlights };
}

function toJson({ notifications, highlights }: UnreadCount): JsonObject {
  return { notification_count: notifications, highlight_count: highlights };
}
