/**
 * Room versions as data: each is the one before it with what changed. Rules read these fields and never a version's
 * name, so that a new version is a new entry here.
 *
 * https://spec.matrix.org/v1.19/rooms/
 */
export interface RoomVersion {
  readonly id: string;
  readonly stateResolution: 'v1' | 'v2' | 'v2.1';
  /** Who makes event ids: the sending server, or the reference hash in one of two alphabets. */
  readonly eventIds: 'server' | 'base64' | 'url-safe-base64';
  /** The room id is the hash of the create event, which then has no `room_id` and is not an auth event (v12). */
  readonly roomIdFromCreate: boolean;
  /** Creators have a power level above all others and may not be named in `m.room.power_levels` (v12). */
  readonly creatorsPrivileged: boolean;
  /** The sender of the create event is the creator; `content.creator` means nothing (v11). */
  readonly creatorIsSender: boolean;
  /** Redactions are part of the auth rules (v1, v2), or always allowed and checked when they are applied (v3). */
  readonly redactionAuthRule: boolean;
  /** `redacts` lies in the content (v11). */
  readonly redactsInContent: boolean;
  /**
   * Types, state keys and identifiers over 255 bytes make an event invalid (v11). Before, servers dropped it over 255 code
   * points only, and between the two stored it as rejected; who dropped it would lose what follows.
   */
  readonly strictFieldSizes: boolean;
  /** `m.room.aliases` has its own auth rule and its content survives redaction (before v6). */
  readonly aliasesRule: boolean;
  /** Events must be canonical JSON: no floats, no integers beyond 2^53 - 1 (v6). */
  readonly strictCanonicalJson: boolean;
  /** `notifications` in power levels is checked when it changes (v6). */
  readonly notificationsPowerLevel: boolean;
  /** Power levels must be integers; before, strings that hold one were tolerated (v10). */
  readonly integerPowerLevels: boolean;
  /** Signing keys must have been valid when the event was made (v5). */
  readonly enforcesKeyValidity: boolean;
  readonly knock: boolean;
  readonly restricted: boolean;
  readonly knockRestricted: boolean;
  /** Redaction keeps `join_authorised_via_users_server` of a member (v9). */
  readonly redactionKeepsJoinAuthorised: boolean;
  /** The redaction algorithm of v11. */
  readonly updatedRedaction: boolean;
}

const v1: RoomVersion = {
  id: '1',
  stateResolution: 'v1',
  eventIds: 'server',
  roomIdFromCreate: false,
  creatorsPrivileged: false,
  creatorIsSender: false,
  redactionAuthRule: true,
  redactsInContent: false,
  strictFieldSizes: false,
  aliasesRule: true,
  strictCanonicalJson: false,
  notificationsPowerLevel: false,
  integerPowerLevels: false,
  enforcesKeyValidity: false,
  knock: false,
  restricted: false,
  knockRestricted: false,
  redactionKeepsJoinAuthorised: false,
  updatedRedaction: false,
};
const v2: RoomVersion = { ...v1, id: '2', stateResolution: 'v2' };
const v3: RoomVersion = { ...v2, id: '3', eventIds: 'base64', redactionAuthRule: false };
const v4: RoomVersion = { ...v3, id: '4', eventIds: 'url-safe-base64' };
const v5: RoomVersion = { ...v4, id: '5', enforcesKeyValidity: true };
const v6: RoomVersion = {
  ...v5,
  id: '6',
  aliasesRule: false,
  strictCanonicalJson: true,
  notificationsPowerLevel: true,
};
const v7: RoomVersion = { ...v6, id: '7', knock: true };
const v8: RoomVersion = { ...v7, id: '8', restricted: true };
const v9: RoomVersion = { ...v8, id: '9', redactionKeepsJoinAuthorised: true };
const v10: RoomVersion = { ...v9, id: '10', knockRestricted: true, integerPowerLevels: true };
const v11: RoomVersion = {
  ...v10,
  id: '11',
  creatorIsSender: true,
  redactsInContent: true,
  strictFieldSizes: true,
  updatedRedaction: true,
};
const v12: RoomVersion = {
  ...v11,
  id: '12',
  stateResolution: 'v2.1',
  roomIdFromCreate: true,
  creatorsPrivileged: true,
};

export const ROOM_VERSIONS: ReadonlyMap<string, RoomVersion> = new Map(
  [v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12].map((version) => [version.id, version]),
);
export const DEFAULT_ROOM_VERSION = v12;

/** The version named `id`, or undefined where this server does not support it. */
export function getRoomVersion(id: string): RoomVersion | undefined {
  return ROOM_VERSIONS.get(id);
}
