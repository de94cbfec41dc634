/**
 * Changes of membership, decided on the state that they are made in: what is sent, what needs no event since it is so
 * already, and what is refused with a better answer than the auth rules could give. The rules have the last word.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-membership
 */
import type { Membership, RoomSnapshot } from '../engine/room-snapshot.ts';
import type { EventTemplate } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { type Profile, showsProfile } from './profile.ts';
import { isSameJson } from './same-json.ts';

export interface MembershipChange {
  readonly sender: UserId;
  readonly target: UserId;
  readonly membership: Membership;
  /** Further members of the content, such as `reason`. */
  readonly content: JsonObject;
}

/** The event, or nothing where the current one says the same. */
export function changeMembership(snapshot: RoomSnapshot, change: MembershipChange): readonly EventTemplate[] {
  const content = { ...change.content, membership: change.membership };
  const current = snapshot.get('m.room.member', change.target);
  if (current?.sender === change.sender && isSameJson(current.content, content)) return [];
  return [{ type: 'm.room.member', sender: change.sender, stateKey: change.target, content }];
}

export interface JoinAttempt {
  readonly userId: UserId;
  readonly isGuest: boolean;
  readonly content: JsonObject;
  readonly profile: Profile;
  /** Who vouches for the user in a restricted room. */
  readonly authoriser: (snapshot: RoomSnapshot) => UserId | undefined;
}

/** Whether guests may join; a room that says nothing does not let them. */
export function allowsGuests(snapshot: RoomSnapshot): boolean {
  return snapshot.get('m.room.guest_access', '')?.content['guest_access'] === 'can_join';
}

export function decideJoin(snapshot: RoomSnapshot, attempt: JoinAttempt): readonly EventTemplate[] {
  const { userId, content, profile } = attempt;
  if (attempt.isGuest && !allowsGuests(snapshot)) {
    throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests cannot join this room');
  }
  const current = snapshot.get('m.room.member', userId);
  const isJoined = current?.content['membership'] === 'join';
  if (isJoined && Object.keys(content).length === 0 && showsProfile(current.content, profile)) return [];
  const { join_authorised_via_users_server: _forged, ...own } = content;
  const authoriser = attempt.authoriser(snapshot);
  return changeMembership(snapshot, {
    sender: userId,
    target: userId,
    membership: 'join',
    content: {
      ...profile,
      ...own,
      ...(authoriser !== undefined && { join_authorised_via_users_server: authoriser }),
    },
  });
}

export interface Removal {
  readonly sender: UserId;
  readonly target: UserId;
  readonly content: JsonObject;
}

/** Leaving, rejecting an invite, taking back a knock. */
export function decideLeave(
  snapshot: RoomSnapshot,
  { sender: userId, content }: Omit<Removal, 'target'>,
): readonly EventTemplate[] {
  const membership = snapshot.membershipOf(userId);
  if (membership === 'leave') return [];
  if (membership === undefined) throw new MatrixError('M_FORBIDDEN', 'You are not a member of this room');
  return changeMembership(snapshot, { sender: userId, target: userId, membership: 'leave', content });
}

/** A kick must not lift a ban, which is the same event. */
export function decideKick(snapshot: RoomSnapshot, removal: Removal): readonly EventTemplate[] {
  const membership = snapshot.membershipOf(removal.target);
  if (membership === undefined || membership === 'leave' || membership === 'ban') {
    throw new MatrixError('M_FORBIDDEN', `${removal.target} is not in the room`);
  }
  return changeMembership(snapshot, { ...removal, membership: 'leave' });
}

export function decideUnban(snapshot: RoomSnapshot, removal: Removal): readonly EventTemplate[] {
  if (snapshot.membershipOf(removal.target) !== 'ban') {
    // The endpoint documents no 400.
    throw new MatrixError('M_BAD_STATE', `${removal.target} is not banned`, { status: 403 });
  }
  return changeMembership(snapshot, { ...removal, membership: 'leave' });
}

/** A member event that shows the new profile; nothing where the user is not joined or it shows it already. */
export function decideProfileChange(
  snapshot: RoomSnapshot,
  { userId, profile }: { readonly userId: UserId; readonly profile: Profile },
): readonly EventTemplate[] {
  const current = snapshot.get('m.room.member', userId)?.content;
  if (current?.['membership'] !== 'join' || showsProfile(current, profile)) return [];
  const {
    displayname: _name,
    avatar_url: _avatar,
    // These belong to the moment of joining.
    reason: _reason,
    join_authorised_via_users_server: _authoriser,
    third_party_invite: _invite,
    ...kept
  } = current;
  return changeMembership(snapshot, {
    sender: userId,
    target: userId,
    membership: 'join',
    content: { ...kept, ...profile },
  });
}
