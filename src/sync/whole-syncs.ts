/**
 * Answers with all of a user's rooms are made slice by slice, a few answers at a time, and those who asked first go first:
 * each takes memory and connections to the database, and after a pause of the server everybody comes back at once. A
 * client that is slow to take in what it was given holds up nobody: the next one begins meanwhile.
 */
import type { Clock } from '../lib/clock.ts';
import { createTurnstile } from '../lib/turnstile.ts';
import { MatrixError } from '../protocol/errors.ts';

export interface WholeSyncs {
  /** Waits for its turn among all answers. Throws where too many wait, and where the client was gone meanwhile. */
  begin(signal: AbortSignal): Promise<WholeSync>;
}

/** One answer; disposed when it is made. */
export interface WholeSync extends Disposable {
  /** Makes a slice; a few at a time are made. */
  turn<T>(work: () => Promise<T>): Promise<T>;
}

/** Enough to keep the server busy while clients read, at some megabytes each. */
const MAX_OPEN = 6;
/** While one waits for the database another is rendered; more would only share the one thread. */
const MAX_RUNNING = 2;
/** More users than one process serves. */
const MAX_WAITING = 10_000;
const TRY_AGAIN_MS = 10_000;
/** Whoever takes in nothing for so long counts no more. */
const SLOW_MS = 3_000;

export function createWholeSyncs({ clock }: { readonly clock: Clock }): WholeSyncs {
  const answers = createTurnstile({ maxRunning: MAX_OPEN, maxWaiting: MAX_WAITING });
  const slices = createTurnstile({ maxRunning: MAX_RUNNING, maxWaiting: Number.POSITIVE_INFINITY });
  let count = 0;

  function open(signal: AbortSignal, close: () => void): WholeSync {
    count += 1;
    const order = count;
    let slow: Disposable | undefined;
    return {
      async turn(work) {
        slow?.[Symbol.dispose]();
        const done = await slices.run(async () => {
          if (signal.aborted) throw tryAgain('M_UNKNOWN', { status: 503 });
          return { result: await work() };
        }, order);
        if (done === undefined) throw new Error('nobody is turned away here');
        slow = clock.after(SLOW_MS, close);
        return done.result;
      },
      [Symbol.dispose]() {
        slow?.[Symbol.dispose]();
        close();
      },
    };
  }

  return {
    begin: (signal) =>
      new Promise((resolve, reject) => {
        const opened = answers.run(() => {
          const { promise, resolve: close } = Promise.withResolvers<true>();
          resolve(open(signal, () => close(true)));
          return promise;
        });
        opened.then((isAdmitted) => {
          if (isAdmitted === true) return;
          reject(tryAgain('M_LIMIT_EXCEEDED', { fields: { retry_after_ms: TRY_AGAIN_MS } }));
        }, reject);
      }),
  };
}

function tryAgain(
  errcode: 'M_UNKNOWN' | 'M_LIMIT_EXCEEDED',
  options: ConstructorParameters<typeof MatrixError>[2],
): MatrixError {
  const headers = { 'retry-after': String(TRY_AGAIN_MS / 1000) };
  return new MatrixError(errcode, 'Too many first syncs at the moment', { ...options, headers });
}
