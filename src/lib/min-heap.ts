/**
 * A binary heap: whatever compares smallest comes out first.
 */
export class MinHeap<T extends object> {
  readonly #items: T[] = [];
  readonly #compare: (x: T, y: T) => number;

  constructor(compare: (x: T, y: T) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#items.length;
  }

  push(item: T): void {
    let hole = this.#items.length;
    while (hole > 0) {
      const parentIndex = (hole - 1) >> 1;
      const parent = this.#items[parentIndex];
      if (parent === undefined || this.#compare(parent, item) <= 0) break;
      this.#items[hole] = parent;
      hole = parentIndex;
    }
    this.#items[hole] = item;
  }

  /** Takes the smallest item out, or gives undefined where there is none. */
  pop(): T | undefined {
    const smallest = this.#items[0];
    const last = this.#items.pop();
    if (last !== undefined && this.#items.length > 0) this.#sink(last);
    return smallest;
  }

  #sink(item: T): void {
    let hole = 0;
    for (;;) {
      const childIndex = this.#smallerChild(hole);
      const child = this.#items[childIndex];
      if (child === undefined || this.#compare(item, child) <= 0) break;
      this.#items[hole] = child;
      hole = childIndex;
    }
    this.#items[hole] = item;
  }

  #smallerChild(index: number): number {
    const left = this.#items[2 * index + 1];
    const right = this.#items[2 * index + 2];
    return left !== undefined && right !== undefined && this.#compare(right, left) < 0 ? 2 * index + 2 : 2 * index + 1;
  }
}
