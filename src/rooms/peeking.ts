/**
 * Following one room without being in it: what is new after a token, or the next thing that happens.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-previews
 */
import type { RoomEngine } from '../engine/types.ts';
import type { VisibleEvent } from '../engine/visible-events.ts';
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId } from '../protocol/ids.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import type { Hub } from '../streams/hub.ts';
import { notInRoom } from './actor.ts';
import type { History } from './history.ts';
import type { Reader } from './load-page.ts';
import { isWorldReadable, type RoomAccess } from './room-access.ts';

export interface PeekRequest {
  /** The position that a token names; the present without it. */
  readonly from: number | undefined;
  readonly timeout: number;
  readonly signal: AbortSignal;
}

export interface PeekedEvents {
  readonly start: number;
  readonly end: number;
  readonly events: readonly VisibleEvent[];
}

/** Throws M_FORBIDDEN for a room that the user may not read. */
export type Peek = (reader: Reader, roomId: RoomId, request: PeekRequest) => Promise<PeekedEvents>;

export interface PeekingOptions {
  readonly engine: Pick<RoomEngine, 'loadTimeline'>;
  readonly access: RoomAccess;
  readonly history: Pick<History, 'loadMessages'>;
  readonly hub: Hub;
  readonly clock: Clock;
}

/** Bounds an answer; the client asks on from its end. */
const MAX_EVENTS = 100;
/** Bounds what waiting costs: each wakes with the commits of its room. */
const MAX_WAITING = 10_000;

export function createPeeking(options: PeekingOptions): Peek {
  const { engine, access, history, clock } = options;
  const waiters = createRoomWaiters(options.hub);

  async function loadEnd(roomId: RoomId, version: Parameters<typeof engine.loadTimeline>[0]['version']) {
    const newest = { after: 0, before: Number.MAX_SAFE_INTEGER, limit: 1, direction: 'backward' as const };
    const [last] = await engine.loadTimeline({ roomId, version, ...newest });
    return last?.position ?? 0;
  }

  return async (reader, roomId, { from, timeout, signal }) => {
    const { snapshot, until } = await access.loadReadable(reader.userId, roomId);
    // Nothing new of a room that they left is theirs, unless it is everybody's.
    if (until !== undefined && !isWorldReadable(snapshot)) throw notInRoom();
    const start = from ?? (await loadEnd(roomId, snapshot.version));
    const giveUpAt = clock.monotonic() + timeout;
    let position = start;
    for (;;) {
      const woken = waiters.next(roomId);
      try {
        const page = { direction: 'forward' as const, from: position, limit: MAX_EVENTS, passes: () => true };
        const { events, end } = await history.loadMessages(reader, roomId, page);
        const last = events.at(-1)?.position ?? end ?? position;
        const left = giveUpAt - clock.monotonic();
        if (events.length > 0 || left <= 0 || signal.aborted) return { start, end: last, events };
        position = last;
        await waitFor(woken.promise, { clock, delay: left, signal });
      } finally {
        woken[Symbol.dispose]();
      }
    }
  };
}

interface Woken extends Disposable {
  readonly promise: Promise<void>;
}

function createRoomWaiters(hub: Hub): { next(roomId: RoomId): Woken } {
  const waiting = new Map<RoomId, Set<() => void>>();
  let count = 0;
  hub.follow((batch) => {
    if (count === 0) return;
    for (const { row } of batch.rowsOf(pduStream)) {
      for (const wake of waiting.get(row.head.roomId) ?? []) wake();
    }
  });
  return {
    /** Listens from now on, so that what is committed while the caller looks is not missed. */
    next(roomId) {
      if (count >= MAX_WAITING) throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many clients wait for events');
      const { promise, resolve } = Promise.withResolvers<void>();
      const ofRoom = waiting.get(roomId) ?? new Set();
      waiting.set(roomId, ofRoom.add(resolve));
      count += 1;
      return {
        promise,
        [Symbol.dispose]() {
          count -= 1;
          ofRoom.delete(resolve);
          if (ofRoom.size === 0 && waiting.get(roomId) === ofRoom) waiting.delete(roomId);
        },
      };
    },
  };
}

interface Wait {
  readonly clock: Clock;
  readonly delay: number;
  readonly signal: AbortSignal;
}

async function waitFor(woken: Promise<void>, { clock, delay, signal }: Wait): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.after(delay, resolve);
  signal.addEventListener('abort', () => resolve(), { once: true });
  if (signal.aborted) resolve();
  await Promise.race([woken, promise]);
  timer[Symbol.dispose]();
}
