/**
 * Some users, and which of them are in a room: worked out once per change of its members, from the smaller of both.
 */
import type { UserId } from '../protocol/ids.ts';
import type { PushRoomState } from './types.ts';

interface Members {
  readonly serial: number;
  readonly users: readonly UserId[];
}

export class MemberSubset {
  readonly #users = new Set<UserId>();
  // Snapshots share their members for as long as none changes.
  readonly #members = new WeakMap<object, Members>();
  #serial = 0;

  has(userId: UserId): boolean {
    return this.#users.has(userId);
  }

  add(userId: UserId): void {
    if (this.#users.has(userId)) return;
    this.#users.add(userId);
    this.#serial += 1;
  }

  delete(userId: UserId): void {
    if (this.#users.delete(userId)) this.#serial += 1;
  }

  all(): readonly UserId[] {
    return [...this.#users];
  }

  /** Those who have joined the room. */
  joined(room: PushRoomState): readonly UserId[] {
    if (this.#users.size === 0) return [];
    const known = this.#members.get(room.parts.members);
    if (known?.serial === this.#serial) return known.users;
    const users = this.#users.size <= room.joinedCount ? this.#ofAll(room) : this.#ofMembers(room);
    this.#members.set(room.parts.members, { serial: this.#serial, users });
    return users;
  }

  #ofAll(room: PushRoomState): readonly UserId[] {
    return [...this.#users].filter((userId) => room.membershipOf(userId) === 'join');
  }

  #ofMembers(room: PushRoomState): readonly UserId[] {
    const users: UserId[] = [];
    for (const { stateKey, content } of room.members()) {
      // A membership event was accepted, so its state key is a user id.
      const userId = stateKey as UserId;
      if (content['membership'] === 'join' && this.#users.has(userId)) users.push(userId);
    }
    return users;
  }
}
