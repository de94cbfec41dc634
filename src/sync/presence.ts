/**
 * The presence section: who of those that share a room with the reader changed, and everybody who is there in a room
 * that the reader came into, or who came into one of the reader's.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#presence
 */
import { joinedMembers, type RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import { type PresenceState, type PresenceStatus, presenceContent } from '../protocol/presence.ts';
import type { Timeline } from './timelines.ts';
import type { SyncContext } from './types.ts';
import type { Waiters } from './waiters.ts';

/** What a sync reads of presence. */
export interface SyncPresence {
  readonly serial: number;
  startSync(userId: UserId, state: PresenceState): Promise<Disposable>;
  get(userId: UserId): PresenceStatus | undefined;
  /** Undefined where memory does not reach back so far. */
  getChanged(after: number): readonly UserId[] | undefined;
  listPresent(): readonly UserId[];
  follow(follower: (userIds: ReadonlySet<UserId>) => void): Disposable;
}

export interface SharedRooms {
  load(userIds: Iterable<UserId>): Promise<void>;
  getRooms(userId: UserId): ReadonlySet<RoomId> | undefined;
  share(a: UserId, b: UserId): boolean;
}

/** Absent where presence is off. */
export interface PresenceParts {
  readonly presence: SyncPresence;
  readonly sharedRooms: SharedRooms;
}

export interface PresenceWanted {
  /** The reader's serial; undefined for one who has seen nothing since the server started. */
  readonly after: number | undefined;
  /** Rooms that the reader came into. */
  readonly newRooms: readonly RoomSnapshot[];
  /** Of the other rooms. */
  readonly timelines: readonly Timeline[];
}

export async function renderPresence(
  parts: PresenceParts | undefined,
  context: SyncContext,
  wanted: PresenceWanted,
): Promise<readonly string[]> {
  if (parts === undefined) return [];
  const { presence, sharedRooms } = parts;
  const { userId, filter, now } = context;
  const isWanted = (other: UserId): boolean =>
    other !== userId && filter.presence({ type: 'm.presence', sender: other });
  const changed = (
    (wanted.after === undefined ? undefined : presence.getChanged(wanted.after)) ?? presence.listPresent()
  ).filter(isWanted);
  if (changed.length > 0) await sharedRooms.load([userId, ...changed]);
  const users = new Set([
    ...changed.filter((other) => sharedRooms.share(userId, other)),
    ...wanted.newRooms.flatMap((room) => presentIn(presence, room)).filter(isWanted),
    ...wanted.timelines.flatMap((timeline) => [...newcomers(timeline)]).filter(isWanted),
  ]);
  const texts: string[] = [];
  for (const other of users) {
    const status = presence.get(other);
    if (texts.length === filter.presenceLimit) break;
    if (status !== undefined)
      texts.push(JSON.stringify({ type: 'm.presence', sender: other, content: presenceContent(status, now) }));
  }
  return texts;
}

/** Whether there is something for a reader who is about to wait. */
export function hasPresenceNews(parts: PresenceParts | undefined, userId: UserId, after: number | undefined): boolean {
  if (parts === undefined || after === undefined) return false;
  const changed = parts.presence.getChanged(after) ?? parts.presence.listPresent();
  return changed.some((other) => other !== userId && parts.sharedRooms.share(userId, other));
}

/** Wakes those who wait and share a room with one of the users: as many look-ups as they have rooms. */
export async function wakeSharing(
  { sharedRooms }: PresenceParts,
  waiters: Waiters,
  changed: ReadonlySet<UserId>,
): Promise<void> {
  // Nobody is told of themselves.
  const others = [...waiters.users()].filter((userId) => changed.size > 1 || !changed.has(userId));
  if (others.length === 0) return;
  await sharedRooms.load([...changed, ...others]);
  const rooms = new Set<RoomId>();
  for (const userId of changed) for (const roomId of sharedRooms.getRooms(userId) ?? []) rooms.add(roomId);
  waiters.wakeWhere((userId) => {
    for (const roomId of sharedRooms.getRooms(userId) ?? []) if (rooms.has(roomId)) return true;
    return false;
  });
}

function presentIn(presence: SyncPresence, room: RoomSnapshot): readonly UserId[] {
  const present = presence.listPresent();
  if (present.length < room.joinedCount) return present.filter((userId) => room.membershipOf(userId) === 'join');
  const known = new Set(present);
  return [...joinedMembers(room)].filter((userId) => known.has(userId));
}

function* newcomers({ known }: Timeline): IterableIterator<UserId> {
  for (const { event, replaces } of known) {
    if (event.type !== 'm.room.member' || event.content['membership'] !== 'join') continue;
    // A membership event was accepted, so its state key is a user id.
    if (replaces?.content['membership'] !== 'join') yield event.stateKey as UserId;
  }
}
