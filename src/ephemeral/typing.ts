/**
 * Who is typing, in memory only: it means nothing after a restart. Every change has a serial, so that a reader asks for
 * what changed after theirs; a serial of another start of the server counts as none.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
 */
import type { Clock } from '../lib/clock.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { TypingPosition } from '../streams/sync-token.ts';

/** Longer than any client asks for (30 s is usual), so that a lost "stopped" heals soon. */
export const MAX_TYPING_MS = 120_000;
export const DEFAULT_TYPING_MS = 30_000;
/** Nobody can read more names than this, and each holds a timer. */
const MAX_TYPING_PER_ROOM = 100;
/** Rooms where nobody types any more are remembered for readers who still think otherwise. */
const MAX_ROOMS = 10_000;

export interface Typing extends Disposable {
  /** How far a reader is who has seen everything. */
  readonly position: TypingPosition;
  start(roomId: RoomId, userId: UserId, timeout?: number): void;
  stop(roomId: RoomId, userId: UserId): void;
  getTyping(roomId: RoomId): readonly UserId[];
  /** Rooms with changes after the position; for a reader without one, those where somebody types. */
  getChanged(after: TypingPosition | undefined): readonly RoomId[];
  /** Called synchronously after each change. */
  follow(follower: (roomId: RoomId) => void): Disposable;
}

export interface TypingOptions {
  readonly clock: Clock;
  /** Names this start of the server: letters, digits, `_` and `-`. */
  readonly boot: string;
}

interface RoomTyping {
  serial: number;
  readonly timers: Map<UserId, Disposable>;
}

export function createTyping({ clock, boot }: TypingOptions): Typing {
  // In the order of their last change: what fell silent longest ago is forgotten first.
  const rooms = new Map<RoomId, RoomTyping>();
  const followers = new Set<(roomId: RoomId) => void>();
  let serial = 0;

  const changed = (roomId: RoomId, room: RoomTyping): void => {
    serial += 1;
    room.serial = serial;
    rooms.delete(roomId);
    rooms.set(roomId, room);
    if (rooms.size > MAX_ROOMS) forgetSilent(rooms);
    for (const follower of followers) follower(roomId);
  };
  const stop = (roomId: RoomId, userId: UserId): void => {
    const room = rooms.get(roomId);
    const timer = room?.timers.get(userId);
    if (room === undefined || timer === undefined) return;
    timer[Symbol.dispose]();
    room.timers.delete(userId);
    changed(roomId, room);
  };

  return {
    get position() {
      return { boot, serial };
    },
    start(roomId, userId, timeout = DEFAULT_TYPING_MS) {
      const room = rooms.get(roomId) ?? { serial: 0, timers: new Map() };
      const running = room.timers.get(userId);
      if (running === undefined && room.timers.size >= MAX_TYPING_PER_ROOM) return;
      running?.[Symbol.dispose]();
      const delay = Math.max(0, Math.min(timeout, MAX_TYPING_MS));
      room.timers.set(
        userId,
        clock.after(delay, () => stop(roomId, userId)),
      );
      // Somebody who keeps typing tells readers nothing new.
      if (running === undefined) changed(roomId, room);
    },
    stop,
    getTyping: (roomId) => [...(rooms.get(roomId)?.timers.keys() ?? [])],
    getChanged(after) {
      if (after?.boot !== boot) return [...rooms].filter(([, room]) => room.timers.size > 0).map(([roomId]) => roomId);
      if (after.serial >= serial) return [];
      return [...rooms].filter(([, room]) => room.serial > after.serial).map(([roomId]) => roomId);
    },
    follow(follower) {
      followers.add(follower);
      return { [Symbol.dispose]: () => followers.delete(follower) };
    },
    /** Timers must not hold up a server that stops. */
    [Symbol.dispose]() {
      for (const { timers } of rooms.values()) for (const timer of timers.values()) timer[Symbol.dispose]();
      rooms.clear();
    },
  };
}

function forgetSilent(rooms: Map<RoomId, RoomTyping>): void {
  for (const [roomId, room] of rooms) {
    if (rooms.size <= MAX_ROOMS) return;
    if (room.timers.size === 0) rooms.delete(roomId);
  }
}
