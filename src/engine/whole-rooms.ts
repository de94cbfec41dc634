/**
 * Who needs all members of a room waits here until they are known, for a bounded time. A room that nobody of ours is in any
 * more stays as it is, and nobody waits for it.
 */
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId, ServerName } from '../protocol/ids.ts';
import { createLocalMembers } from './local-members.ts';
import type { RoomSnapshot } from './room-snapshot.ts';

/** As long as clients wait for an answer; they may ask again. */
const MAX_WAIT_MS = 60_000;
const RETRY_AFTER_S = 30;

export interface WholeRooms extends Disposable {
  load(roomId: RoomId): Promise<RoomSnapshot | undefined>;
  /** The room may be whole now. */
  wake(roomId: RoomId): void;
}

export interface WholeRoomsOptions {
  readonly loadSnapshot: (roomId: RoomId) => Promise<RoomSnapshot | undefined>;
  readonly serverName: ServerName;
  readonly clock: Clock;
}

export function createWholeRooms({ loadSnapshot, serverName, clock }: WholeRoomsOptions): WholeRooms {
  const isInhabited = createLocalMembers(serverName);
  const waiting = new Map<RoomId, Set<() => void>>();
  let isStopped = false;

  function wait(roomId: RoomId, timeout: number): Promise<void> {
    const ofRoom = waiting.get(roomId) ?? new Set();
    waiting.set(roomId, ofRoom);
    return new Promise((resolve) => {
      const wake = (): void => {
        timer[Symbol.dispose]();
        ofRoom.delete(wake);
        if (ofRoom.size === 0 && waiting.get(roomId) === ofRoom) waiting.delete(roomId);
        resolve();
      };
      const timer = clock.after(timeout, wake);
      ofRoom.add(wake);
    });
  }

  function wakeAll(wakes: Iterable<() => void>): void {
    for (const wake of [...wakes]) wake();
  }

  return {
    async load(roomId) {
      const deadline = clock.monotonic() + MAX_WAIT_MS;
      for (;;) {
        const snapshot = await loadSnapshot(roomId);
        if (snapshot === undefined || !snapshot.isPartial || !isInhabited(snapshot)) return snapshot;
        const left = deadline - clock.monotonic();
        if (left <= 0 || isStopped) throw notYet();
        await wait(roomId, left);
      }
    },
    wake: (roomId) => wakeAll(waiting.get(roomId) ?? []),
    [Symbol.dispose]() {
      isStopped = true;
      for (const ofRoom of [...waiting.values()]) wakeAll(ofRoom);
    },
  };
}

function notYet(): MatrixError {
  const message = 'The members of this room are still being fetched from other servers; try again later';
  return new MatrixError('M_UNKNOWN', message, { status: 503, headers: { 'retry-after': String(RETRY_AFTER_S) } });
}
