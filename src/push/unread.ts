/**
 * Unread counts for those who sync: counters in memory, made from the database when they are first asked for and then
 * kept up to date from the log, so that a sync after a recent one needs no statement.
 *
 * A count is for the position asked for; only where another device of the user was answered from later meanwhile it may
 * be for that later one.
 */
import { Lru } from '../lib/lru.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import { NOTIFICATIONS_FOLLOWER, type UnreadStart } from '../storage/notifications.ts';
import type { ReceiptRow } from '../storage/receipts.ts';
import { loadUnread, type UnreadCount } from '../storage/unread-counts.ts';
import type { NotificationLog } from './notification-log.ts';
import { NONE, UnreadCounter } from './unread-counter.ts';

/** Per thread (`main` or its root), where something is unread. */
export type UnreadThreads = ReadonlyMap<string, UnreadCount>;

/** Counters kept, by their threads: about 250 bytes each. */
const MAX_COUNTED = 200_000;
/** More unread than anybody tells apart: bounds what a room that nobody reads costs those who are in it. */
const MAX_UNREAD_COUNTED = 5_000;
const MAX_LOADS = 3;

export interface UnreadOptions {
  readonly database: Transaction;
  readonly log: NotificationLog;
  /** Writes what is not in the database yet. */
  readonly flush: () => Promise<void>;
}

type Change = { readonly receipt: ReceiptRow } | { readonly start: UnreadStart };

interface Loading {
  readonly userId: UserId;
  /** What came while the database was asked, and may be missing in its answer. */
  readonly changes: Change[];
}

export class Unread {
  readonly #options: UnreadOptions;
  readonly #loading = new Set<Loading>();
  readonly #counters = new Lru<string, UnreadCounter>({
    maxCost: MAX_COUNTED,
    costOf: ({ threads }) => 1 + threads.size,
  });

  constructor(options: UnreadOptions) {
    this.#options = options;
  }

  /** The counts of a user at a position that the log has reached. Rooms that the user has not joined are left out. */
  async count(userId: UserId, roomIds: readonly RoomId[], upTo: number): Promise<ReadonlyMap<RoomId, UnreadThreads>> {
    const counts = new Map<RoomId, UnreadThreads>();
    let missing: readonly RoomId[] = roomIds;
    for (let attempt = 0; ; attempt++) {
      missing = missing.filter((roomId) => {
        const counter = this.#advance(userId, roomId, upTo);
        if (counter !== undefined) counts.set(roomId, counter.threads);
        return counter === undefined;
      });
      if (missing.length === 0 || attempt === MAX_LOADS) return counts;
      // So much happened since the last flush that the log does not reach back to it.
      if (attempt > 0) await this.#options.flush();
      missing = await this.#load(userId, missing, upTo);
    }
  }

  /** Follows the stream: a receipt at this position. */
  read(receipt: ReceiptRow, position: number): void {
    for (const loading of this.#loading) if (loading.userId === receipt.userId) loading.changes.push({ receipt });
    this.#advance(receipt.userId, receipt.roomId, position);
    this.#applyReceipt(receipt);
  }

  /** Follows the stream: a user came into a room. */
  join(start: UnreadStart): void {
    for (const loading of this.#loading) if (loading.userId === start.userId) loading.changes.push({ start });
    this.#applyStart(start);
  }

  #applyReceipt({ userId, roomId, threadId, eventPosition }: ReceiptRow): void {
    const key = keyOf(userId, roomId);
    const counter = this.#counters.get(key);
    if (counter?.isBehind(threadId, eventPosition) !== true) return;
    const items = this.#options.log.since(roomId, eventPosition);
    if (items === undefined) this.#counters.delete(key);
    else counter.read(threadId, eventPosition, items);
  }

  #applyStart({ userId, roomId, position }: UnreadStart): void {
    const nothing = { start: position, read: NONE, threads: NONE };
    this.#counters.set(keyOf(userId, roomId), new UnreadCounter(userId, nothing, position));
  }

  #advance(userId: UserId, roomId: RoomId, upTo: number): UnreadCounter | undefined {
    const key = keyOf(userId, roomId);
    const counter = this.#counters.get(key);
    if (counter === undefined || counter.position >= upTo) return counter;
    const items = this.#options.log.since(roomId, counter.position);
    if (items === undefined) {
      this.#counters.delete(key);
      return undefined;
    }
    counter.advance(items, upTo);
    return counter;
  }

  /** Returns the rooms for which the user has counts. */
  async #load(userId: UserId, roomIds: readonly RoomId[], upTo: number): Promise<readonly RoomId[]> {
    const loading: Loading = { userId, changes: [] };
    this.#loading.add(loading);
    try {
      const { position, rooms } = await loadUnread(this.#options.database, {
        userId,
        roomIds,
        upTo,
        follower: NOTIFICATIONS_FOLLOWER,
        limit: MAX_UNREAD_COUNTED,
      });
      for (const room of rooms) {
        const counter = new UnreadCounter(userId, room, Math.min(position, upTo));
        this.#counters.set(keyOf(userId, room.roomId), counter);
      }
      for (const change of loading.changes) {
        if ('receipt' in change) this.#applyReceipt(change.receipt);
        else this.#applyStart(change.start);
      }
      const known = new Set(rooms.map(({ roomId }) => roomId));
      return roomIds.filter((roomId) => known.has(roomId) || this.#counters.has(keyOf(userId, roomId)));
    } finally {
      this.#loading.delete(loading);
    }
  }
}

function keyOf(userId: UserId, roomId: RoomId): string {
  return `${userId} ${roomId}`;
}
