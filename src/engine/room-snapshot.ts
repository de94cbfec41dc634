/**
 * What a room is at one moment: its current state, members, forward extremities and depth. Immutable: the actor makes a
 * new one for each event, sharing all that did not change, and readers keep theirs for as long as they like.
 */
import { PersistentMap } from '../lib/persistent-map.ts';
import { type EventId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { JsonObject, StateEvent, StateView } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';

export type Membership = 'join' | 'invite' | 'leave' | 'ban' | 'knock';

/** A state event that is current, with its numeric id. */
export interface StateEntry extends StateEvent {
  readonly nid: number;
  /** Only in rooms of versions 1 and 2, whose events refer to others by id and hash. */
  readonly referenceHash?: string;
}

export interface Extremity {
  readonly eventId: EventId;
  readonly nid: number;
  /** The snapshot of the state after it. */
  readonly stateAfter: number | null;
  /** Only in rooms of versions 1 and 2. */
  readonly referenceHash?: string;
}

/** An event that becomes an extremity in the place of those it refers to. */
export interface NewExtremity extends Pick<Extremity, 'eventId' | 'nid' | 'stateAfter'> {
  readonly prevEvents: readonly EventId[];
  readonly depth: number;
  readonly referenceHash: string | undefined;
}

export interface RoomParts {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  /** `m.room.member` by user id. */
  readonly members: PersistentMap<StateEntry>;
  /** All other state by `stateKeyOf`. */
  readonly others: PersistentMap<StateEntry>;
  readonly extremities: readonly Extremity[];
  /** The greatest depth of an event in the room. */
  readonly depth: number;
  readonly joinedCount: number;
  readonly invitedCount: number;
  /** The stored form of this state; null before the first state event. */
  readonly stateNid: number | null;
  /**
   * Set while the members of others are missing (docs/adr/0019-partial-rooms.md): the servers in the room, as the one that
   * let us in said.
   */
  readonly partial: ReadonlySet<ServerName> | undefined;
  /** The position from which on all members were here; 0 where they always were. */
  readonly completeFrom: number;
}

export class RoomSnapshot implements StateView {
  readonly parts: RoomParts;
  readonly roomId: RoomId;
  readonly version: RoomVersion;

  constructor(parts: RoomParts) {
    this.parts = parts;
    this.roomId = parts.roomId;
    this.version = parts.version;
  }

  /** Whether users of other servers may be members whom we do not know of. */
  get isPartial(): boolean {
    return this.parts.partial !== undefined;
  }

  get joinedCount(): number {
    return this.parts.joinedCount;
  }

  get invitedCount(): number {
    return this.parts.invitedCount;
  }

  get(type: string, stateKey: string): StateEntry | undefined {
    if (type === 'm.room.member') return this.parts.members.get(stateKey);
    return this.parts.others.get(keyOf(type, stateKey));
  }

  /** A user's membership, undefined where the room never heard of them. */
  membershipOf(userId: string): Membership | undefined {
    return membershipIn(this.parts.members.get(userId)?.content);
  }

  members(): Iterable<StateEntry> {
    return this.parts.members.values();
  }

  /** All current state, members last. */
  *state(): IterableIterator<StateEntry> {
    yield* this.parts.others.values();
    yield* this.parts.members.values();
  }

  get stateCount(): number {
    return this.parts.members.size + this.parts.others.size;
  }

  /** The snapshot with `entry` as current state. */
  withState(entry: StateEntry): RoomSnapshot {
    const { parts } = this;
    if (entry.type !== 'm.room.member') {
      return this.#with({ others: parts.others.set(keyOf(entry.type, entry.stateKey), entry) });
    }
    const before = this.membershipOf(entry.stateKey);
    const after = membershipIn(entry.content);
    return this.#with({
      members: parts.members.set(entry.stateKey, entry),
      joinedCount: parts.joinedCount + change(before, after, 'join'),
      invitedCount: parts.invitedCount + change(before, after, 'invite'),
    });
  }

  /** The snapshot without current state for the key. */
  withoutState(type: string, stateKey: string): RoomSnapshot {
    const { parts } = this;
    if (type !== 'm.room.member') return this.#with({ others: parts.others.delete(keyOf(type, stateKey)) });
    const before = this.membershipOf(stateKey);
    return this.#with({
      members: parts.members.delete(stateKey),
      joinedCount: parts.joinedCount + change(before, undefined, 'join'),
      invitedCount: parts.invitedCount + change(before, undefined, 'invite'),
    });
  }

  /** The snapshot in which the event is the only forward extremity beside those it does not refer to. */
  withExtremity(extremity: NewExtremity): RoomSnapshot {
    const referred = new Set<string>(extremity.prevEvents);
    const kept = this.parts.extremities.filter(({ eventId }) => !referred.has(eventId));
    const { eventId, nid, stateAfter, referenceHash } = extremity;
    return this.#with({
      extremities: [...kept, { eventId, nid, stateAfter, ...(referenceHash === undefined ? {} : { referenceHash }) }],
      depth: Math.max(this.parts.depth, extremity.depth),
    });
  }

  /** The same under the room id that the create event gave (version 12). */
  inRoom(roomId: RoomId): RoomSnapshot {
    return roomId === this.roomId ? this : this.#with({ roomId });
  }

  /** The snapshot with other forward extremities, as a fork leaves them. */
  withHead(head: Pick<RoomParts, 'extremities' | 'stateNid' | 'depth'>): RoomSnapshot {
    return this.#with(head);
  }

  withStateNid(stateNid: number): RoomSnapshot {
    return this.#with({ stateNid });
  }

  /** The snapshot with these servers named as those in it, while members are missing. */
  withPartial(servers: ReadonlySet<ServerName>): RoomSnapshot {
    return this.#with({ partial: servers });
  }

  /** The same room with another state: these entries and no others. */
  withEntries(entries: readonly StateEntry[], stateNid: number): RoomSnapshot {
    const members = entries.filter(({ type }) => type === 'm.room.member');
    const others = entries.filter(({ type }) => type !== 'm.room.member');
    const count = (wanted: Membership): number =>
      members.filter(({ content }) => membershipIn(content) === wanted).length;
    return this.#with({
      members: PersistentMap.from(members.map((entry) => [entry.stateKey, entry])),
      others: PersistentMap.from(others.map((entry) => [keyOf(entry.type, entry.stateKey), entry])),
      joinedCount: count('join'),
      invitedCount: count('invite'),
      stateNid,
    });
  }

  #with(changed: Partial<RoomParts>): RoomSnapshot {
    return new RoomSnapshot({ ...this.parts, ...changed });
  }
}

function keyOf(type: string, stateKey: string): string {
  return `${type}\u0000${stateKey}`;
}

export function membershipIn(content: JsonObject | undefined): Membership | undefined {
  const membership = content?.['membership'];
  switch (membership) {
    case 'join':
    case 'invite':
    case 'leave':
    case 'ban':
    case 'knock':
      return membership;
    default:
      return undefined;
  }
}

function change(before: Membership | undefined, after: Membership | undefined, counted: Membership): number {
  return Number(after === counted) - Number(before === counted);
}

export function emptySnapshot(room: { roomId: RoomId; version: RoomVersion }): RoomSnapshot {
  return new RoomSnapshot({
    ...room,
    members: PersistentMap.empty(),
    others: PersistentMap.empty(),
    extremities: [],
    depth: 0,
    joinedCount: 0,
    invitedCount: 0,
    stateNid: null,
    partial: undefined,
    completeFrom: 0,
  });
}

/** The servers with joined members, and while members are missing those that are said to have some. */
export function serversIn(snapshot: RoomSnapshot): ReadonlySet<ServerName> {
  const servers = new Set(snapshot.parts.partial);
  for (const userId of joinedMembers(snapshot)) servers.add(serverNameOf(userId));
  return servers;
}

/** The members of a snapshot who are joined. */
export function* joinedMembers(snapshot: RoomSnapshot): IterableIterator<UserId> {
  for (const member of snapshot.members()) {
    // A membership event was accepted, so its state key is a user id.
    if (membershipIn(member.content) === 'join') yield member.stateKey as UserId;
  }
}
