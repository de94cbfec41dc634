/**
 * Dot-separated property paths, such as `content.m\.relates_to.rel_type`: how push rules and filters name a property.
 *
 * https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
 */
import { isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';

/** Cuts a path at its dots; `\.` and `\\` stand for the dot and the backslash, other escapes for themselves. */
export function parsePropertyPath(path: string): readonly string[] {
  const names: string[] = [];
  let name = '';
  for (let index = 0; index < path.length; index++) {
    const character = path.charAt(index);
    const next = path.charAt(index + 1);
    if (character === '.') {
      names.push(name);
      name = '';
    } else if (character === '\\' && (next === '.' || next === '\\')) {
      name += next;
      index++;
    } else {
      name += character;
    }
  }
  return [...names, name];
}

/** Gets what lies at a path of own properties, undefined where the path leads nowhere. */
export function getProperty(object: JsonObject, names: readonly string[]): JsonValue | undefined {
  let value: JsonValue | undefined = object;
  for (const name of names) {
    if (!isJsonObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}
