/**
 * What push notifications need to know of rooms: the engine's rooms fit.
 */
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Event, StateEvent, StateView } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';

/** A room at one moment; immutable. */
export interface PushRoomState extends StateView {
  readonly version: RoomVersion;
  readonly joinedCount: number;
  /** `members`: the same object for as long as no membership changes. */
  readonly parts: { readonly members: object };
  membershipOf(userId: string): string | undefined;
  members(): Iterable<Pick<StateEvent, 'stateKey' | 'content'>>;
}

export interface PushRooms {
  getSnapshot(roomId: RoomId): PushRoomState | undefined;
  loadSnapshot(roomId: RoomId): Promise<PushRoomState | undefined>;
  loadEvent(
    roomId: RoomId,
    eventId: EventId,
  ): Promise<{ readonly event: Event; readonly position: number } | undefined>;
}
