/**
 * Which servers are in a room: those with joined members. Asked for every event that is sent, so it is worked out from what
 * changed since it was asked last: member lists share their structure, and only what they don't share is looked at.
 */
import { joinedMembers, membershipIn, type RoomSnapshot, type StateEntry } from '../engine/room-snapshot.ts';
import { Lru } from '../lib/lru.ts';
import type { PersistentMap } from '../lib/persistent-map.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';

export interface RoomServers {
  of(snapshot: RoomSnapshot): ReadonlySet<ServerName>;
  /** Without those that are only said to be in it, while members are missing. */
  withMembers(snapshot: RoomSnapshot): ReadonlySet<ServerName>;
}

interface Known {
  readonly members: PersistentMap<StateEntry>;
  /** How many joined members each server has. */
  readonly counts: Map<ServerName, number>;
  readonly servers: ReadonlySet<ServerName>;
}

/** Servers that are remembered in all rooms together: some 20 MB at most. */
const MAX_COST = 200_000;

export function createRoomServers(): RoomServers {
  const rooms = new Lru<RoomId, Known>({ maxCost: MAX_COST, costOf: ({ counts }) => 1 + counts.size });
  const withMembers = (snapshot: RoomSnapshot): ReadonlySet<ServerName> => {
    const { members } = snapshot.parts;
    const known = rooms.get(snapshot.roomId);
    if (known?.members === members) return known.servers;
    const next = known === undefined ? count(snapshot) : recount(known, members);
    rooms.set(snapshot.roomId, next);
    return next.servers;
  };
  return {
    of(snapshot) {
      const { partial } = snapshot.parts;
      return partial === undefined ? withMembers(snapshot) : withMembers(snapshot).union(partial);
    },
    withMembers,
  };
}

function count(snapshot: RoomSnapshot): Known {
  const counts = new Map<ServerName, number>();
  for (const userId of joinedMembers(snapshot)) add(counts, serverNameOf(userId), 1);
  return { members: snapshot.parts.members, counts, servers: new Set(counts.keys()) };
}

function recount(known: Known, members: PersistentMap<StateEntry>): Known {
  const { counts } = known;
  let isSame = true;
  for (const { key, before, after } of members.changesSince(known.members)) {
    const change = Number(isJoined(after)) - Number(isJoined(before));
    // The state key of an accepted membership event is a user id.
    if (change !== 0) isSame = add(counts, serverNameOf(key as UserId), change) && isSame;
  }
  return { members, counts, servers: isSame ? known.servers : new Set(counts.keys()) };
}

function isJoined(entry: StateEntry | undefined): boolean {
  return membershipIn(entry?.content) === 'join';
}

/** Returns whether the same servers have members as before. */
function add(counts: Map<ServerName, number>, server: ServerName, change: number): boolean {
  const before = counts.get(server) ?? 0;
  const after = before + change;
  if (after > 0) counts.set(server, after);
  else counts.delete(server);
  return before > 0 === after > 0;
}
