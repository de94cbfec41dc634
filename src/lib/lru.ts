/**
 * A cache that forgets what was used longest ago, bounded by count or by cost. What alone costs more than the bound is
 * not kept at all, so the sum never exceeds it.
 */
export interface LruOptions<K, V> {
  /** The most that all entries together may cost. */
  readonly maxCost: number;
  /** What an entry costs, 1 by default: the bound is then a count. Asked once, when the entry is set. */
  readonly costOf?: (value: V, key: K) => number;
  /** Told of each entry that had to make room, not of those deleted or replaced. */
  readonly onEvict?: (value: V, key: K) => void;
}

interface Entry<V> {
  readonly value: V;
  readonly cost: number;
}

export class Lru<K, V> {
  // A Map lists its keys in the order of insertion: the first is the one used longest ago.
  readonly #entries = new Map<K, Entry<V>>();
  readonly #options: LruOptions<K, V>;
  #cost = 0;

  constructor(options: LruOptions<K, V>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  get cost(): number {
    return this.#cost;
  }

  /** Gets an entry and marks it as used now. */
  get(key: K): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** Gets an entry without marking it as used. */
  peek(key: K): V | undefined {
    return this.#entries.get(key)?.value;
  }

  has(key: K): boolean {
    return this.#entries.has(key);
  }

  set(key: K, value: V): void {
    this.delete(key);
    const cost = Math.max(0, this.#options.costOf?.(value, key) ?? 1);
    if (!(cost <= this.#options.maxCost)) return;
    this.#entries.set(key, { value, cost });
    this.#cost += cost;
    this.#makeRoom();
  }

  delete(key: K): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#cost -= entry.cost;
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
    this.#cost = 0;
  }

  #makeRoom(): void {
    for (const [key, entry] of this.#entries) {
      if (this.#cost <= this.#options.maxCost) return;
      this.delete(key);
      this.#options.onEvict?.(entry.value, key);
    }
  }
}
