/**
 * States of a room while its events are judged once more: in memory as rooms have them, and stored as deltas. The database
 * is asked only where branches meet, or where a state was there before.
 */
import { stateKeyOf } from '../protocol/state-resolution/index.ts';
import type { Database } from '../storage/database.ts';
import { insertSnapshots, type SnapshotRow } from '../storage/pdu-stream.ts';
import { loadEntriesAt } from './load-state.ts';
import type { NidSource } from './nid-source.ts';
import { applyDifferences } from './place-forked.ts';
import { loadChain } from './room-loader.ts';
import type { RoomSnapshot, StateEntry } from './room-snapshot.ts';
import { type DeltaChange, extendChain, type StateChain } from './state-chain.ts';
import type { StateResolver } from './state-resolver.ts';

export interface ReplayStates {
  load(stateNid: number): Promise<RoomSnapshot>;
  /** The state with these entries in it. */
  extend(stateNid: number, entries: readonly StateEntry[]): Promise<number>;
  resolve(stateNids: readonly number[]): Promise<number>;
  /** Writes what is not stored yet. */
  flush(): Promise<void>;
}

export interface ReplayStatesOptions {
  readonly database: Database;
  readonly resolver: StateResolver;
  readonly snapshotNids: NidSource;
  /** Of which only the room counts, not its state. */
  readonly room: RoomSnapshot;
}

export function createReplayStates({ database, resolver, snapshotNids, room }: ReplayStatesOptions): ReplayStates {
  const snapshots = new Map<number, RoomSnapshot>();
  const chains = new Map<number, StateChain>();
  let unstored: SnapshotRow[] = [];

  async function load(stateNid: number): Promise<RoomSnapshot> {
    const known = snapshots.get(stateNid);
    if (known !== undefined) return known;
    const loaded = room.withEntries(await loadEntriesAt(database, room.version, stateNid), stateNid);
    snapshots.set(stateNid, loaded);
    return loaded;
  }

  async function flush(): Promise<void> {
    const rows = unstored.map((row) => ({ ...row, roomId: room.roomId }));
    unstored = [];
    if (rows.length > 0) await insertSnapshots(database, rows);
  }

  return {
    load,
    flush,

    async extend(stateNid, entries) {
      const before = await load(stateNid);
      const changed = entries.filter((entry) => before.get(entry.type, entry.stateKey)?.nid !== entry.nid);
      if (changed.length === 0) return stateNid;
      const chain = chains.get(stateNid) ?? (await loadChain(database, stateNid));
      const nid = await snapshotNids.take();
      const changes = changed.map((entry): [string, DeltaChange] => [
        stateKeyOf(entry.type, entry.stateKey),
        { added: entry.nid, removed: before.get(entry.type, entry.stateKey)?.nid },
      ]);
      const step = extendChain(chain, nid, new Map(changes));
      unstored.push(step.snapshot);
      chains.set(nid, step.chain);
      snapshots.set(nid, changed.reduce((state, entry) => state.withState(entry), before).withStateNid(nid));
      return nid;
    },

    async resolve(stateNids) {
      const distinct = [...new Set(stateNids)];
      const [first] = distinct;
      if (first === undefined) throw new Error('there is no state to resolve');
      if (distinct.length === 1) return first;
      await flush();
      const resolved = await resolver.resolve(room, distinct);
      if (!snapshots.has(resolved)) {
        const differences = await resolver.compare(room, first, resolved);
        snapshots.set(resolved, applyDifferences(await load(first), differences).withStateNid(resolved));
      }
      return resolved;
    },
  };
}
