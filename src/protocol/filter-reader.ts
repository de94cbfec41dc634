/**
 * Reads the fields of a filter one by one and notes what is wrong with them, each by its path. Every list is bounded,
 * since each event of a sync is held against it.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
 */
import { isJsonArray, isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import { parsePropertyPath } from './property-path.ts';

/** Where a field is absent or wrong it reads as undefined; what is wrong is also noted. */
export interface FilterReader {
  section(name: string): FilterReader;
  flag(name: string): boolean | undefined;
  choice<T extends string>(name: string, choices: readonly T[]): T | undefined;
  /** A list of strings, all with the sigil if one is given. */
  list(name: string, sigil?: string): readonly string[] | undefined;
  /** A list of event types with wildcards. */
  patterns(name: string): readonly string[] | undefined;
  /** A list of property paths. */
  fields(name: string): readonly string[] | undefined;
  limit(name: string): number | undefined;
}

/** What a filter may take as JSON: room for a thousand rooms or users to leave out. */
export const MAX_FILTER_BYTES = 65_536;
/** More events than this no answer holds; larger limits mean this one. */
export const MAX_FILTER_LIMIT = 1000;
/** Wildcards are tried one by one for each type of event, other types are looked up. */
export const MAX_WILDCARD_TYPES = 100;
/** More fields than an event of ordinary make has. */
export const MAX_EVENT_FIELDS = 200;
/** Projections descend this deep. */
export const MAX_FIELD_DEPTH = 20;

/** Gives a reader of `json` and the list that it notes problems in. */
export function createFilterReader(json: JsonValue): { reader: FilterReader; problems: readonly string[] } {
  const problems: string[] = [];
  const note = (problem: string): undefined => {
    problems.push(problem);
  };
  if (Buffer.byteLength(JSON.stringify(json)) > MAX_FILTER_BYTES) note(`a filter may take ${MAX_FILTER_BYTES} bytes`);
  if (!isJsonObject(json)) note('the filter must be an object');
  return { reader: createReader(isJsonObject(json) ? json : {}, '', note), problems };
}

type Note = (problem: string) => undefined;

function createReader(object: JsonObject, prefix: string, note: Note): FilterReader {
  const read = (name: string): JsonValue | undefined => (Object.hasOwn(object, name) ? object[name] : undefined);
  const list = (name: string, sigil = ''): readonly string[] | undefined => {
    const value = read(name);
    if (value === undefined) return undefined;
    const isRight = (item: JsonValue): item is string => typeof item === 'string' && item.startsWith(sigil);
    if (isJsonArray(value) && value.every(isRight)) return value;
    return note(`${prefix}${name} must be an array of strings${sigil === '' ? '' : ` that start with ${sigil}`}`);
  };
  return {
    list,
    section(name) {
      const value = read(name);
      if (value !== undefined && !isJsonObject(value)) note(`${prefix}${name} must be an object`);
      return createReader(isJsonObject(value) ? value : {}, `${prefix}${name}.`, note);
    },
    flag(name) {
      const value = read(name);
      return value === undefined || typeof value === 'boolean' ? value : note(`${prefix}${name} must be a boolean`);
    },
    choice(name, choices) {
      const value = read(name);
      if (value === undefined) return undefined;
      return choices.find((choice) => choice === value) ?? note(`${prefix}${name} must be ${choices.join(' or ')}`);
    },
    patterns(name) {
      const types = list(name);
      const wildcards = types?.filter((type) => type.includes('*')).length ?? 0;
      return wildcards <= MAX_WILDCARD_TYPES
        ? types
        : note(`${prefix}${name} may hold ${MAX_WILDCARD_TYPES} wildcards`);
    },
    fields(name) {
      const paths = list(name);
      if (paths === undefined) return undefined;
      if (paths.length > MAX_EVENT_FIELDS) return note(`${prefix}${name} may name ${MAX_EVENT_FIELDS} fields`);
      if (paths.every((path) => parsePropertyPath(path).length <= MAX_FIELD_DEPTH)) return paths;
      return note(`${prefix}${name} may name properties ${MAX_FIELD_DEPTH} levels deep`);
    },
    limit(name) {
      const value = read(name);
      if (value === undefined) return undefined;
      // NOTSPEC: 0 is let through, since clients use it to ask for no timeline.
      if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) {
        return note(`${prefix}${name} must be an integer of 0 or more`);
      }
      return Math.min(value, MAX_FILTER_LIMIT);
    },
  };
}
