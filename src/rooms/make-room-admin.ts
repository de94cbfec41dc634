/**
 * Giving a local user the highest power that a local member of the room can give: for rooms whose administrators are gone
 * while others of this server are still there. The user is unbanned, invited and joined as needed. Everything is done by
 * ordinary events of ordinary members, so that other servers agree.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
 */
import { joinedMembers, type RoomSnapshot } from '../engine/room-snapshot.ts';
import type { EventTemplate, RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import { canBan, canInvite, canSend, getUserLevel, readPowerLevels, requiredLevel } from '../protocol/power-levels.ts';
import type { Actor } from './actor.ts';
import type { Rooms } from './rooms.ts';

export interface MakeRoomAdminOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot' | 'send'>;
  readonly rooms: Pick<Rooms, 'memberships'>;
  readonly serverName: ServerName;
}

export interface NewRoomAdmin {
  /** Null for a creator, who stands above all levels. */
  readonly power_level: number | null;
  /** Whose power was passed on; the user where they had it already. */
  readonly granted_by: UserId;
}

export type MakeRoomAdmin = (roomId: RoomId, userId: UserId) => Promise<NewRoomAdmin>;

/** Of a room's administrators by convention; creators of version 12 give no less. */
const ADMIN_LEVEL = 100;

export function createMakeRoomAdmin(options: MakeRoomAdminOptions): MakeRoomAdmin {
  const { engine, serverName } = options;
  return async (roomId, userId) => {
    const snapshot = await engine.loadSnapshot(roomId);
    if (snapshot === undefined) throw new MatrixError('M_NOT_FOUND', 'The room is not known to this server');
    // Before anybody is let in: who can be given no power need not enter either.
    selectGiver(snapshot, { serverName, userId });
    await bringIn(options, snapshot, userId);
    let made: NewRoomAdmin | undefined;
    await engine.send({
      roomId,
      decide(current) {
        const giver = selectGiver(current, { serverName, userId });
        const own = getUserLevel(current, userId, current.version);
        const level = levelToGive(current, giver);
        made =
          own >= level ? { power_level: toJson(own), granted_by: userId } : { power_level: level, granted_by: giver };
        return own >= level ? [] : [powerLevelsWith(current, { giver, userId, level })];
      },
    });
    if (made === undefined) throw new Error('nothing was decided about the power levels of a room');
    return made;
  };
}

/** The most powerful local member who may change power levels. */
function selectGiver(
  snapshot: RoomSnapshot,
  { serverName, userId }: { readonly serverName: ServerName; readonly userId: UserId },
): UserId {
  const { version } = snapshot;
  let best: UserId | undefined;
  let bestLevel = Number.NEGATIVE_INFINITY;
  for (const member of joinedMembers(snapshot)) {
    if (serverNameOf(member) !== serverName) continue;
    if (!canSend(snapshot, { userId: member, type: 'm.room.power_levels', isState: true }, version)) continue;
    const level = getUserLevel(snapshot, member, version);
    // Whoever has the power already need not be given it.
    if (level > bestLevel || (level === bestLevel && member === userId)) [best, bestLevel] = [member, level];
  }
  if (best !== undefined) return best;
  throw new MatrixError('M_BAD_STATE', 'No member of this server may change the power levels of the room');
}

async function bringIn(options: MakeRoomAdminOptions, snapshot: RoomSnapshot, userId: UserId): Promise<void> {
  const { memberships } = options.rooms;
  const { roomId, version } = snapshot;
  const membership = snapshot.membershipOf(userId);
  if (membership === 'join') return;
  const select = (can: (member: UserId) => boolean): Actor => {
    for (const member of joinedMembers(snapshot)) {
      if (serverNameOf(member) === options.serverName && can(member)) return actorOf(member);
    }
    throw new MatrixError('M_BAD_STATE', 'No member of this server may let the user in');
  };
  if (membership === 'ban') {
    const unbanner = select((member) => canBan(snapshot, { userId: member, target: userId }, version));
    await memberships.unban(unbanner, { roomId, target: userId, content: {} });
  }
  const isOpen = snapshot.get('m.room.join_rules', '')?.content['join_rule'] === 'public';
  if (membership !== 'invite' && !isOpen) {
    const inviter = select((member) => canInvite(snapshot, member, version));
    await memberships.invite(inviter, { roomId, target: userId, content: {} });
  }
  await memberships.join(actorOf(userId), { roomId, content: {} });
}

function levelToGive(snapshot: RoomSnapshot, giver: UserId): number {
  const { version } = snapshot;
  const level = getUserLevel(snapshot, giver, version);
  if (Number.isFinite(level)) return level;
  const required = requiredLevel(readPowerLevels(snapshot, version), 'm.room.power_levels', true);
  return Math.max(ADMIN_LEVEL, required);
}

function powerLevelsWith(
  snapshot: RoomSnapshot,
  { giver, userId, level }: { readonly giver: UserId; readonly userId: UserId; readonly level: number },
): EventTemplate {
  const content = snapshot.get('m.room.power_levels', '')?.content;
  // Without such an event the creator's level comes from nowhere else, and has to be written down.
  const users = content === undefined && !snapshot.version.creatorsPrivileged ? { [giver]: level } : {};
  const listed = isJsonObject(content?.['users']) ? content['users'] : users;
  return {
    type: 'm.room.power_levels',
    sender: giver,
    stateKey: '',
    content: { ...content, users: { ...listed, [userId]: level } },
  };
}

function toJson(level: number): number | null {
  return Number.isFinite(level) ? level : null;
}

/** Whether an account is suspended is no matter here: an administrator acts. */
function actorOf(userId: UserId): Actor {
  return { userId, deviceId: '', isGuest: false, isSuspended: false };
}
