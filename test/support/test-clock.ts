/**
 * A clock that stands still until the test moves it; what was to happen by then happens on the way, in order.
 */
import type { Clock } from '../../src/lib/clock.ts';

export interface TestClock extends Clock {
  advance(milliseconds: number): void;
}

export function createTestClock(start = 1_700_000_000_000): TestClock {
  let passed = 0;
  const timers = new Set<{ readonly at: number; readonly callback: () => void }>();
  return {
    now: () => start + passed,
    monotonic: () => passed,
    after(delay, callback) {
      const timer = { at: passed + delay, callback };
      timers.add(timer);
      return { [Symbol.dispose]: () => timers.delete(timer) };
    },
    advance(milliseconds) {
      const until = passed + milliseconds;
      for (;;) {
        const [next] = [...timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        passed = Math.max(passed, next.at);
        timers.delete(next);
        next.callback();
      }
      passed = until;
    },
  };
}
