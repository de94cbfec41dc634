/**
 * What somebody may learn of a room before joining it.
 *
 * Invariant: whoever may not know of a room gets the answer for a room that does not exist.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
 */
import { createLocalMembers } from '../engine/local-members.ts';
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { isRemotelyPreviewable } from './remote-access.ts';
import type { RemoteSummaries } from './remote-summaries.ts';
import { allowedRooms, loadJoinedAmong } from './restricted-join.ts';
import { isWorldReadable } from './room-access.ts';

/** Without a user, as anybody on the internet sees the room. Throws M_NOT_FOUND where there is nothing to see. */
export type LoadRoomSummary = (userId: UserId | undefined, wanted: SummaryWanted) => Promise<JsonObject>;

export interface SummaryWanted {
  readonly roomId: RoomId;
  /** Servers that may know the room if we do not. */
  readonly via: readonly ServerName[];
}

export interface RoomSummariesOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot' | 'loadSnapshots'>;
  readonly serverName: ServerName;
  /** Undefined where this server talks with no others. */
  readonly remoteSummaries?: RemoteSummaries | undefined;
}

const RESTRICTED_JOIN_RULES: ReadonlySet<unknown> = new Set(['restricted', 'knock_restricted']);

export function createRoomSummaries({ engine, serverName, remoteSummaries }: RoomSummariesOptions): LoadRoomSummary {
  const isInhabited = createLocalMembers(serverName);
  return async (userId, { roomId, via }) => {
    const snapshot = await engine.loadSnapshot(roomId);
    const isOurs = snapshot !== undefined && isInhabited(snapshot);
    const membership = userId === undefined ? undefined : (snapshot?.membershipOf(userId) ?? 'leave');
    const asUser = (summary: JsonObject): JsonObject => ({
      ...summary,
      ...(membership !== undefined && { membership }),
    });
    if (!isOurs) {
      const found = (await remoteSummaries?.load(roomId, via))?.found;
      const isShown = found !== undefined && (await isRemotelyPreviewable(engine, found.summary, userId));
      if (isShown) return asUser(found.summary);
    }
    if (snapshot === undefined || !(await isPreviewable(engine, snapshot, userId))) throw unknownRoom();
    return asUser(describeRoom(snapshot));
  };
}

export function unknownRoom(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'The room was not found');
}

/** Whether a user, or anybody on the internet, may learn what a room shows of itself. */
export async function isPreviewable(
  engine: Pick<RoomEngine, 'loadSnapshots'>,
  snapshot: RoomSnapshot,
  userId: UserId | undefined,
): Promise<boolean> {
  if (isWorldReadable(snapshot)) return true;
  const membership = userId === undefined ? undefined : snapshot.membershipOf(userId);
  if (membership === 'ban') return false;
  if (membership === 'join' || membership === 'invite' || isOpen(snapshot)) return true;
  if (userId === undefined || !isRestricted(snapshot)) return false;
  return (await loadJoinedAmong(engine, allowedRooms(snapshot), userId)).size > 0;
}

/** Rooms that anybody may try to enter may be looked at from outside. A rule that the version does not know is none. */
export function isOpen(snapshot: RoomSnapshot): boolean {
  const { version } = snapshot;
  const joinRule = joinRuleOf(snapshot);
  if (joinRule === 'knock') return version.knock;
  return joinRule === 'public' || (joinRule === 'knock_restricted' && version.knockRestricted);
}

/** Whether members of other rooms may join. */
export function isRestricted(snapshot: RoomSnapshot): boolean {
  return joinRuleOf(snapshot) === 'restricted' && snapshot.version.restricted;
}

function joinRuleOf(snapshot: RoomSnapshot): unknown {
  return contentOf(snapshot, 'm.room.join_rules')['join_rule'];
}

function contentOf(snapshot: RoomSnapshot, type: string): JsonObject {
  return snapshot.get(type, '')?.content ?? {};
}

/** What a room shows of itself, but for who is in it. */
export function describeRoom(snapshot: RoomSnapshot): JsonObject {
  const contentIn = (type: string): JsonObject => contentOf(snapshot, type);
  return {
    room_id: snapshot.roomId,
    room_version: snapshot.version.id,
    num_joined_members: snapshot.joinedCount,
    world_readable: isWorldReadable(snapshot),
    guest_can_join: contentIn('m.room.guest_access')['guest_access'] === 'can_join',
    ...shown('name', contentIn('m.room.name')['name']),
    ...shown('topic', contentIn('m.room.topic')['topic']),
    ...shown('avatar_url', contentIn('m.room.avatar')['url']),
    ...shown('canonical_alias', contentIn('m.room.canonical_alias')['alias']),
    ...shown('join_rule', joinRuleOf(snapshot)),
    ...shown('room_type', contentIn('m.room.create')['type']),
    ...shown('encryption', contentIn('m.room.encryption')['algorithm']),
    ...(RESTRICTED_JOIN_RULES.has(joinRuleOf(snapshot)) && { allowed_room_ids: allowedRooms(snapshot) }),
  };
}

/** Only text is shown: state of other servers may hold anything. */
function shown(key: string, value: unknown): JsonObject {
  return typeof value === 'string' && value !== '' ? { [key]: value } : {};
}
