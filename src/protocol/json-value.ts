/**
 * Telling the kinds of JSON values apart in a way that the compiler follows.
 */
import type { JsonObject, JsonValue } from './pdu.ts';

/** Whether `value` is a JSON object, and not an array or null. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether `value` is a JSON array. */
export function isJsonArray(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value);
}
