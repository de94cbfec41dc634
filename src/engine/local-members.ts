/**
 * Whether a room has a user of this server in it. Asked for every event that comes, so it is worked out once for each
 * version of the member list.
 */
import type { ServerName } from '../protocol/ids.ts';
import { serverNameOf } from '../protocol/ids.ts';
import { joinedMembers, type RoomSnapshot } from './room-snapshot.ts';

export function createLocalMembers(serverName: ServerName): (snapshot: RoomSnapshot) => boolean {
  const known = new WeakMap<object, boolean>();
  return (snapshot) => {
    const { members } = snapshot.parts;
    const remembered = known.get(members);
    if (remembered !== undefined) return remembered;
    const isInhabited = hasMemberOf(snapshot, serverName);
    known.set(members, isInhabited);
    return isInhabited;
  };
}

/** As `hasMemberOf` of any server, remembered for each version of the member list: peers ask over and over. */
export function createServerMembers(): (snapshot: RoomSnapshot, serverName: ServerName) => boolean {
  const known = new WeakMap<object, Map<ServerName, boolean>>();
  return (snapshot, serverName) => {
    const { members } = snapshot.parts;
    const ofRoom = known.get(members) ?? new Map<ServerName, boolean>();
    known.set(members, ofRoom);
    const isIn = ofRoom.get(serverName) ?? hasMemberOf(snapshot, serverName);
    if (ofRoom.size < MAX_REMEMBERED) ofRoom.set(serverName, isIn);
    return isIn;
  };
}

/** Servers of one room: more than ask while its members stay the same. */
const MAX_REMEMBERED = 1_000;

/**
 * Whether any user of the server is joined; walks the members until one is found. While members are missing, a server that
 * is said to have some has one.
 */
export function hasMemberOf(snapshot: RoomSnapshot, serverName: ServerName): boolean {
  if (snapshot.parts.partial?.has(serverName) === true) return true;
  for (const userId of joinedMembers(snapshot)) if (serverNameOf(userId) === serverName) return true;
  return false;
}

/** Bounds the walk through the members of a large room. */
const MAX_MEMBERS_LOOKED_AT = 5_000;

/** Some servers that are in the room, besides those excluded. */
export function otherServers(snapshot: RoomSnapshot, exclude: ReadonlySet<string>, limit: number): ServerName[] {
  const servers = new Set<ServerName>();
  let looked = 0;
  for (const server of snapshot.parts.partial ?? []) {
    if (servers.size >= limit) return [...servers];
    if (!exclude.has(server)) servers.add(server);
  }
  for (const userId of joinedMembers(snapshot)) {
    const server = serverNameOf(userId);
    if (!exclude.has(server)) servers.add(server);
    looked += 1;
    if (servers.size >= limit || looked >= MAX_MEMBERS_LOOKED_AT) break;
  }
  return [...servers];
}
