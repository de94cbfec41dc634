/**
 * Stripped state: what a room shows of itself to somebody outside, as one server gives it to another. Bounded, and pruned to
 * the four fields that clients see; whatever else came with an entry is nobody's word.
 *
 * NOTSPEC: of the create event clients also see when it was made, as MSC4311 has it, which clients may tell rooms of one
 * name apart by.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#stripped-state
 */
import { isJsonArray, isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue, StateEvent } from './pdu.ts';

/** More than any server sends: the types that the spec names, and some of a server's own choice. */
export const MAX_STRIPPED_EVENTS = 32;
/** Of all entries together, as clients get them: each of their syncs may carry it. */
export const MAX_STRIPPED_BYTES = 128 * 1024;

/** What of a room's state somebody outside is shown, beside the membership events that concern them. */
export const STRIPPED_TYPES = [
  'm.room.create',
  'm.room.join_rules',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.canonical_alias',
  'm.room.encryption',
] as const;

export interface StrippedEvent extends JsonObject {
  readonly type: string;
  readonly state_key: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly origin_server_ts?: number;
}

/** The entries that a list holds; undefined where it is no list, or has too many of them. Nothing at all is no entries. */
export function listStripped(value: JsonValue | undefined): readonly JsonValue[] | undefined {
  if (value === undefined || value === null) return [];
  return isJsonArray(value) && value.length <= MAX_STRIPPED_EVENTS ? value : undefined;
}

/** The four fields of an entry; undefined where it is none. */
export function toStripped(value: JsonValue): StrippedEvent | undefined {
  if (!isJsonObject(value)) return undefined;
  const { type, state_key, sender, content, origin_server_ts: madeAt } = value;
  const isState = typeof type === 'string' && typeof state_key === 'string' && typeof sender === 'string';
  if (!isState || !isJsonObject(content)) return undefined;
  const showsAge = type === 'm.room.create' && typeof madeAt === 'number';
  return { type, state_key, sender, content, ...(showsAge && { origin_server_ts: madeAt }) };
}

/**
 * The text that clients are shown: the entries, one of each key, and the user's own membership behind them. Undefined where
 * that is too much.
 */
export function writeStripped(
  entries: readonly StrippedEvent[],
  own: Pick<StateEvent, 'type' | 'stateKey' | 'sender' | 'content'>,
): string | undefined {
  const { type, stateKey: state_key, sender, content } = own;
  const keyed = new Map(entries.map((entry) => [keyOf(entry), entry]));
  keyed.delete(keyOf({ type, state_key }));
  const text = JSON.stringify([...keyed.values(), { type, state_key, sender, content }]);
  return Buffer.byteLength(text) <= MAX_STRIPPED_BYTES ? text : undefined;
}

function keyOf({ type, state_key }: Pick<StrippedEvent, 'type' | 'state_key'>): string {
  return `${type}\u0000${state_key}`;
}
