/**
 * A space and its children as another server may see them: those that a user of it could look at or join. Children that we
 * know and that it may not see are named as inaccessible, those that we do not know are left out.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
 */
import { createServerMembers } from '../engine/local-members.ts';
import { createRoomAcls, type RoomAcls } from '../engine/room-acls.ts';
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { parseUserId, type RoomId, type ServerName, serverNameOf } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { allowedRooms } from './restricted-join.ts';
import { isWorldReadable } from './room-access.ts';
import { describeRoom, isOpen, isRestricted, unknownRoom } from './room-summary.ts';
import { childrenOf } from './space-children.ts';
import { describeWithChildren } from './space-hierarchy.ts';

/** Children of one space that are looked at: more than clients page through. */
const MAX_CHILDREN = 500;

export interface ServedHierarchy {
  readonly room: JsonObject;
  readonly children: readonly JsonObject[];
  readonly inaccessibleChildren: readonly RoomId[];
}

/** Throws M_NOT_FOUND where the server may not see the room itself, as for one that does not exist. */
export type LoadServedHierarchy = (
  serverName: ServerName,
  request: { readonly roomId: RoomId; readonly suggestedOnly: boolean },
) => Promise<ServedHierarchy>;

export interface ServedHierarchyOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot' | 'loadSnapshots'>;
  readonly serverName: ServerName;
}

export function createServedHierarchy({ engine, serverName: ownName }: ServedHierarchyOptions): LoadServedHierarchy {
  const acls = createRoomAcls();
  const hasMember = createServerMembers();
  // What we left has gone on without us.
  const isKnown = (snapshot: RoomSnapshot): boolean => hasMember(snapshot, ownName);
  return async (serverName, request) => {
    const space = await engine.loadSnapshot(request.roomId);
    if (space === undefined || !isKnown(space)) throw unknownRoom();
    const childIds = childrenOf(space, request)
      .map(({ roomId }) => roomId)
      .slice(0, MAX_CHILDREN);
    const children = await engine.loadSnapshots(childIds);
    const allowing = [space, ...children.values()].filter(isRestricted).flatMap(allowedRooms);
    const allowed = await engine.loadSnapshots([...new Set(allowing)].slice(0, MAX_CHILDREN));
    const isShown = (snapshot: RoomSnapshot): boolean => isShownTo(serverName, snapshot, { acls, hasMember, allowed });
    if (!isShown(space)) throw unknownRoom();
    const known = childIds.flatMap((roomId) => children.get(roomId) ?? []).filter(isKnown);
    return {
      room: describeWithChildren(space, request),
      children: known.filter(isShown).map(describeRoom),
      inaccessibleChildren: known.filter((child) => !isShown(child)).map(({ roomId }) => roomId),
    };
  };
}

interface Deciding {
  readonly acls: RoomAcls;
  readonly hasMember: (snapshot: RoomSnapshot, serverName: ServerName) => boolean;
  readonly allowed: ReadonlyMap<RoomId, RoomSnapshot>;
}

function isShownTo(serverName: ServerName, snapshot: RoomSnapshot, { acls, hasMember, allowed }: Deciding): boolean {
  if (!acls(snapshot, serverName)) return false;
  if (isWorldReadable(snapshot) || isOpen(snapshot) || hasMember(snapshot, serverName)) return true;
  if (hasInvited(snapshot, serverName)) return true;
  if (!isRestricted(snapshot)) return false;
  return allowedRooms(snapshot).some((roomId) => {
    const room = allowed.get(roomId);
    return room !== undefined && hasMember(room, serverName);
  });
}

function hasInvited(snapshot: RoomSnapshot, serverName: ServerName): boolean {
  if (snapshot.invitedCount === 0) return false;
  for (const { stateKey, content } of snapshot.members()) {
    if (content['membership'] !== 'invite') continue;
    const userId = parseUserId(stateKey);
    if (userId !== undefined && serverNameOf(userId) === serverName) return true;
  }
  return false;
}
