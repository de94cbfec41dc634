/**
 * Who waits for something to happen. A waiter is woken at most once, some time after the COMMIT that concerns its user;
 * it then looks for itself, so waking too often costs time and never correctness. Commits of one turn of the event loop
 * wake together.
 */
import type { Clock } from '../lib/clock.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';

export interface Waiters {
  /** Resolves when the user is woken, the time is over, or the signal is aborted. */
  wait(userId: UserId, until: { readonly timeout: number; readonly signal: AbortSignal }): Promise<void>;
  /** Wakes whoever is in the room. */
  wakeRoom(roomId: RoomId): void;
  wakeUser(userId: string): void;
  wakeWhere(isConcerned: (userId: UserId) => boolean): void;
  /** Who waits. */
  users(): Iterable<UserId>;
  readonly size: number;
}

/** What waking a room needs to know of it. */
export interface WaitersRoom {
  membershipOf(userId: string): string | undefined;
  readonly memberCount: number;
  members(): Iterable<UserId>;
}

export interface WaitersOptions {
  readonly clock: Clock;
  readonly getRoom: (roomId: RoomId) => WaitersRoom | undefined;
}

export function createWaiters({ clock, getRoom }: WaitersOptions): Waiters {
  const waiting = new Map<UserId, Set<() => void>>();
  const rooms = new Set<RoomId>();
  const users = new Set<UserId>();
  let scheduled = false;
  let size = 0;

  const flush = (): void => {
    scheduled = false;
    for (const roomId of rooms) addMembers(roomId);
    rooms.clear();
    const woken = [...users].flatMap((userId) => [...(waiting.get(userId) ?? [])]);
    users.clear();
    for (const wake of woken) wake();
  };
  const addMembers = (roomId: RoomId): void => {
    const room = getRoom(roomId);
    // A room that was dropped from memory right after its commit: nobody can say who is in it, so all look.
    if (room === undefined) for (const userId of waiting.keys()) users.add(userId);
    else if (waiting.size < room.memberCount) {
      for (const userId of waiting.keys()) if (room.membershipOf(userId) === 'join') users.add(userId);
    } else {
      for (const userId of room.members()) if (waiting.has(userId)) users.add(userId);
    }
  };
  const schedule = (): void => {
    if (scheduled || waiting.size === 0) return;
    scheduled = true;
    setImmediate(flush);
  };

  return {
    get size() {
      return size;
    },
    wait(userId, { timeout, signal }) {
      if (signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const ofUser = waiting.get(userId) ?? new Set();
        const wake = (): void => {
          if (!ofUser.delete(wake)) return;
          if (ofUser.size === 0 && waiting.get(userId) === ofUser) waiting.delete(userId);
          size -= 1;
          timer[Symbol.dispose]();
          signal.removeEventListener('abort', wake);
          resolve();
        };
        const timer = clock.after(timeout, wake);
        signal.addEventListener('abort', wake);
        ofUser.add(wake);
        waiting.set(userId, ofUser);
        size += 1;
      });
    },
    wakeRoom(roomId) {
      if (waiting.size === 0) return;
      rooms.add(roomId);
      schedule();
    },
    wakeUser(userId) {
      // Who waits is asked for by a user id, so what is found is one.
      if (!waiting.has(userId as UserId)) return;
      users.add(userId as UserId);
      schedule();
    },
    wakeWhere(isConcerned) {
      for (const userId of waiting.keys()) if (isConcerned(userId)) users.add(userId);
      if (users.size > 0) schedule();
    },
    users: () => waiting.keys(),
  };
}
