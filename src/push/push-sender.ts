/**
 * Sends notifications to push gateways: each pusher for itself, in order, from its own durable position, so that a crash
 * loses none. What a gateway does not take is tried again, ever more rarely, and in the end given up, so that one dead
 * gateway holds up nothing but its own pushers.
 *
 * https://spec.matrix.org/v1.19/push-gateway-api/
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { UserId } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import type { Notification } from '../storage/notifications.ts';
import { type Pusher, savePusherPosition } from '../storage/pushers.ts';
import type { Notifications } from './follow-notifications.ts';
import type { PushGateway } from './push-gateway.ts';
import { createPushMessage } from './push-message.ts';
import { loadPushables, type Pushable } from './pushables.ts';
import { type Pushers, readGatewayUrl } from './pushers.ts';
import type { PushRoomState, PushRooms } from './types.ts';

export interface PushSenderOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly notifications: Pick<Notifications, 'follow' | 'countAll'>;
  readonly pushers: Pushers;
  readonly gateway: PushGateway;
  readonly rooms: Pick<PushRooms, 'loadSnapshot'>;
  readonly allowsHttp: boolean;
}

/** Users whose notifications are sent at the same time; most of the time is spent waiting for gateways. */
const SENDING_AT_ONCE = 32;
const PAGE = 20;
/** Afterwards the notification is given up. */
export const MAX_RETRIES = 5;
/** 2 s, 12 s, 72 s, 7 min, 43 min: a gateway may be away for most of an hour. */
const FIRST_RETRY_MS = 2_000;
const RETRY_FACTOR = 6;
const MAX_RETRY_MS = 60 * 60_000;
/** What nobody was told of for so long is no news. */
const MAX_AGE_MS = 24 * 60 * 60_000;

/** Has to be done once it is known who has pushers. */
export function startPushSender(options: PushSenderOptions): AsyncDisposable {
  const sender = new PushSender(options);
  for (const userId of options.pushers.users.all()) sender.wake(userId);
  return sender;
}

interface Failing {
  failures: number;
  /** While it waits to be tried again. */
  timer: Disposable | undefined;
}

class PushSender implements AsyncDisposable {
  readonly #options: PushSenderOptions;
  readonly #following: Disposable;
  /** Who was notified of something that is not written yet, and where the last of it stands. */
  readonly #noted = new Map<UserId, number>();
  readonly #waiting = new Set<UserId>();
  readonly #sending = new Map<UserId, Promise<void>>();
  readonly #failing = new Map<UserId, Map<string, Failing>>();
  #closed = false;

  constructor(options: PushSenderOptions) {
    this.#options = options;
    this.#following = options.notifications.follow({
      noted: (notification, room) => this.#note(notification, room),
      written: (position) => this.#written(position),
    });
  }

  wake(userId: UserId): void {
    this.#waiting.add(userId);
    this.#sendNext();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#following[Symbol.dispose]();
    for (const ofUser of this.#failing.values()) for (const { timer } of ofUser.values()) timer?.[Symbol.dispose]();
    await Promise.all(this.#sending.values());
  }

  #written(position: number): void {
    for (const [userId, noted] of this.#noted) {
      if (noted > position) continue;
      this.#noted.delete(userId);
      this.wake(userId);
    }
  }

  #note({ sender, position, common, exceptions }: Notification, room: PushRoomState): void {
    const { users } = this.#options.pushers;
    if (common.notify) {
      for (const userId of users.joined(room))
        if (userId !== sender && !exceptions.has(userId)) this.#noted.set(userId, position);
    }
    for (const [userId, { notify }] of exceptions) if (notify && users.has(userId)) this.#noted.set(userId, position);
  }

  #sendNext(): void {
    for (const userId of this.#waiting) {
      if (this.#closed || this.#sending.size >= SENDING_AT_ONCE) return;
      // Whoever is being sent to is looked at once more afterwards.
      if (this.#sending.has(userId)) continue;
      this.#waiting.delete(userId);
      const sending = this.#sendToUser(userId)
        .catch((cause: unknown) => {
          this.#options.logger.warn({ cause, userId }, 'could not look for notifications to push; trying again later');
        })
        .finally(() => {
          this.#sending.delete(userId);
          this.#sendNext();
        });
      this.#sending.set(userId, sending);
    }
  }

  async #sendToUser(userId: UserId): Promise<void> {
    const pushers = await this.#options.pushers.list(userId);
    const failing = this.#failing.get(userId) ?? new Map<string, Failing>();
    const keys = new Set(pushers.map(keyOf));
    for (const [key, { timer }] of failing) {
      if (keys.has(key)) continue;
      timer?.[Symbol.dispose]();
      failing.delete(key);
    }
    await Promise.all(pushers.map((pusher) => this.#sendTo(pusher, failing)));
    if (failing.size > 0) this.#failing.set(userId, failing);
    else this.#failing.delete(userId);
  }

  async #sendTo(pusher: Pusher, failing: Map<string, Failing>): Promise<void> {
    const { database } = this.#options;
    if (failing.get(keyOf(pusher))?.timer !== undefined) return;
    let after = pusher.position;
    for (;;) {
      const page = await loadPushables(database, { userId: pusher.userId, after, limit: PAGE });
      for (const notified of page) {
        if (this.#closed) return;
        const outcome = await this.#deliver(pusher, notified, failing);
        if (outcome === 'gone') return;
        if (outcome === 'done' || outcome === 'given up') await savePusherPosition(database, pusher, notified.position);
        if (outcome === 'given up' || outcome === 'failed') return;
        after = notified.position;
      }
      if (page.length < PAGE) return;
    }
  }

  async #deliver(
    pusher: Pusher,
    notified: Pushable,
    failing: Map<string, Failing>,
  ): Promise<'done' | 'failed' | 'given up' | 'gone'> {
    const { gateway, pushers, rooms, notifications, clock, allowsHttp } = this.#options;
    const { event } = notified;
    const url = readGatewayUrl(pusher.data['url'], allowsHttp);
    const isOld = clock.now() - event.originServerTs > MAX_AGE_MS;
    const room = notified.room ?? (await rooms.loadSnapshot(event.roomId));
    if (notified.isRead || isOld || url === undefined || room === undefined) return 'done';
    const unread = await notifications.countAll(pusher.userId);
    try {
      const rejected = await gateway.notify(url, createPushMessage(pusher, { notified, room, unread }));
      failing.delete(keyOf(pusher));
      if (!rejected.includes(pusher.pushkey)) return 'done';
      await pushers.delete(pusher);
      return 'gone';
    } catch (cause) {
      return this.#retryLater(pusher, failing, cause);
    }
  }

  #retryLater(pusher: Pusher, failing: Map<string, Failing>, cause: unknown): 'failed' | 'given up' {
    const { logger, clock } = this.#options;
    const { userId, appId } = pusher;
    const state = failing.get(keyOf(pusher)) ?? { failures: 0, timer: undefined };
    const isGivenUp = state.failures >= MAX_RETRIES;
    state.failures = Math.min(state.failures + 1, MAX_RETRIES);
    const delay = Math.min(FIRST_RETRY_MS * RETRY_FACTOR ** (state.failures - 1), MAX_RETRY_MS);
    // Whoever sends while we close would leave a timer behind that nobody knows of.
    if (this.#closed) return 'failed';
    state.timer = clock.after(delay, () => {
      state.timer = undefined;
      this.wake(userId);
    });
    failing.set(keyOf(pusher), state);
    logger.debug({ cause, userId, appId, failures: state.failures }, 'a push gateway did not take a notification');
    return isGivenUp ? 'given up' : 'failed';
  }
}

function keyOf({ appId, pushkey }: Pusher): string {
  return JSON.stringify([appId, pushkey]);
}
