/**
 * The summary of a room: how many are in it, and who stands for it where it has no name.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_roomsummary
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { JsonObject } from '../protocol/pdu.ts';

/** As the spec says; one more is kept, since the reader may be among them. */
const HEROES = 5;

interface Candidates {
  /** The first members in the order of the stream. */
  readonly present: readonly string[];
  readonly gone: readonly string[];
}

// Snapshots are immutable and shared by all readers of a room, so its members are walked once per change of them.
const candidatesOf = new WeakMap<object, Candidates>();

export function hasName(snapshot: RoomSnapshot): boolean {
  const name = snapshot.get('m.room.name', '')?.content['name'];
  const alias = snapshot.get('m.room.canonical_alias', '')?.content['alias'];
  return (typeof name === 'string' && name !== '') || (typeof alias === 'string' && alias !== '');
}

/** The users that a client names the room after; empty where it has a name of its own. */
export function getHeroes(snapshot: RoomSnapshot, userId: string): readonly string[] {
  if (hasName(snapshot)) return [];
  const { present, gone } = getCandidates(snapshot);
  const others = present.filter((member) => member !== userId);
  return (others.length > 0 ? others : gone.filter((member) => member !== userId)).slice(0, HEROES);
}

export function renderSummary(snapshot: RoomSnapshot, heroes: readonly string[]): JsonObject {
  return {
    ...(!hasName(snapshot) && { 'm.heroes': heroes }),
    'm.joined_member_count': snapshot.joinedCount,
    'm.invited_member_count': snapshot.invitedCount,
  };
}

function getCandidates(snapshot: RoomSnapshot): Candidates {
  const { members } = snapshot.parts;
  const known = candidatesOf.get(members);
  if (known !== undefined) return known;
  const present = createFirst();
  const gone = createFirst();
  for (const { nid, stateKey, content } of snapshot.members()) {
    const isPresent = content['membership'] === 'join' || content['membership'] === 'invite';
    (isPresent ? present : gone).offer(nid, stateKey);
  }
  const candidates = { present: present.users(), gone: gone.users() };
  candidatesOf.set(members, candidates);
  return candidates;
}

/** Keeps the few users with the smallest numbers. */
function createFirst(): { offer(nid: number, userId: string): void; users(): readonly string[] } {
  let first: { nid: number; userId: string }[] = [];
  return {
    offer(nid, userId) {
      const last = first.at(-1);
      if (first.length > HEROES && last !== undefined && nid > last.nid) return;
      first = [...first, { nid, userId }].sort((a, b) => a.nid - b.nid).slice(0, HEROES + 1);
    },
    users: () => first.map(({ userId }) => userId),
  };
}
