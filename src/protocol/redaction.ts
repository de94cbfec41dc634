/**
 * What redaction leaves of an event, per room version. It is also what servers sign and hash, so it must be exactly this.
 *
 * https://spec.matrix.org/v1.19/rooms/v11/#redactions
 */
import { isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue, Pdu } from './pdu.ts';
import type { RoomVersion } from './room-version.ts';

const KEPT_KEYS = [
  'auth_events',
  'content',
  'depth',
  'event_id',
  'hashes',
  'origin_server_ts',
  'prev_events',
  'room_id',
  'sender',
  'signatures',
  'state_key',
  'type',
];
/** Kept before version 11. */
const OLD_KEPT_KEYS = [...KEPT_KEYS, 'membership', 'origin', 'prev_state'].sort();

const POWER_LEVEL_KEYS = [
  'ban',
  'events',
  'events_default',
  'kick',
  'redact',
  'state_default',
  'users',
  'users_default',
];

/** The event without what its room version's redaction algorithm removes; a new object, the event stays as it is. */
export function redactPdu(pdu: Pdu, version: RoomVersion): Pdu {
  const kept = pick(pdu, version.updatedRedaction ? KEPT_KEYS : OLD_KEPT_KEYS);
  // A copy of a PDU's own keys: all that the type demands are among those that are kept.
  return { ...kept, content: redactContent(pdu.type, pdu.content, version) } as Pdu;
}

function redactContent(type: string, content: JsonObject, version: RoomVersion): JsonObject {
  switch (type) {
    case 'm.room.member':
      return redactMember(content, version);
    case 'm.room.create':
      return version.updatedRedaction ? content : pick(content, ['creator']);
    case 'm.room.join_rules':
      return pick(content, version.restricted ? ['allow', 'join_rule'] : ['join_rule']);
    case 'm.room.power_levels':
      return pick(content, version.updatedRedaction ? [...POWER_LEVEL_KEYS, 'invite'] : POWER_LEVEL_KEYS);
    case 'm.room.history_visibility':
      return pick(content, ['history_visibility']);
    case 'm.room.aliases':
      return version.aliasesRule ? pick(content, ['aliases']) : {};
    case 'm.room.redaction':
      return version.updatedRedaction ? pick(content, ['redacts']) : {};
    default:
      return {};
  }
}

function redactMember(content: JsonObject, version: RoomVersion): JsonObject {
  const keys = version.redactionKeepsJoinAuthorised
    ? ['join_authorised_via_users_server', 'membership']
    : ['membership'];
  const kept = pick(content, keys);
  const invite = content['third_party_invite'];
  if (!version.updatedRedaction || !isJsonObject(invite)) return kept;
  // An invite without `signed` stays as an empty object: without it the hash would be another than that of other servers.
  return { ...kept, third_party_invite: pick(invite, ['signed']) };
}

function pick(from: JsonObject, keys: readonly string[]): JsonObject {
  const kept: Record<string, JsonValue> = {};
  for (const key of keys) {
    const value = Object.hasOwn(from, key) ? from[key] : undefined;
    if (value !== undefined) kept[key] = value;
  }
  return kept;
}
