/**
 * Runs asynchronous work one at a time per key, in the order of the calls, while different keys run side by side.
 * A key is forgotten when nothing waits for it, and work that fails rejects its own caller only.
 */
export class KeyedQueue<K> {
  /** The last piece of work of each busy key, as a promise that never rejects. */
  readonly #tails = new Map<K, Promise<void>>();

  /** The number of keys at work or waiting. */
  get size(): number {
    return this.#tails.size;
  }

  /** Runs `work` once everything asked for under `key` before it has settled. */
  run<T>(key: K, work: () => T | Promise<T>): Promise<T> {
    const result = (this.#tails.get(key) ?? Promise.resolve()).then(work);
    const forget = (): void => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    };
    const tail: Promise<void> = result.then(forget, forget);
    this.#tails.set(key, tail);
    return result;
  }

  /** Resolves when all work asked for so far has settled. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
