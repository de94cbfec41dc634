/**
 * The rooms that users keep as direct chats, in the account data `m.direct`. Pure.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#mdirect
 */
import type { RoomId } from '../protocol/ids.ts';
import { isJsonArray } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';

/** The list with the room in which a direct chat goes on beside the old one; undefined where nothing changes. */
export function withMovedRoom(
  direct: JsonObject | undefined,
  { from, to }: { readonly from: RoomId; readonly to: RoomId },
): JsonObject | undefined {
  let hasChanged = false;
  const entries = Object.entries(direct ?? {}).map(([userId, rooms]): [string, JsonValue | undefined] => {
    if (!isJsonArray(rooms) || !rooms.includes(from) || rooms.includes(to)) return [userId, rooms];
    hasChanged = true;
    return [userId, [...rooms, to]];
  });
  return hasChanged ? Object.fromEntries(entries) : undefined;
}
