/**
 * The follower that finds out who is notified of what: it takes each committed event, runs the push rules, and keeps the
 * outcome in memory for unread counts and in the database for everything else. It is never waited for by who sends: what
 * it has made is written now and then in one transaction with its position, and made again after a crash.
 *
 * Invariants: facts are taken in the order of their positions, each once; nothing is written past a fact that was not
 * looked at.
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { listRoomsJoinedBy } from '../storage/memberships.ts';
import {
  listNotifications,
  NOTIFICATIONS_FOLLOWER,
  type Notification,
  type NotificationsWanted,
  type NotifiedEvent,
} from '../storage/notifications.ts';
import { listOutside } from '../storage/outside-memberships.ts';
import { listRedacted, listStreamEvents, loadNextStreamPosition } from '../storage/stream-events.ts';
import { loadFollowerPosition } from '../storage/stream-followers.ts';
import type { CommittedBatch } from '../streams/batch.ts';
import type { Hub } from '../streams/hub.ts';
import { createFactTaker, type Fact, type FactTaker, factsOf } from './notification-facts.ts';
import { NotificationLog } from './notification-log.ts';
import { createNotificationWriter, type NotificationWriter } from './notification-writer.ts';
import { PersonalRules } from './personal-rules.ts';
import type { PushRoomState, PushRooms } from './types.ts';
import { Unread, type UnreadThreads } from './unread.ts';

export interface NotificationsOptions {
  readonly database: Database;
  readonly hub: Hub;
  readonly committer: { readonly position: number };
  readonly rooms: PushRooms;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly serverName: ServerName;
  /** How long something may wait to be written; Infinity leaves it to `flush`. */
  readonly flushDelayMs?: number;
  /** How long a sync waits for its counts. */
  readonly maxBehindMs?: number;
}

export interface Notifications extends AsyncDisposable {
  /**
   * The unread counts of a user at a position, per room and thread; undefined where the follower is so far behind that
   * it is not worth the wait.
   */
  count(
    userId: UserId,
    roomIds: readonly RoomId[],
    upTo: number,
  ): Promise<ReadonlyMap<RoomId, UnreadThreads> | undefined>;
  /** What a user was notified of, newest first. */
  list(wanted: NotificationsWanted): Promise<readonly NotifiedEvent[]>;
  /** All that a user has not read, in all rooms. */
  countAll(userId: UserId): Promise<number>;
  /** Tells of each notification, and when those told of were written. */
  follow(follower: NotificationsFollower): Disposable;
  /** Writes everything that was looked at so far. */
  flush(): Promise<void>;
}

export interface NotificationsFollower {
  noted(notification: Notification, room: PushRoomState): void;
  /** Everything up to the position is in the database. */
  written(position: number): void;
}

const FLUSH_DELAY_MS = 200;
/** Facts that wait in memory; beyond them they are read from the database again. */
const MAX_QUEUED_FACTS = 20_000;
/** Positions read at once after a start: the work of some ten milliseconds. */
const CATCH_UP_POSITIONS = 1_000;
const RETRY_MS = 500;
/** Longer than catching up with a burst takes; after a long stop syncs do better without counts. */
const MAX_BEHIND_MS = 3_000;

/** Has to be made after the engine, whose rooms must hear of each COMMIT first. */
export function followNotifications(options: NotificationsOptions): Notifications {
  return new NotificationFollower(options);
}

class NotificationFollower implements Notifications {
  readonly #options: NotificationsOptions;
  readonly #personalRules: PersonalRules;
  readonly #following: Disposable;
  readonly #reaching = new Set<{ readonly position: number; readonly done: (reached: boolean) => void }>();
  readonly #followers = new Set<NotificationsFollower>();
  #queue: CommittedBatch[] = [];
  #queued = 0;
  /** Everything up to here was looked at; undefined before the start. */
  #position: number | undefined;
  /** Everything up to here is committed. */
  #target: number;
  #parts: { readonly unread: Unread; readonly writer: NotificationWriter; readonly taker: FactTaker } | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: NotificationsOptions) {
    this.#options = options;
    this.#personalRules = new PersonalRules(options.database);
    this.#target = options.committer.position;
    this.#following = options.hub.follow((batch) => this.#enqueue(batch));
    this.#wake();
  }

  async count(...[userId, roomIds, upTo]: Parameters<Notifications['count']>): ReturnType<Notifications['count']> {
    if (roomIds.length === 0) return new Map();
    if (!(await this.#reach(upTo))) return undefined;
    return this.#parts?.unread.count(userId, roomIds, upTo);
  }

  async list(wanted: NotificationsWanted): Promise<readonly NotifiedEvent[]> {
    await this.#reach(this.#target);
    await this.flush();
    return listNotifications(this.#options.database, wanted);
  }

  async countAll(userId: UserId): Promise<number> {
    const rooms = await listRoomsJoinedBy(this.#options.database, [userId]);
    const counts = await this.count(
      userId,
      rooms.map(({ roomId }) => roomId),
      this.#position ?? 0,
    );
    const threads = [...(counts?.values() ?? [])].flatMap((ofRoom) => [...ofRoom.values()]);
    return threads.reduce((sum, { notifications }) => sum + notifications, 0);
  }

  follow(follower: NotificationsFollower): Disposable {
    this.#followers.add(follower);
    return { [Symbol.dispose]: () => this.#followers.delete(follower) };
  }

  async flush(): Promise<void> {
    await this.#parts?.writer.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#following[Symbol.dispose]();
    for (const waiting of this.#reaching) waiting.done(false);
    await this.#running;
    await this.#parts?.writer[Symbol.asyncDispose]();
  }

  #enqueue(batch: CommittedBatch): void {
    if (batch.to === batch.from) return;
    this.#target = Math.max(this.#target, batch.to);
    this.#queued += batch.size;
    if (this.#queued > MAX_QUEUED_FACTS) {
      this.#queue = [];
      this.#queued = 0;
    } else this.#queue.push(batch);
    this.#wake();
  }

  #wake(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (!this.#closed && (this.#position ?? -1) < this.#target) this.#wake();
    });
  }

  async #run(): Promise<void> {
    // Those who wait for the commit are answered first.
    await new Promise((resolve) => setImmediate(resolve));
    while (!this.#closed && (this.#position ?? -1) < this.#target) {
      try {
        await this.#step();
      } catch (cause) {
        if (this.#closed) return;
        this.#options.logger.warn({ cause }, 'could not look for notifications; trying again');
        await new Promise<void>((resolve) => this.#options.clock.after(RETRY_MS, resolve));
      }
    }
  }

  /** Takes the next batch: from memory where it follows on what was taken, else from the database. */
  async #step(): Promise<void> {
    const { taker, writer } = this.#parts ?? (await this.#start());
    const position = this.#position ?? 0;
    this.#forgetUpTo(position);
    const next = this.#queue[0];
    const isNext = next !== undefined && next.from <= position;
    const upTo = isNext ? next.to : await this.#endOfPart(position, next?.from ?? this.#target);
    const facts = isNext ? factsOf(next) : await this.#loadFacts(position, upTo);
    for (const fact of facts) {
      if (fact.position <= position || fact.position <= (this.#position ?? 0)) continue;
      await taker.take(fact);
      // A failure further on must not take this one again.
      this.#position = fact.position;
    }
    this.#reached(upTo);
    await writer.note(upTo);
  }

  /** Where the next part to be read ends: positions that were left free are passed over in one step. */
  async #endOfPart(position: number, limit: number): Promise<number> {
    const first = await loadNextStreamPosition(this.#options.database, { after: position, upTo: limit });
    return first === undefined ? limit : Math.min(first + CATCH_UP_POSITIONS, limit);
  }

  async #start() {
    const { database } = this.#options;
    await this.#personalRules.loadSpecial();
    const position = (await loadFollowerPosition(database, NOTIFICATIONS_FOLLOWER)) ?? 0;
    const log = new NotificationLog(position);
    const writer = createNotificationWriter({
      ...this.#options,
      flushDelayMs: this.#options.flushDelayMs ?? FLUSH_DELAY_MS,
      position,
      onWritten: (written) => {
        for (const follower of this.#followers) follower.written(written);
      },
    });
    const unread = new Unread({ database, log, flush: () => writer.flush() });
    const taker = createFactTaker({
      ...this.#options,
      personalRules: this.#personalRules,
      log,
      unread,
      writer,
      onNotified: (notification, room) => {
        for (const follower of this.#followers) follower.noted(notification, room);
      },
    });
    this.#parts = { unread, writer, taker };
    this.#position = position;
    return this.#parts;
  }

  #forgetUpTo(position: number): void {
    const kept = this.#queue.findIndex(({ to }) => to > position);
    const gone = this.#queue.splice(0, kept === -1 ? this.#queue.length : kept);
    for (const { size } of gone) this.#queued -= size;
  }

  async #loadFacts(after: number, upTo: number): Promise<readonly Fact[]> {
    const { database } = this.#options;
    const events = await listStreamEvents(database, { after, upTo });
    const redacted = new Map((await listRedacted(database, events)).map((one) => [one.by, one]));
    const outside = await listOutside(database, { after, upTo });
    return [
      ...events.map((event): Fact => {
        return { kind: 'event', position: event.position, event, redacted: redacted.get(event.nid) };
      }),
      ...outside.map((row): Fact => ({ kind: 'outside', position: row.position, row })),
    ].sort((a, b) => a.position - b.position);
  }

  #reached(position: number): void {
    this.#position = position;
    for (const waiting of this.#reaching) if (waiting.position <= position) waiting.done(true);
  }

  #reach(position: number): Promise<boolean> | boolean {
    if ((this.#position ?? -1) >= position) return true;
    return new Promise((resolve) => {
      const waiting = {
        position,
        done: (reached: boolean): void => {
          this.#reaching.delete(waiting);
          timer[Symbol.dispose]();
          resolve(reached);
        },
      };
      const timer = this.#options.clock.after(this.#options.maxBehindMs ?? MAX_BEHIND_MS, () => waiting.done(false));
      this.#reaching.add(waiting);
    });
  }
}
