/**
 * The format of PDUs that other servers send: exactly what their room version demands of any event, and nothing about
 * what it means. Being stricter than that splits rooms; what fails is dropped, alone.
 *
 * Invariant: never throws, whatever the JSON. A PDU that passed has the types that `Pdu` says, and a canonical form.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 * https://spec.matrix.org/v1.19/client-server-api/#size-limits
 */
import { CanonicalJsonError, checkCanonical, encodeCanonicalJson } from './canonical-json.ts';
import { isEventId, isServerName, MAX_ID_BYTES } from './ids.ts';
import { isJsonArray, isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue, Pdu } from './pdu.ts';
import type { RoomVersion } from './room-version.ts';
import { holdsOddNumber, type OddNumbers } from './strict-json.ts';

export type PduFormat =
  | {
      readonly valid: true;
      /** The PDU without `unsigned`, which is neither hashed nor signed, and so nobody's word. */
      readonly pdu: Pdu;
      /** Why the event has to be stored as rejected although its format is valid; see `strictFieldSizes`. */
      readonly oversize: string | undefined;
    }
  | { readonly valid: false; readonly reason: string };

/** Of the canonical PDU with its signatures. */
export const MAX_PDU_BYTES = 65_536;
/** Of type, state key and each identifier. */
export const MAX_FIELD_BYTES = MAX_ID_BYTES;
export const MAX_PREV_EVENTS = 20;
export const MAX_AUTH_EVENTS = 10;
/** Where canonical JSON ends, from room version 6 on. */
export const MAX_DEPTH = Number.MAX_SAFE_INTEGER;

/** Before version 6 numbers were 64 bits wide; a double cannot tell 2^63 - 1 from this. */
const MAX_OLD_INTEGER = 2 ** 63;

/**
 * Checks one PDU. `oddNumbers` is what `parseJsonWithOddNumbers` found in the body that it came in; without it, numbers
 * such as `1.0` pass as what they were parsed to.
 */
export function checkPduFormat(
  value: JsonValue,
  version: RoomVersion,
  oddNumbers: OddNumbers = new Set<JsonValue>(),
): PduFormat {
  if (!isJsonObject(value)) return invalid('it is not an object');
  const { unsigned: _unsigned, ...pdu } = value;
  const sizes = checkFieldSizes(pdu, version);
  const reason =
    checkFields(pdu, version) ??
    checkIdentifiers(pdu, version) ??
    sizes.invalid ??
    checkReferences(pdu, version) ??
    (version.strictCanonicalJson ? (checkNumbers(value, oddNumbers) ?? checkCanonical(pdu)) : undefined) ??
    checkWholeSize(pdu);
  // The checks above have just established what the type says.
  return reason === undefined ? { valid: true, pdu: pdu as Pdu, oversize: sizes.oversize } : invalid(reason);
}

function invalid(reason: string): PduFormat {
  return { valid: false, reason };
}

type Fault = string | undefined;

function checkFields(pdu: JsonObject, version: RoomVersion): Fault {
  if (typeof pdu['type'] !== 'string') return 'type is not a string';
  if (typeof pdu['sender'] !== 'string') return 'sender is not a string';
  if (pdu['state_key'] !== undefined && typeof pdu['state_key'] !== 'string') return 'state_key is not a string';
  if (!isJsonObject(pdu['content'])) return 'content is not an object';
  if (!isTimestamp(pdu['origin_server_ts'], version)) return 'origin_server_ts is not an integer in range';
  if (!isDepth(pdu['depth'], version)) return 'depth is not an integer in range';
  if (!version.redactsInContent && pdu['redacts'] !== undefined && typeof pdu['redacts'] !== 'string') {
    return 'redacts is not a string';
  }
  if (!isJsonObject(pdu['hashes']) || typeof pdu['hashes']['sha256'] !== 'string') return 'hashes has no sha256';
  return isSignatures(pdu['signatures']) ? undefined : 'signatures are not objects of strings';
}

function isTimestamp(value: JsonValue | undefined, version: RoomVersion): boolean {
  if (version.strictCanonicalJson) return Number.isSafeInteger(value);
  return Number.isInteger(value) && Math.abs(Number(value)) < MAX_OLD_INTEGER;
}

/** Whoever reads a depth of old versions has to bound it by MAX_DEPTH; the PDU keeps what was hashed. */
function isDepth(value: JsonValue | undefined, version: RoomVersion): boolean {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) return false;
  return value <= (version.strictCanonicalJson ? MAX_DEPTH : MAX_OLD_INTEGER);
}

function isSignatures(value: JsonValue | undefined): boolean {
  if (!isJsonObject(value)) return false;
  return Object.values(value).every(
    (ofServer) => isJsonObject(ofServer) && Object.values(ofServer).every((signature) => typeof signature === 'string'),
  );
}

/** Identifiers by what the room version makes of them; of user ids the historical grammar, and never by bytes. */
function checkIdentifiers(pdu: JsonObject, version: RoomVersion): Fault {
  if (!hasDomain(pdu['sender'], '@')) return 'sender is not a user id';
  if (!isRoomIdOf(pdu, version)) return 'room_id is not a room id of this version';
  if (version.eventIds === 'server' && !hasDomain(pdu['event_id'], '$')) return 'event_id is not an event id';
  // NOTSPEC: NUL is a legal character of types and state keys, but PostgreSQL's text cannot store it.
  return [pdu['type'], pdu['state_key']].some((text) => typeof text === 'string' && text.includes('\0'))
    ? 'type or state_key holds NUL'
    : undefined;
}

function isRoomIdOf(pdu: JsonObject, version: RoomVersion): boolean {
  const roomId = pdu['room_id'];
  if (!version.roomIdFromCreate) return hasDomain(roomId, '!');
  // That a create event must not have one is for the auth rules to say.
  if (pdu['type'] === 'm.room.create') return roomId === undefined || typeof roomId === 'string';
  return typeof roomId === 'string' && /^![A-Za-z0-9_-]{43}$/.test(roomId);
}

function hasDomain(id: JsonValue | undefined, sigil: string): boolean {
  if (typeof id !== 'string' || !id.startsWith(sigil) || id.includes('\0')) return false;
  const colon = id.indexOf(':');
  return colon !== -1 && isServerName(id.slice(colon + 1));
}

interface FieldSizes {
  readonly invalid: Fault;
  readonly oversize: Fault;
}

function checkFieldSizes(pdu: JsonObject, version: RoomVersion): FieldSizes {
  let oversize: Fault;
  const sized = version.eventIds === 'server' ? ['event_id', ...SIZED_FIELDS] : SIZED_FIELDS;
  for (const key of sized) {
    const text = pdu[key];
    // No character has more than three bytes for each of its UTF-16 units.
    if (typeof text !== 'string' || text.length * 3 <= MAX_FIELD_BYTES) continue;
    if (Buffer.byteLength(text) <= MAX_FIELD_BYTES) continue;
    const reason = `${key} has more than ${MAX_FIELD_BYTES} bytes`;
    if (version.strictFieldSizes || countCodePoints(text) > MAX_FIELD_BYTES) return { invalid: reason, oversize };
    oversize ??= reason;
  }
  return { invalid: undefined, oversize };
}

const SIZED_FIELDS = ['type', 'sender', 'room_id', 'state_key'];

function countCodePoints(text: string): number {
  let count = 0;
  for (const _character of text) count++;
  return count;
}

function checkReferences(pdu: JsonObject, version: RoomVersion): Fault {
  return (
    checkReferenceList(pdu['prev_events'], { name: 'prev_events', max: MAX_PREV_EVENTS, version }) ??
    checkReferenceList(pdu['auth_events'], { name: 'auth_events', max: MAX_AUTH_EVENTS, version })
  );
}

function checkReferenceList(
  list: JsonValue | undefined,
  { name, max, version }: { readonly name: string; readonly max: number; readonly version: RoomVersion },
): Fault {
  if (!isJsonArray(list)) return `${name} is not a list`;
  if (list.length > max) return `${name} has more than ${max} entries`;
  const ids = list.map((reference) => referredId(reference, version));
  if (ids.includes(undefined)) return `${name} holds what is no reference in this version`;
  return new Set(ids).size === ids.length ? undefined : `${name} names an event twice`;
}

/** The id that a reference names; undefined where its form is not that of the version. */
function referredId(reference: JsonValue, version: RoomVersion): string | undefined {
  switch (version.eventIds) {
    case 'server':
      return idOfPair(reference);
    case 'base64':
      return matching(reference, /^\$[A-Za-z0-9+/]{43}$/);
    case 'url-safe-base64':
      return matching(reference, /^\$[A-Za-z0-9_-]{43}$/);
  }
}

/** The hashes may be empty: servers wrote that where they no longer knew them, and nobody compares them. */
function idOfPair(reference: JsonValue): string | undefined {
  if (!isJsonArray(reference) || reference.length !== 2) return undefined;
  const [id, hashes] = reference;
  return typeof id === 'string' && isEventId(id) && isJsonObject(hashes) ? id : undefined;
}

function matching(reference: JsonValue, form: RegExp): string | undefined {
  return typeof reference === 'string' && form.test(reference) ? reference : undefined;
}

/** Looks at the PDU as it was parsed, since only its own objects are known to hold such numbers. */
function checkNumbers(value: JsonObject, oddNumbers: OddNumbers): Fault {
  const isOdd =
    oddNumbers.has(value) ||
    Object.entries(value).some(([key, inner]) => key !== 'unsigned' && holdsOddNumber(inner, oddNumbers));
  return isOdd ? 'a number is not written as canonical JSON demands' : undefined;
}

function checkWholeSize(pdu: JsonObject): Fault {
  try {
    const text = encodeCanonicalJson(pdu);
    const fits = text.length * 3 <= MAX_PDU_BYTES || Buffer.byteLength(text) <= MAX_PDU_BYTES;
    return fits ? undefined : `it has more than ${MAX_PDU_BYTES} bytes`;
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) return `it has no canonical form: ${cause.message}`;
    throw cause;
  }
}
