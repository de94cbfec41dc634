/**
 * Lets a few pieces of work run at once; more of them wait in order, and what comes while too many wait is turned away.
 */
export interface Turnstile {
  /** Undefined where the work was turned away. */
  run<T>(work: () => Promise<T>): Promise<T | undefined>;
}

export function createTurnstile({ maxRunning, maxWaiting }: { maxRunning: number; maxWaiting: number }): Turnstile {
  const waiting: (() => void)[] = [];
  let running = 0;
  return {
    async run(work) {
      if (running >= maxRunning) {
        if (waiting.length >= maxWaiting) return undefined;
        // Whoever leaves hands his place over, so the number running stays the same.
        await new Promise<void>((resolve) => waiting.push(resolve));
      } else {
        running += 1;
      }
      try {
        return await work();
      } finally {
        const next = waiting.shift();
        if (next === undefined) running -= 1;
        else next();
      }
    },
  };
}
