/**
 * The newest notifications of each room, in memory: what unread counts are kept up to date with. Bounded per room and
 * over all; what falls out is read from the database.
 *
 * Invariant: for each room everything after `from` is here, where a room that has no entry stands at the horizon.
 */
import { Lru } from '../lib/lru.ts';
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Notification } from '../storage/notifications.ts';

/** A notification that came (1), or went with a redaction (-1). */
export interface LogItem {
  /** Where that happened in the stream; for a redaction after the notification itself. */
  readonly position: number;
  readonly weight: 1 | -1;
  readonly notification: Notification;
}

/** As many as somebody may miss who looks at the room now and then. */
const MAX_ITEMS_PER_ROOM = 256;
/** Of all rooms, each about 200 bytes. */
const MAX_ITEMS = 100_000;

interface RoomLog {
  readonly from: number;
  readonly items: readonly LogItem[];
}

export class NotificationLog {
  readonly #rooms = new Lru<RoomId, RoomLog>({
    maxCost: MAX_ITEMS,
    costOf: ({ items }) => items.length + 1,
    onEvict: ({ items, from }) => {
      this.#horizon = Math.max(this.#horizon, items.at(-1)?.position ?? from);
    },
  });
  #horizon: number;

  /** Nothing up to the horizon is known. */
  constructor(horizon: number) {
    this.#horizon = horizon;
  }

  append(item: LogItem): void {
    const { roomId } = item.notification;
    const { from, items } = this.#rooms.get(roomId) ?? { from: this.#horizon, items: [] };
    const all = [...items, item];
    // Dropping in large steps keeps the cost per item constant.
    const dropped = all.length > MAX_ITEMS_PER_ROOM ? all.length / 2 : 0;
    this.#rooms.set(roomId, { from: all[dropped - 1]?.position ?? from, items: all.slice(dropped) });
  }

  /** What happened in the room after the position, oldest first; undefined where memory does not reach back so far. */
  since(roomId: RoomId, after: number): readonly LogItem[] | undefined {
    const { from, items } = this.#rooms.peek(roomId) ?? { from: this.#horizon, items: [] };
    if (after < from) return undefined;
    const first = items.findIndex(({ position }) => position > after);
    return first === -1 ? [] : items.slice(first);
  }

  find(roomId: RoomId, eventId: EventId): Notification | undefined {
    const items = this.#rooms.peek(roomId)?.items ?? [];
    return items.findLast(({ notification }) => notification.eventId === eventId)?.notification;
  }
}
