/**
 * Runs work a few pieces at a time; what comes while too much waits already is refused, with the time to come back.
 */
import { MatrixError } from '../protocol/errors.ts';

export interface BoundedPoolOptions {
  readonly maxRunning: number;
  readonly maxWaiting: number;
  /** What a refused client is told to wait. */
  readonly retryAfterMs: number;
}

export class BoundedPool {
  readonly #options: BoundedPoolOptions;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(options: BoundedPoolOptions) {
    this.#options = options;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.#enter();
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  #enter(): Promise<void> {
    const { maxRunning, maxWaiting, retryAfterMs } = this.#options;
    if (this.#running < maxRunning) {
      this.#running += 1;
      return Promise.resolve();
    }
    if (this.#waiting.length >= maxWaiting) {
      throw new MatrixError('M_LIMIT_EXCEEDED', 'Too many log-ins at the moment', {
        fields: { retry_after_ms: retryAfterMs },
        headers: { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) },
      });
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Whoever waits takes the place over, so the number running stays the same. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}
