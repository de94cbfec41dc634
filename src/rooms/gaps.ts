/**
 * Gaps in timelines as readers meet them: found at the place where they read, and filled from other servers while they
 * wait, for as long as that is reasonable. Whoever comes back later profits from what went on.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
 */
import type { Backfilled } from '../engine/backfill.ts';
import type { Clock } from '../lib/clock.ts';
import { Lru } from '../lib/lru.ts';
import type { RoomId } from '../protocol/ids.ts';
import { findGapBefore } from '../storage/backfilled.ts';
import type { Transaction } from '../storage/database.ts';

/** `waiting`: still being asked for; `unavailable`: nobody has it, or nobody gives it for now. */
export type Filled = 'filled' | 'waiting' | 'unavailable';

export interface Gaps {
  /** The position of the event after a gap, where the next event from this position on is one. */
  findGap(roomId: RoomId, position: number): Promise<number | undefined>;
  /** Fetches some of what is missing before the event at this position. */
  fill(roomId: RoomId, position: number): Promise<Filled>;
}

export interface GapsOptions {
  readonly database: Transaction;
  readonly clock: Clock;
  /** Undefined where this server talks with no others. */
  readonly backfill?:
    | ((roomId: RoomId, gap: { readonly position: number; readonly limit: number }) => Promise<Backfilled>)
    | undefined;
}

/** What servers give at once; a client's page is a part of it. */
const EVENTS_PER_FILL = 100;
/** A client waits longer than this only for pages of its own. */
const MAX_WAIT_MS = 10_000;
/** How soon servers that had nothing are asked for the same again. */
const PAUSE_MS = 30_000;
/** Gaps that nobody filled, remembered for the pause. */
const MAX_REMEMBERED = 10_000;

export function createGaps({ database, clock, backfill }: GapsOptions): Gaps {
  const filling = new Map<string, Promise<Filled>>();
  const failedAt = new Lru<string, number>({ maxCost: MAX_REMEMBERED });

  async function fillNow(roomId: RoomId, position: number): Promise<Filled> {
    const result = await backfill?.(roomId, { position, limit: EVENTS_PER_FILL });
    return result === undefined || (result.added === 0 && result.gap !== undefined) ? 'unavailable' : 'filled';
  }

  function start(key: string, roomId: RoomId, position: number): Promise<Filled> {
    const work = fillNow(roomId, position)
      .then((filled) => {
        if (filled === 'unavailable') failedAt.set(key, clock.monotonic());
        return filled;
      })
      .finally(() => filling.delete(key));
    filling.set(key, work);
    return work;
  }

  return {
    findGap: (roomId, position) => findGapBefore(database, roomId, position),

    async fill(roomId, position) {
      if (backfill === undefined) return 'unavailable';
      const key = `${roomId} ${position}`;
      const failed = failedAt.get(key);
      if (failed !== undefined && clock.monotonic() - failed < PAUSE_MS) return 'unavailable';
      return within(clock, filling.get(key) ?? start(key, roomId, position));
    },
  };
}

async function within(clock: Clock, work: Promise<Filled>): Promise<Filled> {
  const { promise: timeout, resolve } = Promise.withResolvers<Filled>();
  using _timer = clock.after(MAX_WAIT_MS, () => resolve('waiting'));
  return Promise.race([work, timeout]);
}
