/**
 * Runs work a few pieces at a time; what comes while too much waits already is refused.
 */
import { MatrixError } from '../protocol/errors.ts';

export interface BoundedWork {
  run<T>(work: () => Promise<T>): Promise<T>;
}

/** What a refused client is told to wait: some pieces are done by then. */
const RETRY_AFTER_MS = 2_000;

export function createBoundedWork(options: {
  readonly maxRunning: number;
  readonly maxWaiting: number;
  /** Completes "Too many ... at the moment". */
  readonly what: string;
}): BoundedWork {
  const { maxRunning, maxWaiting, what } = options;
  const waiting: (() => void)[] = [];
  let running = 0;
  const enter = async (): Promise<void> => {
    if (running < maxRunning) {
      running += 1;
      return;
    }
    if (waiting.length >= maxWaiting) {
      throw new MatrixError('M_LIMIT_EXCEEDED', `Too many ${what} at the moment`, {
        fields: { retry_after_ms: RETRY_AFTER_MS },
        headers: { 'retry-after': String(RETRY_AFTER_MS / 1000) },
      });
    }
    // Whoever leaves hands his place over, so the number running stays the same.
    await new Promise<void>((resolve) => waiting.push(resolve));
  };
  const leave = (): void => {
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  };
  return {
    async run(work) {
      await enter();
      try {
        return await work();
      } finally {
        leave();
      }
    },
  };
}
