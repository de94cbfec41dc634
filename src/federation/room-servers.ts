/**
 * Which servers are in a room: those with joined members. Worked out once per version of the member list, which most events
 * leave as it is.
 */
import { joinedMembers, type RoomSnapshot } from '../engine/room-snapshot.ts';
import { type ServerName, serverNameOf } from '../protocol/ids.ts';

const known = new WeakMap<object, ReadonlySet<ServerName>>();

export function serversIn(snapshot: RoomSnapshot): ReadonlySet<ServerName> {
  const { members } = snapshot.parts;
  const found = known.get(members) ?? new Set([...joinedMembers(snapshot)].map(serverNameOf));
  known.set(members, found);
  return found;
}
