/**
 * Writes what the follower made of the stream: gathered for a moment, then in one transaction with the position that it
 * is complete up to. What was made of a batch that is not looked through yet waits for its end.
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Database } from '../storage/database.ts';
import {
  insertNotifications,
  type Notification,
  type NotificationBatch,
  type UnreadStart,
} from '../storage/notifications.ts';

export interface NotificationWriterOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly flushDelayMs: number;
  /** What is written already. */
  readonly position: number;
  /** Called after notifications were written, with the position up to which all are. */
  readonly onWritten: (position: number) => void;
}

export interface NotificationWriter extends AsyncDisposable {
  addNotification(notification: Notification): void;
  addStart(start: UnreadStart): void;
  addRemoved(notification: Notification): void;
  /** Everything up to the position was looked at; waits where too much is not written yet. */
  note(position: number): Promise<void>;
  /** Writes all that was noted. */
  flush(): Promise<void>;
}

/** Rows in one transaction: those of some hundred events. */
const MAX_PENDING_ROWS = 2_000;
/** Where nobody was notified only the position moves: after a crash some more is looked at again. */
const IDLE_FLUSH_DELAY_MS = 10_000;

type Pending = { -readonly [K in 'notifications' | 'starts' | 'removed']: NotificationBatch[K][number][] };

export function createNotificationWriter(options: NotificationWriterOptions): NotificationWriter {
  const { database, clock, logger, flushDelayMs } = options;
  let taking = createPending();
  let pending = createPending();
  let noted = options.position;
  let written = options.position;
  let timer: { readonly handle: Disposable; readonly isIdle: boolean } | undefined;
  let flushing: Promise<void> = Promise.resolve();

  const write = async (): Promise<void> => {
    timer?.handle[Symbol.dispose]();
    timer = undefined;
    if (noted <= written) return;
    const batch = { ...pending, position: noted };
    await database.transaction((tx) => insertNotifications(tx, batch));
    // Only what was there when it began is written.
    pending = without(pending, batch);
    written = batch.position;
    if (batch.notifications.length > 0) options.onWritten(written);
  };
  const flush = (): Promise<void> => {
    const result = flushing.then(write);
    flushing = result.catch(() => undefined);
    return result;
  };
  const schedule = (isIdle: boolean): void => {
    if (timer !== undefined && (isIdle || !timer.isIdle)) return;
    timer?.handle[Symbol.dispose]();
    const delay = isIdle ? Math.max(flushDelayMs, IDLE_FLUSH_DELAY_MS) : flushDelayMs;
    if (!Number.isFinite(delay)) return;
    const handle = clock.after(delay, () => {
      timer = undefined;
      flush().catch((cause: unknown) => {
        logger.warn({ cause }, 'could not write notifications; trying again');
        schedule(false);
      });
    });
    timer = { handle, isIdle };
  };

  return {
    addNotification: (notification) => void taking.notifications.push(notification),
    addStart: (start) => void taking.starts.push(start),
    addRemoved: (notification) => void taking.removed.push(notification),
    async note(position) {
      noted = Math.max(noted, position);
      pending = joinPending(pending, taking);
      taking = createPending();
      const rows = countRows(pending);
      if (rows > MAX_PENDING_ROWS) await flush();
      else schedule(rows === 0);
    },
    flush,
    async [Symbol.asyncDispose]() {
      await flush().catch((cause: unknown) => logger.warn({ cause }, 'the last notifications will be made again'));
    },
  };
}

function createPending(): Pending {
  return { notifications: [], starts: [], removed: [] };
}

function joinPending(a: Pending, b: Pending): Pending {
  return {
    notifications: [...a.notifications, ...b.notifications],
    starts: [...a.starts, ...b.starts],
    removed: [...a.removed, ...b.removed],
  };
}

function countRows({ notifications, starts, removed }: Pending): number {
  return notifications.reduce((sum, { exceptions }) => sum + 1 + exceptions.size, starts.length + removed.length);
}

function without(pending: Pending, written: NotificationBatch): Pending {
  return {
    notifications: pending.notifications.slice(written.notifications.length),
    starts: pending.starts.slice(written.starts.length),
    removed: pending.removed.slice(written.removed.length),
  };
}
