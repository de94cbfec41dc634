/**
 * The aliases that a room shows as its own: reading and changing the content of `m.room.canonical_alias`.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias
 */
import { MatrixError } from '../protocol/errors.ts';
import { isRoomAlias } from '../protocol/ids.ts';
import { isJsonArray } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';

/** Every alias that the content names; values that are no strings are left out. */
export function listedAliases(content: JsonObject): readonly string[] {
  const alternatives = content['alt_aliases'];
  const named = [content['alias'], ...(isJsonArray(alternatives) ? alternatives : [])];
  return named.filter((alias) => typeof alias === 'string' && alias !== '').map(String);
}

/**
 * The aliases that the content adds to what is current, each of which has to lead to the room. Throws M_INVALID_PARAM
 * for one that cannot be an alias.
 */
export function addedAliases(content: JsonObject, current: JsonObject | undefined): readonly string[] {
  const { alias, alt_aliases: alternatives } = content;
  if (alias !== undefined && alias !== null && typeof alias !== 'string') {
    throw new MatrixError('M_INVALID_PARAM', 'alias has to be a string');
  }
  const isList = isJsonArray(alternatives) && alternatives.every((item) => typeof item === 'string');
  if (alternatives !== undefined && !isList) {
    throw new MatrixError('M_INVALID_PARAM', 'alt_aliases has to be a list of strings');
  }
  const known = new Set(current === undefined ? [] : listedAliases(current));
  const added = listedAliases(content).filter((name) => !known.has(name));
  const invalid = added.find((name) => !isRoomAlias(name));
  if (invalid !== undefined) throw new MatrixError('M_INVALID_PARAM', `${invalid} is not a room alias`);
  return [...new Set(added)];
}

/** The content without the alias, or undefined where it does not name it. */
export function withoutAlias(content: JsonObject, alias: string): JsonObject | undefined {
  if (!listedAliases(content).includes(alias)) return undefined;
  const { alias: canonical, alt_aliases: alternatives, ...rest } = content;
  const kept = isJsonArray(alternatives) ? alternatives.filter((item) => item !== alias) : [];
  return {
    ...rest,
    ...(canonical !== undefined && canonical !== alias && { alias: canonical }),
    ...(kept.length > 0 && { alt_aliases: kept }),
  };
}
