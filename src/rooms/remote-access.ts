/**
 * Whether a user may be shown a room that only other servers know: by what they say of it, and by what this server knows of
 * the user.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
 */
import type { RoomEngine } from '../engine/types.ts';
import { isRoomId, type UserId } from '../protocol/ids.ts';
import { isJsonArray } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { loadJoinedAmong } from './restricted-join.ts';

const OPEN_RULES: ReadonlySet<unknown> = new Set(['public', 'knock', 'knock_restricted']);

export async function isRemotelyPreviewable(
  engine: Pick<RoomEngine, 'loadSnapshots'>,
  summary: JsonObject,
  userId: UserId | undefined,
): Promise<boolean> {
  if (summary['world_readable'] === true || OPEN_RULES.has(summary['join_rule'])) return true;
  if (userId === undefined) return false;
  const allowed = summary['allowed_room_ids'];
  const roomIds = isJsonArray(allowed) ? allowed.filter((id) => typeof id === 'string').filter(isRoomId) : [];
  return (await loadJoinedAmong(engine, roomIds, userId)).size > 0;
}
