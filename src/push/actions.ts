/**
 * The actions of a notification as clients see them, from the tweaks that are kept.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#actions
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';

/** The tweaks by their names, from the JSON that is stored. */
export function readTweaks(text: string | undefined): JsonObject {
  // Written by the follower of notifications.
  return text === undefined ? {} : (parseJsonText(text) as JsonObject);
}

export function toActions(tweaks: string | undefined): readonly JsonValue[] {
  return ['notify', ...Object.entries(readTweaks(tweaks)).map(([name, value]) => toTweak(name, value))];
}

function toTweak(name: string, value: JsonValue | undefined): JsonObject {
  return value === undefined || (name === 'highlight' && value === true)
    ? { set_tweak: name }
    : { set_tweak: name, value };
}
