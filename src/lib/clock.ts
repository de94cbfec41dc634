/**
 * The only source of time: whoever needs it is handed a Clock, so that tests decide what time it is.
 */
export interface Clock {
  /** Wall clock, unix milliseconds: for what users and peers see. */
  now(): number;
  /** Monotonic milliseconds: for time-outs, back-off and measurements, unaffected by clock jumps. */
  monotonic(): number;
  /** Calls `callback` once after `delay` milliseconds, unless the returned handle is disposed first. */
  after(delay: number, callback: () => void): Disposable;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delay, callback) {
    const timer = setTimeout(callback, delay);
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};
