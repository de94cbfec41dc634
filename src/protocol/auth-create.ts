/**
 * The rule about `m.room.create`, the one event that is judged without any state. Step numbers in comments are those
 * of v12 where it has the step.
 *
 * https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules
 */
import { domainOf } from './auth-context.ts';
import { allowBy, type Decision, rejectBy } from './auth-rule-table.ts';
import { isUserId } from './ids.ts';
import { isJsonArray } from './json-value.ts';
import type { Event, JsonValue } from './pdu.ts';
import { getRoomVersion, type RoomVersion } from './room-version.ts';

/** Decides about a create event. */
export function checkCreate(event: Event, version: RoomVersion): Decision {
  const { content, prevEvents, roomId, sender } = event;
  // 1.1
  if (prevEvents.length > 0) return rejectBy('create.prevEvents');
  // 1.2
  if (version.roomIdFromCreate) {
    if (event.pdu.room_id !== undefined) return rejectBy('create.hasRoomId');
  } else if (domainOf(roomId) !== domainOf(sender)) {
    return rejectBy('create.domain');
  }
  // 1.3
  if (!isRecognised(content['room_version'])) return rejectBy('create.version');
  // v1 to v10: 1.4
  if (!version.creatorIsSender && content['creator'] === undefined) return rejectBy('create.creator');
  // 1.4
  if (version.creatorsPrivileged && !isAbsentOrUserIds(content['additional_creators'])) {
    return rejectBy('create.additionalCreators');
  }
  // 1.5
  return allowBy('create.otherwise');
}

function isRecognised(roomVersion: JsonValue | undefined): boolean {
  return roomVersion === undefined || (typeof roomVersion === 'string' && getRoomVersion(roomVersion) !== undefined);
}

function isAbsentOrUserIds(value: JsonValue | undefined): boolean {
  if (value === undefined) return true;
  return isJsonArray(value) && value.every((userId) => typeof userId === 'string' && isUserId(userId));
}
