/**
 * The ephemeral part of what waits for a server: who types, how far users have read, who is there. The newest state of each counts, so it
 * never grows beyond who is active; nothing of it survives an outage, it makes way for events, and presence for all else.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#edus
 */
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';

export interface TypingChange {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly isTyping: boolean;
}

export interface ReadReceipt {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly eventId: EventId;
  /** Undefined for an unthreaded receipt. */
  readonly threadId: string | undefined;
  readonly ts: number;
}

/** Of each kind for one server; beyond this the oldest are forgotten, and the next change heals it. */
const MAX_WAITING = 500;
export interface PresenceChange {
  readonly userId: UserId;
  /** As events of presence have it. */
  readonly content: JsonObject;
}

/** Users in one presence EDU: at most 30 KiB. */
const MAX_USERS_PER_EDU = 20;
/** Users in one receipt EDU: some 20 KiB. */
const MAX_RECEIPTS_PER_EDU = 100;

export class EduQueue {
  readonly #typing = new Map<string, TypingChange>();
  readonly #receipts = new Map<string, ReadReceipt>();

  readonly #presence = new Map<UserId, PresenceChange>();

  get isEmpty(): boolean {
    return this.#typing.size === 0 && this.#receipts.size === 0 && this.#presence.size === 0;
  }

  addPresence(change: PresenceChange): void {
    put(this.#presence, change.userId, change);
  }

  addTyping(change: TypingChange): void {
    put(this.#typing, `${change.roomId} ${change.userId}`, change);
  }

  addReceipt(receipt: ReadReceipt): void {
    put(this.#receipts, `${receipt.roomId} ${receipt.threadId ?? ''} ${receipt.userId}`, receipt);
  }

  clear(): void {
    this.#typing.clear();
    this.#receipts.clear();
    this.#presence.clear();
  }

  /** Takes out as many EDUs as that. */
  take(limit: number): readonly JsonObject[] {
    const edus: JsonObject[] = [];
    while (edus.length < limit && this.#receipts.size > 0) edus.push(this.#takeReceipts());
    for (const [key, { roomId, userId, isTyping }] of this.#typing) {
      if (edus.length >= limit) break;
      this.#typing.delete(key);
      edus.push({ edu_type: 'm.typing', content: { room_id: roomId, user_id: userId, typing: isTyping } });
    }
    while (edus.length < limit && this.#presence.size > 0) edus.push(this.#takePresence());
    return edus;
  }

  #takePresence(): JsonObject {
    const push = [...this.#presence.values()].slice(0, MAX_USERS_PER_EDU);
    for (const { userId } of push) this.#presence.delete(userId);
    return {
      edu_type: 'm.presence',
      content: { push: push.map(({ userId, content }) => ({ user_id: userId, ...content })) },
    };
  }

  /** One EDU holds one receipt of each user in each room; those for other threads go into the next. */
  #takeReceipts(): JsonObject {
    const rooms = new Map<RoomId, Map<UserId, JsonObject>>();
    let count = 0;
    for (const [key, { roomId, userId, eventId, threadId, ts }] of this.#receipts) {
      if (count >= MAX_RECEIPTS_PER_EDU) break;
      const users = rooms.get(roomId) ?? new Map<UserId, JsonObject>();
      if (users.has(userId)) continue;
      const data = threadId === undefined ? { ts } : { ts, thread_id: threadId };
      rooms.set(roomId, users.set(userId, { event_ids: [eventId], data }));
      this.#receipts.delete(key);
      count += 1;
    }
    const content = [...rooms].map(([roomId, users]) => [roomId, { 'm.read': Object.fromEntries(users) }] as const);
    return { edu_type: 'm.receipt', content: Object.fromEntries(content) };
  }
}

/** Sets the newest at the end, and drops the oldest where there are too many. */
function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= MAX_WAITING) return;
    map.delete(oldest);
  }
}
