/**
 * The states of a room's graph, stored: what several states resolve to, what a state is after one more event, and how two
 * states differ. Each is written when it is made, beforehand and by itself, so that events can refer to it; one that no
 * event ends up with is only a row too many. Results are remembered, since the same forks are looked at again and again.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
 */
import { Lru } from '../lib/lru.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { stateKeyOf } from '../protocol/state-resolution/index.ts';
import type { Database } from '../storage/database.ts';
import { loadEventsByNid, type StoredEvent } from '../storage/events.ts';
import { insertSnapshots } from '../storage/pdu-stream.ts';
import { listEventsOfKeys } from '../storage/received-events.ts';
import { loadStateNids } from '../storage/state.ts';
import type { NidSource } from './nid-source.ts';
import { type LoadedConflict, loadConflict } from './resolution-input.ts';
import type { ResolutionRunner } from './resolution-runner.ts';
import type { Resolution } from './resolution-work.ts';
import { loadChain } from './room-loader.ts';
import { type DeltaChange, extendChain } from './state-chain.ts';

/** Some 100 bytes each. */
const MAX_REMEMBERED = 10_000;

export interface RoomOfStates {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
}

export interface StateResolver {
  /** The state that the given ones resolve to. */
  resolve(room: RoomOfStates, snapshotNids: readonly number[]): Promise<number>;
  /** The state after an event, or with several, each of another key. */
  extend(room: RoomOfStates, snapshotNid: number, ...events: readonly NewStateEvent[]): Promise<number>;
  /** A state that stands by itself, of these events. */
  create(room: RoomOfStates, events: readonly NewStateEvent[]): Promise<number>;
  compare(room: RoomOfStates, before: number, after: number): Promise<readonly StateDifference[]>;
}

export interface NewStateEvent {
  readonly nid: number;
  readonly type: string;
  readonly stateKey: string;
}

/** One key that two states have different events for. */
export interface StateDifference {
  readonly type: string;
  readonly stateKey: string;
  readonly before: StoredEvent | undefined;
  readonly after: StoredEvent | undefined;
}

export interface StateResolverOptions {
  readonly database: Database;
  readonly snapshotNids: NidSource;
  readonly runner: ResolutionRunner;
}

export function createStateResolver({ database, snapshotNids, runner }: StateResolverOptions): StateResolver {
  const remembered = new Lru<string, number>({ maxCost: MAX_REMEMBERED });

  async function store(
    { roomId }: RoomOfStates,
    base: number | undefined,
    changes: ReadonlyMap<string, DeltaChange>,
  ): Promise<number> {
    if (base !== undefined && changes.size === 0) return base;
    const snapshotNid = await snapshotNids.take();
    const { snapshot } = extendChain(base === undefined ? [] : await loadChain(database, base), snapshotNid, changes);
    await insertSnapshots(database, [{ ...snapshot, roomId }]);
    return snapshotNid;
  }

  async function resolveAnew(room: RoomOfStates, snapshotNids: readonly number[]): Promise<number> {
    const nids = await loadStateNids(database, snapshotNids);
    const states = snapshotNids.map((nid) => nids.get(nid) ?? new Set<number>());
    const conflict = await loadConflict(database, room.version, states);
    const resolution = await runner.run(conflict.work);
    const candidates = snapshotNids.map((nid, index) => ({ nid, changes: changesOf(conflict, index, resolution) }));
    const [base] = candidates.toSorted((a, b) => a.changes.size - b.changes.size || a.nid - b.nid);
    if (base === undefined) throw new Error('there is no state to resolve');
    return store(room, base.nid, base.changes);
  }

  return {
    async resolve(room, snapshotNids) {
      const distinct = [...new Set(snapshotNids)].sort((a, b) => a - b);
      const [first] = distinct;
      if (first !== undefined && distinct.length === 1) return first;
      const key = distinct.join();
      const known = remembered.get(key);
      if (known !== undefined) return known;
      const resolved = await resolveAnew(room, distinct);
      remembered.set(key, resolved);
      return resolved;
    },

    async extend(room, snapshotNid, ...events) {
      const nids = await loadStateNids(database, [snapshotNid]);
      const held = { nids: [...(nids.get(snapshotNid) ?? [])], keys: events };
      const replaced = new Map(
        (await listEventsOfKeys(database, room.version, held)).map(({ nid, event }) => [
          stateKeyOf(event.type, event.stateKey ?? ''),
          nid,
        ]),
      );
      const changes = events.map(({ type, stateKey, nid }): [string, DeltaChange] => {
        const key = stateKeyOf(type, stateKey);
        return [key, { added: nid, removed: replaced.get(key) }];
      });
      return store(room, snapshotNid, new Map(changes));
    },

    create: (room, events) =>
      store(
        room,
        undefined,
        new Map(
          events.map(({ type, stateKey, nid }) => [stateKeyOf(type, stateKey), { added: nid, removed: undefined }]),
        ),
      ),

    async compare({ version }, before, after) {
      const nids = await loadStateNids(database, [before, after]);
      const [earlier, later] = [nids.get(before) ?? new Set<number>(), nids.get(after) ?? new Set<number>()];
      const differing = [...earlier.symmetricDifference(later)];
      const events = await loadEventsByNid(database, version, differing);
      return Map.groupBy(events, ({ event }) => stateKeyOf(event.type, event.stateKey ?? ''))
        .values()
        .map((ofKey) => toDifference(ofKey, { earlier, later }))
        .toArray();
    },
  };
}

function toDifference(
  events: readonly StoredEvent[],
  { earlier, later }: { readonly earlier: ReadonlySet<number>; readonly later: ReadonlySet<number> },
): StateDifference {
  const before = events.find(({ nid }) => earlier.has(nid));
  const after = events.find(({ nid }) => later.has(nid));
  const { type, stateKey } = (before ?? after)?.event ?? { type: '', stateKey: '' };
  return { type, stateKey: stateKey ?? '', before, after };
}

/** What has to change in one of the states to make it the resolved one. */
function changesOf(
  { differing, byId }: LoadedConflict,
  index: number,
  resolution: Resolution,
): ReadonlyMap<string, DeltaChange> {
  const changes = new Map<string, DeltaChange>();
  for (const key of new Set(differing.flatMap((state) => [...state.keys()]))) {
    const winner = resolution.get(key);
    const added = winner === undefined ? undefined : byId.get(winner)?.nid;
    const removed = differing[index]?.get(key)?.nid;
    if (added !== removed) changes.set(key, { added, removed });
  }
  return changes;
}
