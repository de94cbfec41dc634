/**
 * Reading a room's timeline page by page, as one user sees it. A page may hold fewer events than it could, or none, and
 * still not be the last: only when nothing is left does it come without `end`.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
 */
import type { StateEntry } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility } from '../engine/visible-events.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { TimelineEvent } from '../storage/events.ts';
import type { Gaps } from './gaps.ts';
import { type IgnoredUsers, isIgnored } from './ignored-users.ts';
import { type EventPredicate, loadPage, type Page, type PageRequest, type Reader } from './load-page.ts';
import type { RoomAccess } from './room-access.ts';

export interface History {
  loadMessages(reader: Reader, roomId: RoomId, request: PageRequest): Promise<Page>;
  /** The member events that tell who sent the events, as they were at the first of them. */
  loadSenders(roomId: RoomId, events: readonly TimelineEvent[]): Promise<readonly StateEntry[]>;
}

export interface HistoryOptions {
  readonly engine: Pick<RoomEngine, 'loadTimeline' | 'loadStateEntries'>;
  readonly access: RoomAccess;
  readonly visibility: Visibility;
  readonly ignoredUsers: IgnoredUsers;
  readonly gaps: Gaps;
}

export function createHistory(options: HistoryOptions): History {
  return {
    async loadMessages(reader, roomId, request) {
      const room = await options.access.loadReadable(reader.userId, roomId);
      const passes = await withoutIgnored(options.ignoredUsers, reader, request.passes);
      return loadPage(options, { reader, room }, { ...request, passes });
    },

    async loadSenders(roomId, events) {
      const stateNid = events.find(({ stateAfter }) => stateAfter !== null)?.stateAfter;
      if (stateNid === null || stateNid === undefined) return [];
      const senders = [...new Set(events.map(({ event }) => event.sender))];
      const keys = senders.map((stateKey) => ({ type: 'm.room.member', stateKey }));
      const entries = await options.engine.loadStateEntries(roomId, { snapshotNids: [stateNid], keys });
      return senders.flatMap((sender) => entries.get(stateNid, 'm.room.member', sender) ?? []);
    },
  };
}

/** What passes, but for what users said whom the reader ignores. */
export async function withoutIgnored(
  ignoredUsers: IgnoredUsers,
  { userId }: Reader,
  passes: EventPredicate,
): Promise<EventPredicate> {
  const ignored = await ignoredUsers.load(userId);
  return ignored.size === 0 ? passes : (event) => !isIgnored(event.event, ignored) && passes(event);
}
