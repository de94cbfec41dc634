/**
 * Requests for media whose upload has not come yet: they wait for it a while.
 */
import type { Clock } from '../lib/clock.ts';

export interface UploadWaiters {
  /** Resolves when content arrives, the time is over, the signal is aborted, or too many wait already. */
  wait(mediaId: string, options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<void>;
  /** Content for this id is committed. */
  arrived(mediaId: string): void;
}

/** Each holds a connection; beyond that, clients are told at once to come back. */
const MAX_WAITING = 5_000;

export function createUploadWaiters(clock: Clock): UploadWaiters {
  const waiting = new Map<string, Set<() => void>>();
  let count = 0;
  return {
    async wait(mediaId, { timeoutMs, signal }) {
      if (count >= MAX_WAITING || signal.aborted) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const wakers = waiting.get(mediaId) ?? new Set();
      waiting.set(mediaId, wakers.add(resolve));
      count += 1;
      using _timer = clock.after(timeoutMs, resolve);
      const stop = (): void => resolve();
      signal.addEventListener('abort', stop, { once: true });
      await promise;
      signal.removeEventListener('abort', stop);
      count -= 1;
      wakers.delete(resolve);
      if (wakers.size === 0 && waiting.get(mediaId) === wakers) waiting.delete(mediaId);
    },
    arrived(mediaId) {
      for (const wake of waiting.get(mediaId) ?? []) wake();
    },
  };
}
