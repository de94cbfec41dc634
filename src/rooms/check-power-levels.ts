/**
 * What a client may put into `m.room.power_levels`. The auth rules of old room versions tolerate levels in strings, and
 * those of every version name only the rule that failed; a client's mistake is answered here, before anything is made.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
 */
import { MatrixError } from '../protocol/errors.ts';
import { isUserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { DEFAULT_LEVELS } from '../protocol/power-levels.ts';

const LEVEL_MAPS = ['users', 'events', 'notifications'] as const;

/** Throws M_BAD_JSON or M_INVALID_PARAM; `isCreator` says who may not be named, in versions that privilege creators. */
export function checkPowerLevels(content: JsonObject, isPrivilegedCreator: (userId: string) => boolean): void {
  for (const name of Object.keys(DEFAULT_LEVELS)) checkLevel(name, content[name]);
  for (const name of LEVEL_MAPS) checkLevels(name, content[name]);
  for (const userId of Object.keys(isJsonObject(content['users']) ? content['users'] : {})) {
    if (!isUserId(userId)) throw new MatrixError('M_INVALID_PARAM', `users names ${userId}, which is not a user id`);
    if (isPrivilegedCreator(userId)) {
      throw new MatrixError('M_INVALID_PARAM', `${userId} created the room and cannot be given a power level`);
    }
  }
}

function checkLevels(name: string, levels: JsonValue | undefined): void {
  if (levels === undefined) return;
  if (!isJsonObject(levels)) throw new MatrixError('M_BAD_JSON', `${name} has to be an object`);
  for (const [key, level] of Object.entries(levels)) checkLevel(`${name}.${key}`, level);
}

function checkLevel(name: string, level: JsonValue | undefined): void {
  if (level === undefined || Number.isSafeInteger(level)) return;
  throw new MatrixError('M_BAD_JSON', `${name} has to be an integer`);
}
