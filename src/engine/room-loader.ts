/**
 * Brings rooms from the database into memory: a few statements for a dozen rooms at a time, with pauses, so that nobody
 * waits for hundreds of rooms.
 */

import { createBreather } from '../lib/breather.ts';
import type { Clock } from '../lib/clock.ts';
import { referenceHash } from '../protocol/hashes.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { loadEventsByNid } from '../storage/events.ts';
import { type LoadedRoom, type LoadedState, loadCurrentState, loadRooms, loadStateKeys } from '../storage/rooms.ts';
import { listSnapshotSteps } from '../storage/state.ts';
import type { ActorStart } from './room-actor.ts';
import { type Extremity, emptySnapshot, RoomSnapshot } from './room-snapshot.ts';
import type { DeltaChange, StateChain } from './state-chain.ts';

/** Rooms of one statement: in large ones, their rows are megabytes. */
const ROOMS_AT_ONCE = 12;

export async function loadRoomStarts(
  { database, clock }: { readonly database: Database; readonly clock: Clock },
  roomIds: readonly RoomId[],
): Promise<readonly ActorStart[]> {
  const breathe = createBreather(clock);
  const starts: ActorStart[] = [];
  for (let from = 0; from < roomIds.length; from += ROOMS_AT_ONCE) {
    await database.transaction(async (tx) => {
      const rooms = await loadRooms(tx, roomIds.slice(from, from + ROOMS_AT_ONCE));
      const states = await loadCurrentState(tx, rooms, breathe);
      for (const room of rooms) {
        starts.push(await toStart(tx, room, states.get(room.roomId) ?? []));
        await breathe();
      }
    });
  }
  return starts;
}

async function toStart(tx: Transaction, room: LoadedRoom, state: readonly LoadedState[]): Promise<ActorStart> {
  const empty = new RoomSnapshot({
    ...emptySnapshot(room).parts,
    extremities: await withReferenceHashes(tx, room),
    depth: room.depth,
    partial: room.partialServers === undefined ? undefined : new Set(room.partialServers),
    completeFrom: room.completeFrom,
  });
  const snapshot = empty.withEntries(state, room.stateSnapshot);
  return { snapshot, lastPosition: room.lastPosition, chain: undefined };
}

async function withReferenceHashes(tx: Transaction, room: LoadedRoom): Promise<readonly Extremity[]> {
  if (room.version.eventIds !== 'server') return room.extremities;
  const events = await loadEventsByNid(
    tx,
    room.version,
    room.extremities.map(({ nid }) => nid),
  );
  return events.map(({ nid, event, stateAfter }) => ({
    nid,
    eventId: event.eventId,
    stateAfter,
    referenceHash: referenceHash(event.pdu, room.version),
  }));
}

/** The deltas that lead to the snapshot, as the next one is stored on top of them. */
export async function loadChain(database: Database, snapshotNid: number): Promise<StateChain> {
  const steps = await listSnapshotSteps(database, snapshotNid);
  const nids = steps.flatMap(({ added, removed }) => [...added, ...removed]);
  const keys = await loadStateKeys(database, nids);
  return steps.map(({ snapshotNid: nid, height, added, removed }) => {
    const changes = new Map<string, DeltaChange>();
    const note = (eventNid: number, change: DeltaChange): void => {
      const key = keys.get(eventNid);
      if (key === undefined) throw new Error(`snapshot ${nid} names event ${eventNid}, which is not there`);
      const name = `${key.type}\u0000${key.stateKey}`;
      changes.set(name, { ...(changes.get(name) ?? change), ...withoutUndefined(change) });
    };
    for (const eventNid of removed) note(eventNid, { added: undefined, removed: eventNid });
    for (const eventNid of added) note(eventNid, { added: eventNid, removed: undefined });
    return { snapshotNid: nid, height, changes };
  });
}

function withoutUndefined(change: DeltaChange): Partial<DeltaChange> {
  return {
    ...(change.added === undefined ? {} : { added: change.added }),
    ...(change.removed === undefined ? {} : { removed: change.removed }),
  };
}
