/**
 * Lets a few pieces of work run at once; more of them wait in order, and what comes while too many wait is turned away.
 */
import { MinHeap } from './min-heap.ts';

export interface Turnstile {
  /** Undefined where the work was turned away. Of those that wait, the one with the lowest `order` goes first. */
  run<T>(work: () => Promise<T>, order?: number): Promise<T | undefined>;
}

interface Waiting {
  readonly order: number;
  /** Of the same order, whoever came first. */
  readonly number: number;
  readonly go: () => void;
}

export function createTurnstile({ maxRunning, maxWaiting }: { maxRunning: number; maxWaiting: number }): Turnstile {
  const waiting = new MinHeap<Waiting>((a, b) => a.order - b.order || a.number - b.number);
  let running = 0;
  let count = 0;
  return {
    async run(work, order = 0) {
      if (running >= maxRunning) {
        if (waiting.size >= maxWaiting) return undefined;
        // Whoever leaves hands his place over, so the number running stays the same.
        count += 1;
        const number = count;
        await new Promise<void>((resolve) => waiting.push({ order, number, go: resolve }));
      } else {
        running += 1;
      }
      try {
        return await work();
      } finally {
        const next = waiting.pop();
        if (next === undefined) running -= 1;
        else next.go();
      }
    },
  };
}
