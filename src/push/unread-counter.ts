/**
 * The unread counts of one user in one room, per thread, at a position of the stream. Events are taken from the room's
 * log when somebody asks; a receipt or a redaction changes what is there.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
 */
import type { UserId } from '../protocol/ids.ts';
import type { Notification } from '../storage/notifications.ts';
import type { UnreadCount, UnreadRoom } from '../storage/unread-counts.ts';
import type { LogItem } from './notification-log.ts';

export const NONE: ReadonlyMap<string, never> = new Map<string, never>();

/** The key of unthreaded receipts. */
const UNTHREADED = '';

export class UnreadCounter {
  readonly #userId: UserId;
  readonly #start: number;
  // Replaced and not changed: most counters have neither, and what was handed out stays as it was.
  #read: ReadonlyMap<string, number>;
  #threads: ReadonlyMap<string, UnreadCount>;
  #position: number;

  constructor(userId: UserId, room: Omit<UnreadRoom, 'roomId'>, position: number) {
    this.#userId = userId;
    this.#start = room.start;
    this.#read = room.read;
    this.#threads = room.threads;
    this.#position = position;
  }

  /** What the counts are for. */
  get position(): number {
    return this.#position;
  }

  /** Threads with something unread; it does not change any more. */
  get threads(): ReadonlyMap<string, UnreadCount> {
    return this.#threads;
  }

  /** Takes what came after its position, up to this one. */
  advance(items: readonly LogItem[], upTo: number): void {
    for (const item of items) if (item.position <= upTo) this.#add(item);
    this.#position = Math.max(this.#position, upTo);
  }

  /** Whether a receipt changes anything. */
  isBehind(threadId: string | undefined, readUpTo: number): boolean {
    return (this.#read.get(threadId ?? UNTHREADED) ?? 0) < readUpTo;
  }

  /** Takes a receipt; `items`: everything in the room since the event that it is for. */
  read(threadId: string | undefined, readUpTo: number, items: readonly LogItem[]): void {
    this.#read = new Map(this.#read).set(threadId ?? UNTHREADED, readUpTo);
    this.#threads = threadId === undefined ? NONE : without(this.#threads, threadId);
    for (const item of items) {
      const isConcerned = threadId === undefined || item.notification.threadId === threadId;
      if (isConcerned && item.position <= this.#position) this.#add(item);
    }
  }

  #add({ notification, weight }: LogItem): void {
    if (!this.#isUnread(notification)) return;
    const { threadId, common, exceptions } = notification;
    const { notify, highlight } = exceptions.get(this.#userId) ?? common;
    if (!notify) return;
    const count = this.#threads.get(threadId) ?? { notifications: 0, highlights: 0 };
    const notifications = count.notifications + weight;
    const highlights = count.highlights + (highlight ? weight : 0);
    this.#threads =
      notifications <= 0
        ? without(this.#threads, threadId)
        : new Map(this.#threads).set(threadId, { notifications, highlights });
  }

  #isUnread({ sender, position, threadId }: Notification): boolean {
    if (sender === this.#userId || position <= this.#start) return false;
    return position > (this.#read.get(UNTHREADED) ?? 0) && position > (this.#read.get(threadId) ?? 0);
  }
}

function without<V>(map: ReadonlyMap<string, V>, key: string): ReadonlyMap<string, V> {
  if (!map.has(key)) return map;
  return map.size === 1 ? NONE : new Map([...map].filter(([other]) => other !== key));
}
