/**
 * Power levels as the room state gives them: reading values with the tolerance of the room version (floats and strings
 * in old rooms), their defaults with and without an `m.room.power_levels` event, and the privileged creators of v12.
 * Fields are read one at a time and never validated as a whole, so a message costs two look-ups and no parsing.
 * A value that is no level at all counts as absent.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
 */
import { isJsonArray, isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue, StateEvent, StateView } from './pdu.ts';
import type { RoomVersion } from './room-version.ts';

/** What decides about levels in one state of a room. */
export interface PowerLevels {
  /** The content of `m.room.power_levels`; undefined when the room has none. */
  readonly content: JsonObject | undefined;
  readonly create: StateEvent | undefined;
  readonly version: RoomVersion;
}

export const DEFAULT_LEVELS = {
  users_default: 0,
  events_default: 0,
  state_default: 50,
  ban: 50,
  redact: 50,
  kick: 50,
  invite: 0,
} as const satisfies Record<string, number>;

export type LevelName = keyof typeof DEFAULT_LEVELS;

/** Of the creator while the room has no power levels, before v12. */
const CREATOR_LEVEL_WITHOUT_EVENT = 100;
const DEFAULT_NOTIFICATION_LEVEL = 50;
/** No quantifier overlaps another, so matching is linear in the length of the string. */
const INTEGER_STRING = /^\s*[+-]?[0-9]+\s*$/;

/** The power levels that `state` gives. */
export function readPowerLevels(state: StateView, version: RoomVersion): PowerLevels {
  return {
    content: state.get('m.room.power_levels', '')?.content,
    create: state.get('m.room.create', ''),
    version,
  };
}

/** A value as a level, or undefined where the room version does not take it for one. */
export function parseLevel(value: JsonValue | undefined, version: RoomVersion): number | undefined {
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return value;
    // Before canonical JSON was enforced, floats were cut at the point; adding 0 turns -0 into 0.
    return !version.strictCanonicalJson && Number.isFinite(value) ? Math.trunc(value) + 0 : undefined;
  }
  if (typeof value !== 'string' || version.integerPowerLevels || !INTEGER_STRING.test(value)) return undefined;
  const level = Number(value);
  return Number.isFinite(level) ? level : undefined;
}

/** The level of a named property such as `ban`, or its default. */
export function levelOf(levels: PowerLevels, name: LevelName): number {
  return parseLevel(levels.content?.[name], levels.version) ?? DEFAULT_LEVELS[name];
}

/** A user's level; infinite for the creators of a v12 room. */
export function userLevel(levels: PowerLevels, userId: string): number {
  const { content, version } = levels;
  if (version.creatorsPrivileged && isCreator(levels, userId)) return Number.POSITIVE_INFINITY;
  if (content === undefined) return isCreator(levels, userId) ? CREATOR_LEVEL_WITHOUT_EVENT : 0;
  return parseLevel(entryOf(content['users'], userId), version) ?? levelOf(levels, 'users_default');
}

/** The level that sending an event of `type` requires. */
export function requiredLevel(levels: PowerLevels, type: string, isState: boolean): number {
  const listed = parseLevel(entryOf(levels.content?.['events'], type), levels.version);
  return listed ?? levelOf(levels, isState ? 'state_default' : 'events_default');
}

/** Whether the user is a creator: named by the create event or, from v12 on, its sender and additional creators. */
export function isCreator({ create, version }: PowerLevels, userId: string): boolean {
  if (create === undefined) return false;
  if (!version.creatorIsSender) return create.content['creator'] === userId;
  if (create.sender === userId) return true;
  if (!version.creatorsPrivileged) return false;
  const additional = create.content['additional_creators'];
  return isJsonArray(additional) && additional.includes(userId);
}

/** An own entry of a JSON object; undefined when there is none or `value` is no object. */
export function entryOf(value: JsonValue | undefined, key: string): JsonValue | undefined {
  return isJsonObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

/** A user's power level in `state`. */
export function getUserLevel(state: StateView, userId: string, version: RoomVersion): number {
  return userLevel(readPowerLevels(state, version), userId);
}

/** The power level that an event type requires in `state`. */
export function requiredLevelFor(
  state: StateView,
  event: { readonly type: string; readonly isState: boolean },
  version: RoomVersion,
): number {
  return requiredLevel(readPowerLevels(state, version), event.type, event.isState);
}

/** Whether the user's level lets them send the event type; membership is the caller's to check. */
export function canSend(
  state: StateView,
  event: { readonly userId: string; readonly type: string; readonly isState: boolean },
  version: RoomVersion,
): boolean {
  const levels = readPowerLevels(state, version);
  return userLevel(levels, event.userId) >= requiredLevel(levels, event.type, event.isState);
}

/** Whether the user's level lets them redact the events of others. */
export function canRedact(state: StateView, userId: string, version: RoomVersion): boolean {
  return hasLevel(readPowerLevels(state, version), userId, 'redact');
}

/** Whether the user's level lets them invite; membership is the caller's to check. */
export function canInvite(state: StateView, userId: string, version: RoomVersion): boolean {
  return hasLevel(readPowerLevels(state, version), userId, 'invite');
}

/** Whether the user's level lets them kick `target`. */
export function canKick(
  state: StateView,
  users: { readonly userId: string; readonly target: string },
  version: RoomVersion,
): boolean {
  return outranks(readPowerLevels(state, version), users, 'kick');
}

/** Whether the user's level lets them ban `target`. */
export function canBan(
  state: StateView,
  users: { readonly userId: string; readonly target: string },
  version: RoomVersion,
): boolean {
  return outranks(readPowerLevels(state, version), users, 'ban');
}

/** The level that a notification such as `room` requires of its sender. */
export function notificationLevel(state: StateView, name: string, version: RoomVersion): number {
  const notifications = state.get('m.room.power_levels', '')?.content['notifications'];
  return parseLevel(entryOf(notifications, name), version) ?? DEFAULT_NOTIFICATION_LEVEL;
}

/** Whether the user reaches the named level. */
export function hasLevel(levels: PowerLevels, userId: string, name: LevelName): boolean {
  return userLevel(levels, userId) >= levelOf(levels, name);
}

/** Whether the user reaches the named level and stands above `target`. */
export function outranks(
  levels: PowerLevels,
  users: { readonly userId: string; readonly target: string },
  name: LevelName,
): boolean {
  const level = userLevel(levels, users.userId);
  return level >= levelOf(levels, name) && userLevel(levels, users.target) < level;
}
