/**
 * What a user may read of a room as a whole: members read its present, those who left read it as it was then, and
 * everybody reads a world-readable one. Single events have a finer rule, their history visibility.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
 */
import type { RoomSnapshot, StateEntry } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import type { TimelineEvent } from '../storage/events.ts';
import { isForgotten } from '../storage/memberships.ts';
import { notInRoom } from './actor.ts';

export interface ReadableRoom {
  readonly snapshot: RoomSnapshot;
  /** Where the user's view ends; undefined for the present. */
  readonly until: RoomMoment | undefined;
}

export interface RoomMoment {
  /** Of the last event in view. */
  readonly position: number;
  readonly stateNid: number;
}

export interface RoomAccess {
  /** Throws M_FORBIDDEN for a room that the user may not read, and for one that does not exist. */
  loadReadable(userId: UserId, roomId: RoomId): Promise<ReadableRoom>;
  /** The same for who reads members: of a room that lacks some when they are here. */
  loadWhole(userId: UserId, roomId: RoomId): Promise<ReadableRoom>;
  isReadable(userId: UserId, roomId: RoomId): Promise<boolean>;
  /** Undefined where the user may read nothing: no such room, or they asked to forget it. */
  loadKnown(userId: UserId, roomId: RoomId): Promise<RoomSnapshot | undefined>;
  loadState(room: ReadableRoom): Promise<readonly StateEntry[]>;
  loadStateEntry(room: ReadableRoom, key: StateKey): Promise<StateEntry | undefined>;
}

export interface StateKey {
  readonly type: string;
  readonly stateKey: string;
}

export interface RoomAccessOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot' | 'loadWhole' | 'loadEvent' | 'loadStateAt' | 'loadStateEntries'>;
  readonly database: Transaction;
}

export function createRoomAccess({ engine, database }: RoomAccessOptions): RoomAccess {
  async function findReadable(userId: UserId, roomId: RoomId): Promise<ReadableRoom | undefined> {
    const snapshot = await engine.loadSnapshot(roomId);
    if (snapshot === undefined) return undefined;
    if (snapshot.membershipOf(userId) === 'join') return { snapshot, until: undefined };
    const until = await loadEndOfMembership(engine, snapshot, userId);
    const isRemembered = until !== undefined && !(await isForgotten(database, { roomId, userId }));
    if (isRemembered) return { snapshot, until };
    return isWorldReadable(snapshot) ? { snapshot, until: undefined } : undefined;
  }

  async function loadReadable(userId: UserId, roomId: RoomId): Promise<ReadableRoom> {
    const room = await findReadable(userId, roomId);
    if (room === undefined) throw notInRoom();
    return room;
  }

  return {
    loadReadable,

    async loadWhole(userId, roomId) {
      const room = await loadReadable(userId, roomId);
      if (!room.snapshot.isPartial) return room;
      await engine.loadWhole(roomId);
      return loadReadable(userId, roomId);
    },

    async isReadable(userId, roomId) {
      return (await findReadable(userId, roomId)) !== undefined;
    },

    async loadKnown(userId, roomId) {
      const snapshot = await engine.loadSnapshot(roomId);
      const membership = snapshot?.membershipOf(userId);
      const mayBeForgotten = membership === 'leave' || membership === 'ban';
      if (mayBeForgotten && (await isForgotten(database, { roomId, userId }))) return undefined;
      return snapshot;
    },

    async loadState({ snapshot, until }) {
      return until === undefined ? [...snapshot.state()] : engine.loadStateAt(snapshot.roomId, until.stateNid);
    },

    async loadStateEntry({ snapshot, until }, key) {
      if (until === undefined) return snapshot.get(key.type, key.stateKey);
      const wanted = { snapshotNids: [until.stateNid], keys: [key] };
      const entries = await engine.loadStateEntries(snapshot.roomId, wanted);
      return entries.get(until.stateNid, key.type, key.stateKey);
    },
  };
}

export function isWorldReadable(snapshot: RoomSnapshot): boolean {
  return snapshot.get('m.room.history_visibility', '')?.content['history_visibility'] === 'world_readable';
}

/** Bounds the walk through membership events; who was banned and unbanned more often than this has lost their view. */
const MAX_STEPS = 50;

/** The event by which the user's last stay ended, walking back from the current membership. */
async function loadEndOfMembership(
  engine: Pick<RoomEngine, 'loadEvent'>,
  snapshot: RoomSnapshot,
  userId: UserId,
): Promise<RoomMoment | undefined> {
  let eventId: EventId | undefined = snapshot.get('m.room.member', userId)?.eventId;
  for (let step = 0; step < MAX_STEPS && eventId !== undefined; step++) {
    const change: TimelineEvent | undefined = await engine.loadEvent(snapshot.roomId, eventId);
    if (change?.replaces?.content['membership'] === 'join' && change.stateAfter !== null) {
      return { position: change.position, stateNid: change.stateAfter };
    }
    eventId = change?.replaces?.eventId;
  }
  return undefined;
}
