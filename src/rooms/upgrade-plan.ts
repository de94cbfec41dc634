/**
 * What an upgraded room starts with and what its predecessor ends with. Pure.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
 */
import type { RoomSnapshot, StateEntry } from '../engine/room-snapshot.ts';
import type { EventTemplate } from '../engine/types.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { canSend, levelOf, parseLevel, readPowerLevels, userLevel } from '../protocol/power-levels.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { ADMIN_LEVEL, defaultPowerLevels, tombstoneLevel } from './default-power-levels.ts';
import type { Profile } from './profile.ts';
import { isSameJson } from './same-json.ts';

export interface UpgradeRequest {
  readonly userId: UserId;
  readonly version: RoomVersion;
  /** Only versions that privilege creators take them. */
  readonly additionalCreators: readonly UserId[];
}

export interface UpgradePlan {
  readonly creationContent: JsonObject;
  /** After `m.room.create`, in the new room's first commit. */
  readonly events: readonly EventTemplate[];
  /** What did not fit into it, such as a long list of bans. */
  readonly later: readonly EventTemplate[];
}

/** The spec's list. Power levels come last of all: they may take from the upgrader what copying needs. */
const COPIED_TYPES = [
  'm.room.server_acl',
  'm.room.encryption',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.guest_access',
  'm.room.history_visibility',
  'm.room.join_rules',
  // The aliases move along with it.
  'm.room.canonical_alias',
] as const;
/** Bounds one commit. */
export const MAX_EVENTS_PER_COMMIT = 300;

export function planUpgrade(old: RoomSnapshot, request: UpgradeRequest, profile: Profile): UpgradePlan {
  const { userId, version } = request;
  const levels = planPowerLevels(old, request);
  const initial = withUpgraderOnTop(levels, request);
  const state = (type: string, content: JsonObject, stateKey = ''): EventTemplate => ({
    type,
    sender: userId,
    stateKey,
    content,
  });
  const bans = [...old.members()]
    .filter(({ content }) => content['membership'] === 'ban')
    .map(({ stateKey, content }) => state('m.room.member', content, stateKey));
  const copied = copiedState(old, version).map(({ type, stateKey, content }) => state(type, content, stateKey));
  const events = [
    state('m.room.member', { ...profile, membership: 'join' }, userId),
    state('m.room.power_levels', initial),
    ...copied,
    ...bans,
    ...(isSameJson(initial, levels) ? [] : [state('m.room.power_levels', levels)]),
  ];
  return {
    creationContent: planCreationContent(old, request),
    events: events.slice(0, MAX_EVENTS_PER_COMMIT),
    later: events.slice(MAX_EVENTS_PER_COMMIT),
  };
}

function planCreationContent(old: RoomSnapshot, { version, additionalCreators, userId }: UpgradeRequest): JsonObject {
  const create = old.get('m.room.create', '')?.content ?? {};
  const lastKnown = old.parts.extremities.at(-1)?.eventId;
  const creators = [...new Set(additionalCreators)].filter((creator) => creator !== userId);
  return {
    ...(create['type'] !== undefined && { type: create['type'] }),
    ...(create['m.federate'] !== undefined && { 'm.federate': create['m.federate'] }),
    predecessor: {
      room_id: old.roomId,
      // Deprecated, and left out from the version on in which the room id says it all.
      ...(!version.roomIdFromCreate && lastKnown !== undefined && { event_id: lastKnown }),
    },
    ...(version.creatorsPrivileged && creators.length > 0 && { additional_creators: creators }),
  };
}

function copiedState(old: RoomSnapshot, version: RoomVersion): readonly StateEntry[] {
  const copied = COPIED_TYPES.flatMap((type) => old.get(type, '') ?? []);
  const isSpace = old.get('m.room.create', '')?.content['type'] === 'm.space';
  const children = isSpace ? [...old.state()].filter(({ type }) => type === 'm.space.child') : [];
  const kept = [...copied, ...children].filter(({ content }) => Object.keys(content).length > 0);
  return kept.map((entry) => (entry.type === 'm.room.join_rules' ? supportedJoinRule(entry, version) : entry));
}

/** A join rule that the new version does not know would let nobody in, or mean something else. */
function supportedJoinRule(entry: StateEntry, version: RoomVersion): StateEntry {
  const rule = entry.content['join_rule'];
  const isKnown =
    (rule !== 'knock' || version.knock) &&
    (rule !== 'restricted' || version.restricted) &&
    (rule !== 'knock_restricted' || version.knockRestricted);
  return isKnown ? entry : { ...entry, content: { join_rule: 'invite' } };
}

function planPowerLevels(old: RoomSnapshot, request: UpgradeRequest): JsonObject {
  const { version, userId } = request;
  const content = old.get('m.room.power_levels', '')?.content;
  if (content === undefined) return defaultPowerLevels(version, [userId]);
  const users = new Map(integerLevels(content['users'], old.version));
  const levels = { ...content, ...numericLevels(content, old.version) };
  if (version.creatorsPrivileged) {
    for (const creator of [userId, ...request.additionalCreators]) users.delete(creator);
    return { ...levels, users: Object.fromEntries(users), events: withTombstone(old, version, content) };
  }
  // What the old room's version gave its creators, the new one has to say in numbers.
  if (old.version.creatorsPrivileged) for (const creator of creatorsOf(old)) users.set(creator, ADMIN_LEVEL);
  return { ...levels, users: Object.fromEntries(users) };
}

/** Old versions took strings and floats for levels; the new room gets the integers that they stood for. */
function numericLevels(content: JsonObject, version: RoomVersion): JsonObject {
  const entries = Object.entries(content).flatMap(([key, value]): [string, JsonObject | number][] => {
    if (isJsonObject(value)) return [[key, Object.fromEntries(integerLevels(value, version))]];
    const level = parseLevel(value, version);
    return level === undefined ? [] : [[key, level]];
  });
  return Object.fromEntries(entries);
}

function integerLevels(levels: JsonObject[string], version: RoomVersion): readonly [string, number][] {
  return Object.entries(isJsonObject(levels) ? levels : {}).flatMap(([key, value]): [string, number][] => {
    const level = parseLevel(value, version);
    return level === undefined ? [] : [[key, level]];
  });
}

/** Where creators stand above all levels, a tombstone needs more than other state; an old room could not say so. */
function withTombstone(old: RoomSnapshot, version: RoomVersion, content: JsonObject): JsonObject {
  const events = Object.fromEntries(integerLevels(content['events'], old.version));
  if (old.version.creatorsPrivileged) return events;
  return { ...events, 'm.room.tombstone': Math.max(events['m.room.tombstone'] ?? 0, tombstoneLevel(version)) };
}

function creatorsOf(room: RoomSnapshot): readonly string[] {
  const create = room.get('m.room.create', '');
  if (create === undefined) return [];
  const additional = create.content['additional_creators'];
  const named = isJsonArray(additional) ? additional.filter((creator) => typeof creator === 'string') : [];
  return [create.sender, ...named.map(String)];
}

/** Until everything is copied nobody stands above the upgrader, who could not give more power than they have. */
function withUpgraderOnTop(levels: JsonObject, { userId, version }: UpgradeRequest): JsonObject {
  if (version.creatorsPrivileged) return levels;
  const users = isJsonObject(levels['users']) ? levels['users'] : {};
  const events = isJsonObject(levels['events']) ? levels['events'] : {};
  const all = [...Object.values(levels), ...Object.values(users), ...Object.values(events)];
  const highest = Math.max(ADMIN_LEVEL, ...all.filter((level) => typeof level === 'number'));
  return { ...levels, users: { ...users, [userId]: highest } };
}

/** The end of the old room: the tombstone, and whatever else the upgrader has the power to close. */
export function closeOldRoom(old: RoomSnapshot, userId: UserId, replacement: RoomId): readonly EventTemplate[] {
  const may = (type: string): boolean => canSend(old, { userId, type, isState: true }, old.version);
  const state = (type: string, content: JsonObject): EventTemplate => ({ type, sender: userId, stateKey: '', content });
  const aliases = old.get('m.room.canonical_alias', '');
  const restricted = restrictedLevels(old, userId);
  return [
    state('m.room.tombstone', { body: 'This room has been replaced', replacement_room: replacement }),
    ...(aliases !== undefined && Object.keys(aliases.content).length > 0 && may(aliases.type)
      ? [state(aliases.type, {})]
      : []),
    ...(restricted !== undefined && may('m.room.power_levels') ? [state('m.room.power_levels', restricted)] : []),
  ];
}

/** Sending and inviting become a matter for moderators; undefined where that needs no change or more power. */
function restrictedLevels(old: RoomSnapshot, userId: UserId): JsonObject | undefined {
  const content = old.get('m.room.power_levels', '')?.content;
  if (content === undefined) return undefined;
  const levels = readPowerLevels(old, old.version);
  const least = Math.max(50, levelOf(levels, 'users_default') + 1);
  if (userLevel(levels, userId) < least) return undefined;
  const events_default = Math.max(least, levelOf(levels, 'events_default'));
  const invite = Math.max(least, levelOf(levels, 'invite'));
  const changed = { ...content, events_default, invite };
  return isSameJson(changed, content) ? undefined : changed;
}

export function mayUpgrade(old: RoomSnapshot, userId: UserId): boolean {
  return canSend(old, { userId, type: 'm.room.tombstone', isState: true }, old.version);
}
