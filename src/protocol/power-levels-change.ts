/**
 * Who may change the power levels, and to what: the rule about `m.room.power_levels`. Step numbers in comments are
 * those of v12; before v10 the first two checks and before v12 the fourth do not exist.
 *
 * A level that is not given has its default, in the old content and in the new. Room versions before v10 demand
 * integers of `users` alone; for the rest what cannot be read as a level is turned away as well once there are levels
 * to compare with.
 *
 * https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules
 */

import { allowBy, type Decision, type RuleKey, rejectBy } from './auth-rule-table.ts';
import { isUserId } from './ids.ts';
import { isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import {
  DEFAULT_LEVELS,
  entryOf,
  isCreator,
  type LevelName,
  levelOf,
  type PowerLevels,
  parseLevel,
  userLevel,
} from './power-levels.ts';
import type { RoomVersion } from './room-version.ts';

const SCALARS: readonly LevelName[] = [
  'users_default',
  'events_default',
  'state_default',
  'ban',
  'redact',
  'kick',
  'invite',
];

/** What a change is judged by: the sender, the levels before it and the content that it proposes. */
interface Change {
  readonly sender: string;
  readonly level: number;
  readonly current: PowerLevels;
  readonly old: JsonObject;
  readonly proposed: JsonObject;
  readonly version: RoomVersion;
}

/** Decides whether `sender` may replace the levels of the room by `proposed`. */
export function checkPowerLevelsChange(sender: string, proposed: JsonObject, current: PowerLevels): Decision {
  const malformed = checkFormat(proposed, current);
  if (malformed !== undefined) return malformed;
  // 10.5
  if (current.content === undefined) return allowBy('powerLevels.first');
  const { version } = current;
  const change = { sender, level: userLevel(current, sender), current, old: current.content, proposed, version };
  return (
    checkReadable(change) ??
    checkScalars(change) ??
    checkEntries(change, 'current') ??
    checkEntries(change, 'new') ??
    checkUsers(change) ??
    allowBy('powerLevels.otherwise')
  );
}

function checkFormat(proposed: JsonObject, current: PowerLevels): Decision | undefined {
  const { version } = current;
  if (version.integerPowerLevels) {
    // 10.1
    const scalar = SCALARS.find((name) => !isAbsentOrLevel(proposed[name], version));
    if (scalar !== undefined) return rejectBy('powerLevels.scalars', `${scalar} is not an integer`);
    // 10.2
    const map = ['events', 'notifications'].find((name) => !isAbsentOrLevels(proposed[name], version));
    if (map !== undefined) return rejectBy('powerLevels.maps', `${map} is not an object of integers`);
  }
  // 10.3
  const users = proposed['users'];
  if (!isAbsentOrLevels(users, version)) return rejectBy('powerLevels.users');
  const userIds = isJsonObject(users) ? Object.keys(users) : [];
  if (!userIds.every((userId) => isUserId(userId)))
    return rejectBy('powerLevels.users', 'users has a key that is not a user id');
  // 10.4
  if (version.creatorsPrivileged && userIds.some((userId) => isCreator(current, userId))) {
    return rejectBy('powerLevels.creators');
  }
  return undefined;
}

/** Before v10 there is no rule of its own about these values, but there is no comparing what is not a level. */
function checkReadable({ proposed, version }: Change): Decision | undefined {
  const scalar = SCALARS.find((name) => !isAbsentOrLevel(proposed[name], version));
  if (scalar !== undefined) return rejectBy('powerLevels.scalarNew', `${scalar} is not an integer`);
  const map = mapsOf(version).find((name) => !isAbsentOrLevels(proposed[name], version));
  return map === undefined ? undefined : rejectBy('powerLevels.entryNew', `${map} is not an object of integers`);
}

// 10.6
function checkScalars({ level, current, old, proposed, version }: Change): Decision | undefined {
  for (const name of SCALARS) {
    const before = parseLevel(old[name], version);
    const after = parseLevel(proposed[name], version);
    if (before === after) continue;
    // 10.6.1
    if (levelOf(current, name) > level) return rejectBy('powerLevels.scalarCurrent', `${name} is above the sender`);
    // 10.6.2
    if ((after ?? DEFAULT_LEVELS[name]) > level) {
      return rejectBy('powerLevels.scalarNew', `${name} would be above the sender`);
    }
  }
  return undefined;
}

// 10.7 and 10.8, which are told apart since all of the first come before any of the second
function checkEntries(change: Change, side: 'current' | 'new'): Decision | undefined {
  const { level, old, proposed, version } = change;
  const key: RuleKey = side === 'current' ? 'powerLevels.entryCurrent' : 'powerLevels.entryNew';
  for (const name of mapsOf(version)) {
    for (const [entry, before, after] of changedEntries(old[name], proposed[name], version)) {
      const value = side === 'current' ? before : after;
      if (value !== undefined && value > level) return rejectBy(key, `${name} of ${entry} is above the sender`);
    }
  }
  return undefined;
}

function checkUsers({ sender, level, old, proposed, version }: Change): Decision | undefined {
  const changed = [...changedEntries(old['users'], proposed['users'], version)];
  // 10.9
  if (changed.some(([userId, before]) => userId !== sender && before !== undefined && before >= level)) {
    return rejectBy('powerLevels.userCurrent');
  }
  // 10.10
  if (changed.some(([, , after]) => after !== undefined && after > level)) return rejectBy('powerLevels.userNew');
  return undefined;
}

type ChangedEntry = readonly [name: string, before: number | undefined, after: number | undefined];

function* changedEntries(
  old: JsonValue | undefined,
  proposed: JsonValue | undefined,
  version: RoomVersion,
): Generator<ChangedEntry> {
  const names = new Set([...keysOf(old), ...keysOf(proposed)]);
  for (const name of names) {
    const before = parseLevel(entryOf(old, name), version);
    const after = parseLevel(entryOf(proposed, name), version);
    if (before !== after) yield [name, before, after];
  }
}

function mapsOf(version: RoomVersion): readonly string[] {
  return version.notificationsPowerLevel ? ['events', 'notifications'] : ['events'];
}

function keysOf(value: JsonValue | undefined): readonly string[] {
  return isJsonObject(value) ? Object.keys(value) : [];
}

function isAbsentOrLevel(value: JsonValue | undefined, version: RoomVersion): boolean {
  return value === undefined || parseLevel(value, version) !== undefined;
}

function isAbsentOrLevels(value: JsonValue | undefined, version: RoomVersion): boolean {
  if (value === undefined) return true;
  return isJsonObject(value) && Object.values(value).every((level) => parseLevel(level, version) !== undefined);
}
