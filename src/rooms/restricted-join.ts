/**
 * Restricted rooms: who may join since they are in another room, and which local user's power to invite lets them in.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
 */
import { hasMemberOf } from '../engine/local-members.ts';
import { joinedMembers, type RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import { isRoomId, parseUserId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import { levelOf, readPowerLevels, userLevel } from '../protocol/power-levels.ts';

/** Bounds the rooms that one join has us load. */
const MAX_ALLOWED_ROOMS = 50;

/** Whether a join of this user needs somebody to vouch for them. */
export function needsAuthoriser(snapshot: RoomSnapshot, userId: UserId): boolean {
  const membership = snapshot.membershipOf(userId);
  if (membership === 'join' || membership === 'invite') return false;
  const joinRule = snapshot.get('m.room.join_rules', '')?.content['join_rule'];
  if (joinRule === 'restricted') return snapshot.version.restricted;
  return joinRule === 'knock_restricted' && snapshot.version.knockRestricted;
}

/** The rooms whose members may join. */
export function allowedRooms(snapshot: RoomSnapshot): readonly RoomId[] {
  const allow = snapshot.get('m.room.join_rules', '')?.content['allow'];
  if (!isJsonArray(allow)) return [];
  const roomIds = allow.flatMap((condition) => {
    if (!isJsonObject(condition) || condition['type'] !== 'm.room_membership') return [];
    const roomId = condition['room_id'];
    return typeof roomId === 'string' && isRoomId(roomId) ? [roomId] : [];
  });
  return roomIds.slice(0, MAX_ALLOWED_ROOMS);
}

/** Those of the rooms that the user is joined to. */
export async function loadJoinedAmong(
  engine: Pick<RoomEngine, 'loadSnapshots'>,
  roomIds: readonly RoomId[],
  userId: UserId,
): Promise<ReadonlySet<RoomId>> {
  if (roomIds.length === 0) return new Set();
  const snapshots = await engine.loadSnapshots(roomIds);
  return new Set(roomIds.filter((roomId) => snapshots.get(roomId)?.membershipOf(userId) === 'join'));
}

/**
 * The user of this server who vouches for a user of another one, or undefined where nobody has to. Throws what tells that
 * server whether it should ask elsewhere.
 */
export async function requireAuthoriser(
  engine: Pick<RoomEngine, 'loadSnapshots'>,
  serverName: ServerName,
  { snapshot, userId }: { readonly snapshot: RoomSnapshot; readonly userId: UserId },
): Promise<UserId | undefined> {
  if (!needsAuthoriser(snapshot, userId)) return undefined;
  const roomIds = allowedRooms(snapshot);
  const snapshots = await engine.loadSnapshots(roomIds);
  // Of a room that all of ours have left we don't know who is in it now.
  const rooms = roomIds
    .flatMap((roomId) => snapshots.get(roomId) ?? [])
    .filter((room) => hasMemberOf(room, serverName));
  if (!rooms.some((room) => room.membershipOf(userId) === 'join')) {
    if (rooms.length < roomIds.length) {
      throw new MatrixError('M_UNABLE_TO_AUTHORISE_JOIN', 'This server does not know the rooms whose members may join');
    }
    throw new MatrixError('M_FORBIDDEN', 'You are in none of the rooms whose members may join');
  }
  const authoriser = selectAuthoriser(snapshot, serverName);
  if (authoriser !== undefined) return authoriser;
  throw new MatrixError('M_UNABLE_TO_GRANT_JOIN', 'Nobody on this server may invite to this room');
}

/** Whether the user may vouch for others: joined, of this server, and with the power to invite. */
export function isAuthoriser(snapshot: RoomSnapshot, userId: UserId, serverName: ServerName): boolean {
  const levels = readPowerLevels(snapshot, snapshot.version);
  return (
    serverNameOf(userId) === serverName &&
    snapshot.membershipOf(userId) === 'join' &&
    userLevel(levels, userId) >= levelOf(levels, 'invite')
  );
}

/** A joined user of this server who may invite; those that the power levels name are asked first. */
export function selectAuthoriser(snapshot: RoomSnapshot, serverName: ServerName): UserId | undefined {
  const levels = readPowerLevels(snapshot, snapshot.version);
  const needed = levelOf(levels, 'invite');
  const isFit = (userId: UserId): boolean =>
    serverNameOf(userId) === serverName &&
    snapshot.membershipOf(userId) === 'join' &&
    userLevel(levels, userId) >= needed;
  const users = levels.content?.['users'];
  const named = isJsonObject(users) ? Object.keys(users) : [];
  for (const name of [levels.create?.sender ?? '', ...named]) {
    const userId = parseUserId(name);
    if (userId !== undefined && isFit(userId)) return userId;
  }
  // Nobody else stands above the default.
  if (levelOf(levels, 'users_default') < needed && !hasOtherCreators(snapshot)) return undefined;
  for (const userId of joinedMembers(snapshot)) if (isFit(userId)) return userId;
  return undefined;
}

function hasOtherCreators(snapshot: RoomSnapshot): boolean {
  return (
    snapshot.version.creatorsPrivileged &&
    isJsonArray(snapshot.get('m.room.create', '')?.content['additional_creators'])
  );
}
