/**
 * How the parts of the engine write to rooms: in the room's turn, through the one committer. A unit that fails retires
 * the actor that decided it.
 */
import type { RoomId } from '../protocol/ids.ts';
import type { CommitUnit } from '../streams/committer.ts';
import type { NidSource } from './nid-source.ts';
import type { RoomActor, Turn } from './room-actor.ts';

export interface RoomWriting {
  readonly eventNids: NidSource;
  readonly snapshotNids: NidSource;
  /** Runs `work` in the room's turn; undefined for a room that we do not know. */
  turn<T>(roomId: RoomId, work: (turn: Turn) => Promise<T>): Promise<T | undefined>;
  /** Behind all that the room has queued before; resolves after COMMIT. */
  commit(actor: RoomActor, unit: Omit<CommitUnit, 'chain'>): Promise<unknown>;
  /** Takes in a room that its first commit will bring into the database. */
  found(actor: RoomActor, commit: () => Promise<unknown>): Promise<void>;
}
