import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type DeltaChange, extendChain, type NewSnapshot, type StateChain } from './state-chain.ts';

/** What a reader of the stored rows finds: the state at a snapshot, and how many rows it walked. */
function readState(rows: ReadonlyMap<number, NewSnapshot>, nid: number): { state: Set<number>; steps: number } {
  const path: NewSnapshot[] = [];
  for (let at: number | null = nid; at !== null; ) {
    const row = rows.get(at);
    assert.ok(row, `snapshot ${at} is stored`);
    path.unshift(row);
    at = row.parentNid;
  }
  const state = new Set<number>();
  for (const row of path) {
    for (const removed of row.removed) state.delete(removed);
    for (const added of row.added) state.add(added);
  }
  return { state, steps: path.length };
}

interface Run {
  readonly rows: Map<number, NewSnapshot>;
  readonly expected: ReadonlyMap<number, ReadonlySet<number>>;
}

function run(changes: readonly (readonly [key: string, removes: boolean])[]): Run {
  const rows = new Map<number, NewSnapshot>();
  const expected = new Map<number, ReadonlySet<number>>();
  const current = new Map<string, number>();
  let chain: StateChain = [];
  changes.forEach(([key, removes], index) => {
    const eventNid = 10_000 + index;
    const change: DeltaChange = { added: removes ? undefined : eventNid, removed: current.get(key) };
    if (removes) current.delete(key);
    else current.set(key, eventNid);
    const step = extendChain(chain, index + 1, new Map([[key, change]]));
    chain = step.chain;
    rows.set(index + 1, step.snapshot);
    expected.set(index + 1, new Set(current.values()));
  });
  return { rows, expected };
}

test('every snapshot reads back as the state that was stored', () => {
  const changes = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.boolean()), { maxLength: 80 });
  fc.assert(
    fc.property(changes, (list) => {
      const { rows, expected } = run(list);
      for (const [nid, state] of expected) assert.deepEqual(readState(rows, nid).state, state);
    }),
  );
});

test('a state is read in at most log2 steps and each change stored log2 / 2 times', () => {
  const count = 4_096;
  const { rows } = run(Array.from({ length: count }, (_, index) => [`member ${index}`, false] as const));
  const steps = Math.max(...[...rows.keys()].map((nid) => readState(rows, nid).steps));
  assert.ok(steps <= 13, `${steps} steps`);
  const stored = [...rows.values()].reduce((sum, row) => sum + row.added.length + row.removed.length, 0);
  assert.ok(stored <= (count * 14) / 2, `${stored} ids stored for ${count} changes`);
});
