/**
 * The rooms in memory: loaded once however many ask at once, and dropped when they cost more than they may, the ones that
 * were used longest ago first.
 *
 * Invariant: at most one actor of a room hands out turns.
 */
import type { RoomId } from '../protocol/ids.ts';
import { type ActorStart, RoomActor } from './room-actor.ts';

/** What a room costs in memory, roughly: measured with rooms of 10 to 10,000 members. */
const BYTES_PER_ROOM = 4_000;
const BYTES_PER_STATE_EVENT = 700;
const BYTES_PER_TAIL_EVENT = 2_000;

export interface RoomRegistryOptions {
  readonly loadStarts: (roomIds: readonly RoomId[]) => Promise<readonly ActorStart[]>;
  readonly maxBytes: number;
}

export interface RoomRegistry {
  get(roomId: RoomId): RoomActor | undefined;
  load(roomIds: readonly RoomId[]): Promise<ReadonlyMap<RoomId, RoomActor>>;
  /** A room that was just created. */
  add(actor: RoomActor): void;
  drop(actor: RoomActor): void;
  /** The room is to be read anew, also by who is reading it just now. */
  renew(roomId: RoomId): void;
  readonly size: number;
}

export function createRoomRegistry({ loadStarts, maxBytes }: RoomRegistryOptions): RoomRegistry {
  const actors = new Map<RoomId, { readonly actor: RoomActor; bytes: number }>();
  const loading = new Map<RoomId, Promise<RoomActor | undefined>>();
  /** Rooms that were changed while they were read. */
  const outdated = new Set<RoomId>();
  let bytes = 0;

  function get(roomId: RoomId): RoomActor | undefined {
    const entry = actors.get(roomId);
    if (entry === undefined) return undefined;
    // Moved to the end: the map's order is that of the last use.
    actors.delete(roomId);
    actors.set(roomId, entry);
    return entry.actor;
  }

  function drop(actor: RoomActor): void {
    actor.retire();
    const entry = actors.get(actor.roomId);
    if (entry?.actor !== actor) return;
    actors.delete(actor.roomId);
    bytes -= entry.bytes;
  }

  function add(actor: RoomActor): void {
    const cost = costOf(actor);
    actors.set(actor.roomId, { actor, bytes: cost });
    bytes += cost;
    if (bytes > maxBytes) evict();
  }

  /** Drops idle rooms until what is left fits; a room with uncommitted events stays, and one in a turn. */
  function evict(): void {
    remeasure();
    for (const { actor } of [...actors.values()]) {
      if (bytes <= maxBytes * EVICT_TO) return;
      if (!actor.isBusy && !actor.isInTurn) drop(actor);
    }
  }

  /** Rooms grow while they are in memory; what they cost is taken anew before any is dropped. */
  function remeasure(): void {
    bytes = 0;
    for (const entry of actors.values()) {
      entry.bytes = costOf(entry.actor);
      bytes += entry.bytes;
    }
  }

  async function loadMissing(missing: readonly RoomId[]): Promise<void> {
    const starts = loadStarts(missing).then((found) => new Map(found.map((start) => [start.snapshot.roomId, start])));
    for (const roomId of missing) {
      const one = starts
        .then(async (found) => {
          const again = outdated.delete(roomId) ? await loadStarts([roomId]) : undefined;
          const there = actors.get(roomId)?.actor;
          const start = again === undefined ? found.get(roomId) : again[0];
          if (there !== undefined || start === undefined) return there;
          const actor = new RoomActor(start);
          add(actor);
          return actor;
        })
        .finally(() => loading.delete(roomId));
      loading.set(roomId, one);
    }
    await Promise.allSettled(missing.map((roomId) => loading.get(roomId)));
    await starts;
  }

  return {
    get,
    add,
    drop,
    renew(roomId) {
      const actor = actors.get(roomId)?.actor;
      if (actor !== undefined) drop(actor);
      if (loading.has(roomId)) outdated.add(roomId);
    },
    get size() {
      return actors.size;
    },
    async load(roomIds) {
      const missing = roomIds.filter((roomId) => !actors.has(roomId) && !loading.has(roomId));
      const waiting = roomIds.map((roomId) => loading.get(roomId)).filter((one) => one !== undefined);
      if (missing.length > 0) await loadMissing(missing);
      await Promise.all(waiting);
      const found = new Map<RoomId, RoomActor>();
      for (const roomId of roomIds) {
        const actor = get(roomId);
        if (actor !== undefined) found.set(roomId, actor);
      }
      return found;
    },
  };
}

/** Evicting to a little below the limit spares the next few rooms the walk. */
const EVICT_TO = 0.9;

function costOf({ committed, tail }: RoomActor): number {
  return BYTES_PER_ROOM + committed.stateCount * BYTES_PER_STATE_EVENT + tail.size * BYTES_PER_TAIL_EVENT;
}
