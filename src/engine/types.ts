/**
 * What the engine takes and gives: the words that rooms, sync and federation share with it.
 */
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { Event, JsonObject, Pdu } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from '../storage/database.ts';
import type { ClientTransaction, TimelineEvent, TimelineRange } from '../storage/events.ts';
import type { RoomRange } from '../storage/sync-queries.ts';
import type { RoomSnapshot, StateEntry } from './room-snapshot.ts';

/** An event that somebody wants to make; all the rest is worked out in the room's turn. */
export interface EventTemplate {
  readonly type: string;
  readonly sender: UserId;
  /** Undefined for message events. */
  readonly stateKey?: string | undefined;
  readonly content: JsonObject;
  readonly redacts?: EventId | undefined;
  /** Unix milliseconds; now where it is not given. */
  readonly originServerTs?: number | undefined;
}

export interface SendRequest {
  readonly roomId: RoomId;
  /**
   * Called in the room's turn with the state that the events are judged by: synchronous, without side effects. What it
   * throws is the caller's answer; an empty list sends nothing. Several events are committed together or not at all.
   */
  readonly decide: (snapshot: RoomSnapshot) => readonly EventTemplate[];
  /** The same (user, device, path, txnId) gives the event of the first request, even after a restart. */
  readonly transaction?: ClientTransaction | undefined;
  /** The event that a template redacts: loaded before the turn. */
  readonly redacts?: EventId | undefined;
}

export interface SentEvent {
  readonly eventId: EventId;
  readonly nid: number;
}

export interface CreateRoomRequest {
  readonly version: RoomVersion;
  readonly creator: UserId;
  /** The content of `m.room.create`, without `room_version` and `creator`, which the engine sets. */
  readonly creationContent: JsonObject;
  /** Further events in order; called once the room id is known. All are committed with the create event, or none is. */
  readonly events: (roomId: RoomId) => readonly EventTemplate[];
  readonly also?: ((tx: Transaction, roomId: RoomId) => Promise<unknown>) | undefined;
  readonly isPublic: boolean;
  /**
   * Given all events of the room before any is committed; gives those that have more signatures now. What it throws is the
   * caller's answer, and there is no such room.
   */
  readonly cosign?: ((events: readonly Event[]) => Promise<ReadonlyMap<EventId, Pdu>>) | undefined;
}

export interface RoomEngine {
  /** The committed snapshot of a room that is in memory. */
  getSnapshot(roomId: RoomId): RoomSnapshot | undefined;
  /** The committed snapshot, read from the database where the room is cold; undefined where we do not know the room. */
  loadSnapshot(roomId: RoomId): Promise<RoomSnapshot | undefined>;
  /**
   * As `loadSnapshot`, for who needs all members: of a room that lacks some (docs/adr/0019-partial-rooms.md) when they are
   * here. Throws a `MatrixError` where that takes too long.
   */
  loadWhole(roomId: RoomId): Promise<RoomSnapshot | undefined>;
  /** As `loadSnapshot` for many rooms, with a number of statements that does not grow with them. */
  loadSnapshots(roomIds: readonly RoomId[]): Promise<ReadonlyMap<RoomId, RoomSnapshot>>;
  createRoom(request: CreateRoomRequest): Promise<RoomSnapshot>;
  /** Throws a `MatrixError`: M_NOT_FOUND for an unknown room, M_FORBIDDEN where the auth rules say no. */
  send(request: SendRequest): Promise<readonly SentEvent[]>;
  /**
   * Runs `work` in the room's turn, with everything that was decided before committed: nothing is written to the room
   * meanwhile. Where it returns true, its rows are gone: the room is forgotten, and whoever waited to write to it gets
   * M_NOT_FOUND. Undefined for a room that we do not know.
   */
  dropRoom(roomId: RoomId, work: (snapshot: RoomSnapshot | undefined) => Promise<boolean>): Promise<boolean>;
  /** All events of the room after the position that are in memory; undefined where memory does not reach back so far. */
  getRecent(roomId: RoomId, after: number): readonly TimelineEvent[] | undefined;
  /** Events of one room, from memory where it reaches, else one statement. */
  loadTimeline(range: TimelineRange): Promise<readonly TimelineEvent[]>;
  /** The newest `limit` events of each range, oldest first: from memory where it reaches, else one statement for all. */
  loadNewest(ranges: readonly RoomRange[], limit: number): Promise<ReadonlyMap<RoomId, readonly TimelineEvent[]>>;
  /** An accepted event of this room. */
  loadEvent(roomId: RoomId, eventId: EventId): Promise<TimelineEvent | undefined>;
  /** The whole state at a snapshot of the room. */
  loadStateAt(roomId: RoomId, snapshotNid: number): Promise<readonly StateEntry[]>;
  /** Single entries of several snapshots: `get(snapshotNid, type, stateKey)`, one statement for all. */
  loadStateEntries(roomId: RoomId, wanted: StateEntriesWanted): Promise<StateEntries>;
}

export interface StateEntriesWanted {
  readonly snapshotNids: readonly number[];
  readonly keys: readonly { readonly type: string; readonly stateKey: string }[];
}

export interface StateEntries {
  get(snapshotNid: number, type: string, stateKey: string): StateEntry | undefined;
}
