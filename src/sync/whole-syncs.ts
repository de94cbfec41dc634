/**
 * Answers with all of a user's rooms are made slice by slice, a few slices at a time, and those who asked first go first:
 * each takes memory and connections to the database, and after a pause of the server everybody comes back at once. While
 * a client takes in what it was given, its turn goes to others.
 */
import { createTurnstile } from '../lib/turnstile.ts';
import { MatrixError } from '../protocol/errors.ts';

export interface WholeSyncs {
  /** The turns of one answer. */
  open(signal: AbortSignal): WholeSync;
}

export interface WholeSync {
  /** Throws where too many wait, and where the client was gone when its turn came. */
  turn<T>(work: () => Promise<T>): Promise<T>;
}

/** While one waits for the database another is rendered; more would only share the one thread. */
const MAX_RUNNING = 4;
/** More users than one process serves. */
const MAX_WAITING = 10_000;
const TRY_AGAIN_MS = 10_000;

export function createWholeSyncs(): WholeSyncs {
  const turnstile = createTurnstile({ maxRunning: MAX_RUNNING, maxWaiting: MAX_WAITING });
  let count = 0;
  return {
    open(signal) {
      count += 1;
      const order = count;
      return {
        async turn(work) {
          const done = await turnstile.run(async () => {
            if (signal.aborted) throw tryAgain('M_UNKNOWN', { status: 503 });
            return { result: await work() };
          }, order);
          if (done === undefined) throw tryAgain('M_LIMIT_EXCEEDED', { fields: { retry_after_ms: TRY_AGAIN_MS } });
          return done.result;
        },
      };
    },
  };
}

function tryAgain(
  errcode: 'M_UNKNOWN' | 'M_LIMIT_EXCEEDED',
  options: ConstructorParameters<typeof MatrixError>[2],
): MatrixError {
  const headers = { 'retry-after': String(TRY_AGAIN_MS / 1000) };
  return new MatrixError(errcode, 'Too many first syncs at the moment', { ...options, headers });
}
