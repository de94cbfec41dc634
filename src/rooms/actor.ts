/**
 * Who does something in a room, and the checks that concern the account rather than the room.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#account-suspension
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';

export interface Actor {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly isGuest: boolean;
  readonly isSuspended: boolean;
}

export function requireNotSuspended(actor: Actor): void {
  if (actor.isSuspended)
    throw new MatrixError('M_USER_SUSPENDED', 'You cannot do this while your account is suspended');
}

/** The same answer for a room that does not exist and one that the user is not in, so that ids cannot be probed. */
export function notInRoom(): MatrixError {
  return new MatrixError('M_FORBIDDEN', 'You are not a member of this room');
}

export function requireJoined(snapshot: RoomSnapshot, userId: UserId): void {
  if (snapshot.membershipOf(userId) !== 'join') throw notInRoom();
}
