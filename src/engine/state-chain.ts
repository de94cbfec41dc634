/**
 * How a room's states are stored: each change makes a snapshot that holds a delta against an ancestor 2^k snapshots back,
 * k being the trailing zeros of its height. Like the carries of a binary counter, a new snapshot merges the deltas on the
 * way down, so that any state is read in at most log2(height) steps and storage grows with changes, not with members.
 *
 * A chain is the list of deltas that lead from the first state to the present one, oldest first.
 */
export interface StateDelta {
  readonly snapshotNid: number;
  readonly height: number;
  /** Event nids by state key: what this delta sets; undefined where it removes. */
  readonly changes: ReadonlyMap<string, DeltaChange>;
}

export interface DeltaChange {
  /** The event that is current after the delta, or undefined where the key is gone. */
  readonly added: number | undefined;
  /** The event that was current before the delta. */
  readonly removed: number | undefined;
}

export type StateChain = readonly StateDelta[];

/** A snapshot to be stored: `parentNid` is null for the first of a room. */
export interface NewSnapshot {
  readonly snapshotNid: number;
  readonly parentNid: number | null;
  readonly height: number;
  readonly added: readonly number[];
  readonly removed: readonly number[];
}

export interface ChainStep {
  readonly chain: StateChain;
  readonly snapshot: NewSnapshot;
}

/** The chain after `changes`, and the row that stores it. */
export function extendChain(
  chain: StateChain,
  snapshotNid: number,
  changes: ReadonlyMap<string, DeltaChange>,
): ChainStep {
  const height = (chain.at(-1)?.height ?? 0) + 1;
  const parentHeight = height - (height & -height);
  const kept = chain.filter((delta) => delta.height <= parentHeight);
  const merged = mergeDeltas([...chain.slice(kept.length).map((delta) => delta.changes), changes]);
  return {
    chain: [...kept, { snapshotNid, height, changes: merged }],
    snapshot: {
      snapshotNid,
      parentNid: kept.at(-1)?.snapshotNid ?? null,
      height,
      added: [...merged.values()].map(({ added }) => added).filter((nid) => nid !== undefined),
      removed: [...merged.values()].map(({ removed }) => removed).filter((nid) => nid !== undefined),
    },
  };
}

function mergeDeltas(deltas: readonly ReadonlyMap<string, DeltaChange>[]): ReadonlyMap<string, DeltaChange> {
  if (deltas.length === 1 && deltas[0] !== undefined) return deltas[0];
  const merged = new Map<string, DeltaChange>();
  for (const delta of deltas) {
    for (const [key, change] of delta) {
      const earlier = merged.get(key);
      merged.set(key, earlier === undefined ? change : { added: change.added, removed: earlier.removed });
    }
  }
  for (const [key, { added, removed }] of merged) if (added === removed) merged.delete(key);
  return merged;
}
