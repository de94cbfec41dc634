/**
 * The power levels that a new room starts with.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
 */
import type { UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';

export const ADMIN_LEVEL = 100;
/** Inviting is for moderators unless the room says otherwise, so that strangers in public rooms cannot spread spam. */
const INVITE_LEVEL = 50;
/** Where creators stand above every level, closing a room is left to them and to whom they raise on purpose. */
const TOMBSTONE_LEVEL_WITH_CREATORS = 150;

/** `admins` get level 100, in versions where levels are what makes a creator. */
export function defaultPowerLevels(version: RoomVersion, admins: readonly UserId[]): JsonObject {
  return {
    users: version.creatorsPrivileged ? {} : Object.fromEntries(admins.map((userId) => [userId, ADMIN_LEVEL])),
    users_default: 0,
    events: {
      'm.room.name': 50,
      'm.room.avatar': 50,
      'm.room.canonical_alias': 50,
      'm.room.power_levels': 100,
      'm.room.history_visibility': 100,
      'm.room.server_acl': 100,
      'm.room.encryption': 100,
      'm.room.tombstone': tombstoneLevel(version),
    },
    events_default: 0,
    state_default: 50,
    ban: 50,
    kick: 50,
    redact: 50,
    invite: INVITE_LEVEL,
  };
}

export function tombstoneLevel(version: RoomVersion): number {
  return version.creatorsPrivileged ? TOMBSTONE_LEVEL_WITH_CREATORS : ADMIN_LEVEL;
}
