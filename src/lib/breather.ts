/**
 * Breaks up long work between other work: whoever calls `breathe` often enough never holds up the event loop for much
 * longer than a slice.
 */
import type { Clock } from './clock.ts';

/** A promise where it is time to let others go on; undefined, which costs nothing, where it is not. */
export type Breathe = () => Promise<void> | undefined;

/** Short against what a person notices, long against what letting others go on costs. */
const SLICE_MS = 10;

export function createBreather(clock: Pick<Clock, 'monotonic'>): Breathe {
  let since = clock.monotonic();
  return () => {
    if (clock.monotonic() - since < SLICE_MS) return undefined;
    return new Promise((resolve) => {
      setImmediate(() => {
        since = clock.monotonic();
        resolve();
      });
    });
  };
}
