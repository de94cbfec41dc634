/**
 * Canonical JSON: the one text of a value that every server hashes and signs. Keys are ordered by code point, nothing is
 * escaped that need not be, and there is no white space.
 *
 * Invariant: what cannot be written so that every server reads it the same (lone surrogates, NaN, too deep nesting) throws
 * a `CanonicalJsonError`; nothing is changed silently.
 *
 * https://spec.matrix.org/v1.19/appendices/#canonical-json
 */
import type { JsonValue } from './pdu.ts';

export class CanonicalJsonError extends Error {}

/** Far beyond what clients nest, and far below what would exhaust the stack. */
export const MAX_JSON_DEPTH = 512;

export function encodeCanonicalJson(value: JsonValue): string {
  return encode(value, 0);
}

/**
 * Why the value is not canonical JSON as room versions 6 and later demand it: integers only, within 2^53 - 1. Undefined
 * where it is.
 */
export function checkCanonical(value: JsonValue | undefined, depth = 0): string | undefined {
  if (depth > MAX_JSON_DEPTH) return 'it is nested too deeply';
  switch (typeof value) {
    case 'string':
      return value.isWellFormed() ? undefined : 'a string holds half of a surrogate pair';
    case 'number':
      return checkNumber(value);
    case 'object':
      return value === null ? undefined : checkContainer(value, depth);
    default:
      return undefined;
  }
}

function checkNumber(value: number): string | undefined {
  if (!Number.isInteger(value)) return 'numbers must be integers';
  if (Object.is(value, -0)) return 'numbers must not be negative zero';
  return Number.isSafeInteger(value) ? undefined : 'integers must lie within 2^53 - 1 of zero';
}

function checkContainer(value: object, depth: number): string | undefined {
  for (const key of Object.keys(value)) {
    if (!key.isWellFormed()) return 'a key holds half of a surrogate pair';
    const found = checkCanonical((value as Record<string, JsonValue>)[key], depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

function encode(value: JsonValue, depth: number): string {
  switch (typeof value) {
    case 'string':
      return encodeString(value);
    case 'number':
      if (!Number.isFinite(value)) throw new CanonicalJsonError('a number is not finite');
      return Object.is(value, -0) ? '0' : String(value);
    case 'boolean':
      return value ? 'true' : 'false';
    default:
      if (value === null) return 'null';
      if (depth >= MAX_JSON_DEPTH) throw new CanonicalJsonError('the value is nested too deeply');
      return isArray(value) ? encodeArray(value, depth) : encodeObject(value, depth);
  }
}

function encodeArray(values: readonly JsonValue[], depth: number): string {
  let text = '[';
  for (let index = 0; index < values.length; index++) {
    if (index > 0) text += ',';
    text += encode(values[index] ?? null, depth + 1);
  }
  return `${text}]`;
}

function encodeObject(value: { readonly [key: string]: JsonValue | undefined }, depth: number): string {
  let text = '';
  for (const key of sortedKeys(value)) {
    const inner = value[key];
    if (inner === undefined) continue;
    text += `${text === '' ? '{' : ','}${encodeString(key)}:${encode(inner, depth + 1)}`;
  }
  return text === '' ? '{}' : `${text}}`;
}

function encodeString(text: string): string {
  if (!text.isWellFormed()) throw new CanonicalJsonError('a string holds half of a surrogate pair');
  return JSON.stringify(text);
}

function sortedKeys(value: object): readonly string[] {
  const keys = Object.keys(value);
  for (let index = 1; index < keys.length; index++) {
    if (compareCodePoints(keys[index - 1] ?? '', keys[index] ?? '') > 0) return keys.sort(compareCodePoints);
  }
  return keys;
}

/**
 * Order by code point. JavaScript compares UTF-16 units, which puts characters beyond the basic plane (surrogates, D800 to
 * DFFF) before those from E000 to FFFF.
 */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left === right) continue;
    // A character beyond the basic plane is greater than every one inside.
    if (isSurrogate(left) !== isSurrogate(right)) return isSurrogate(left) ? 1 : -1;
    return left - right;
  }
  return a.length - b.length;
}

const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff;

function isArray(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}
