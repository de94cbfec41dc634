/**
 * An immutable map with string keys: `set` and `delete` give a new map that shares all but a few nodes with the old one,
 * so that a reader keeps a consistent view for nothing while the writer goes on. A hash trie, 32 ways a level; keys whose
 * hashes collide to the last bit share a bucket.
 */
const BITS = 5;
const MASK = 31;
/** Buckets hold this many entries before they split: fewer, larger nodes cost less memory than a node per entry. */
const BUCKET_SIZE = 12;
/** The hash has 32 bits; below this level every key of a node has the same hash. */
const MAX_LEVEL = 6;

type Entry<V> = readonly [key: string, value: V];
interface Bucket<V> {
  readonly entries: readonly Entry<V>[];
}
interface Branch<V> {
  readonly children: readonly (Node<V> | undefined)[];
}
type Node<V> = Bucket<V> | Branch<V>;

export class PersistentMap<V> implements Iterable<Entry<V>> {
  readonly size: number;
  readonly #root: Node<V>;

  private constructor(root: Node<V>, size: number) {
    this.#root = root;
    this.size = size;
  }

  static empty<V>(): PersistentMap<V> {
    return new PersistentMap<V>({ entries: [] }, 0);
  }

  static from<V>(entries: Iterable<Entry<V>>): PersistentMap<V> {
    let map = PersistentMap.empty<V>();
    for (const [key, value] of entries) map = map.set(key, value);
    return map;
  }

  get(key: string): V | undefined {
    let node = this.#root;
    for (let hash = hashOf(key); 'children' in node; hash >>>= BITS) {
      const child = node.children[hash & MASK];
      if (child === undefined) return undefined;
      node = child;
    }
    for (const entry of node.entries) if (entry[0] === key) return entry[1];
    return undefined;
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  set(key: string, value: V): PersistentMap<V> {
    const grew = this.get(key) === undefined ? 1 : 0;
    return new PersistentMap(setIn(this.#root, [key, value], { hash: hashOf(key), level: 0 }), this.size + grew);
  }

  delete(key: string): PersistentMap<V> {
    if (this.get(key) === undefined) return this;
    return new PersistentMap(deleteIn(this.#root, key, hashOf(key)), this.size - 1);
  }

  /** What differs from another map of the same family, at the cost of what the two do not share. */
  changesSince(before: PersistentMap<V>): Iterable<Change<V>> {
    return differences(before.#root, this.#root);
  }

  *values(): IterableIterator<V> {
    for (const [, value] of this) yield value;
  }

  *[Symbol.iterator](): IterableIterator<Entry<V>> {
    const open: Node<V>[] = [this.#root];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      if ('entries' in node) yield* node.entries;
      else for (const child of node.children) if (child !== undefined) open.push(child);
    }
  }
}

export interface Change<V> {
  readonly key: string;
  readonly before: V | undefined;
  readonly after: V | undefined;
}

function* differences<V>(before: Node<V> | undefined, after: Node<V> | undefined): Generator<Change<V>> {
  if (before === after) return;
  if (isBranch(before) && isBranch(after)) {
    for (let index = 0; index <= MASK; index++) yield* differences(before.children[index], after.children[index]);
    return;
  }
  const old = new Map(entriesOf(before));
  for (const [key, value] of entriesOf(after)) {
    const known = old.get(key);
    old.delete(key);
    if (known !== value) yield { key, before: known, after: value };
  }
  for (const [key, value] of old) yield { key, before: value, after: undefined };
}

function isBranch<V>(node: Node<V> | undefined): node is Branch<V> {
  return node !== undefined && 'children' in node;
}

function* entriesOf<V>(node: Node<V> | undefined): Generator<Entry<V>> {
  if (node === undefined) return;
  if ('entries' in node) yield* node.entries;
  else for (const child of node.children) yield* entriesOf(child);
}

interface Place {
  readonly hash: number;
  readonly level: number;
}

function setIn<V>(node: Node<V>, entry: Entry<V>, place: Place): Node<V> {
  if ('children' in node) {
    const index = place.hash & MASK;
    const children = [...node.children];
    const below = { hash: place.hash >>> BITS, level: place.level + 1 };
    children[index] = setIn(children[index] ?? { entries: [] }, entry, below);
    return { children };
  }
  const at = node.entries.findIndex(([key]) => key === entry[0]);
  if (at >= 0) return { entries: node.entries.with(at, entry) };
  const entries = [...node.entries, entry];
  return entries.length > BUCKET_SIZE && place.level <= MAX_LEVEL ? split(entries, place.level) : { entries };
}

function split<V>(entries: readonly Entry<V>[], level: number): Node<V> {
  const groups: Entry<V>[][] = [];
  for (const entry of entries) {
    const index = (hashOf(entry[0]) >>> (BITS * level)) & MASK;
    const group = groups[index] ?? [];
    group.push(entry);
    groups[index] = group;
  }
  const children = Array.from({ length: MASK + 1 }, (_, index) => {
    const group = groups[index];
    if (group === undefined) return undefined;
    return group.length > BUCKET_SIZE && level < MAX_LEVEL ? split(group, level + 1) : { entries: group };
  });
  return { children };
}

function deleteIn<V>(node: Node<V>, key: string, hash: number): Node<V> {
  if ('entries' in node) return { entries: node.entries.filter((entry) => entry[0] !== key) };
  const index = hash & MASK;
  const child = node.children[index];
  if (child === undefined) return node;
  const kept = deleteIn(child, key, hash >>> BITS);
  const isEmpty = 'entries' in kept && kept.entries.length === 0;
  return { children: node.children.with(index, isEmpty ? undefined : kept) };
}

/** FNV-1a over UTF-16 code units: fast, and an attacker who collides it only lengthens one bucket of his own room. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) {
    hash ^= key.charCodeAt(index);
    hash = Math.imul(hash, 0x01000193);
  }
  return hash >>> 0;
}
