/**
 * Reading a room's timeline page by page, as one user sees it. A page may hold fewer events than it could, or none, and
 * still not be the last: only when nothing is left does it come without `end`.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
 */
import type { StateEntry } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility, VisibleEvent } from '../engine/visible-events.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { TimelineEvent } from '../storage/events.ts';
import { type IgnoredUsers, isIgnored } from './ignored-users.ts';
import { isWorldReadable, type ReadableRoom, type RoomAccess } from './room-access.ts';

/** Bounds one request, whatever the filter lets through; the client goes on from `end`. */
const MAX_SCANNED = 1_000;
/** A page that a filter thinned out is filled up in steps of at least this. */
const MIN_REFILL = 100;

export type EventPredicate = (event: TimelineEvent) => boolean;

export interface PageRequest {
  readonly direction: 'forward' | 'backward';
  /** Positions that the tokens name; without `from`, the newest or the first event. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly limit: number;
  readonly passes: EventPredicate;
}

export interface Page {
  readonly start: number;
  /** Undefined where nothing lies behind. */
  readonly end: number | undefined;
  readonly events: readonly VisibleEvent[];
}

export interface History {
  loadMessages(reader: Reader, roomId: RoomId, request: PageRequest): Promise<Page>;
  /** The member events that tell who sent the events, as they were at the first of them. */
  loadSenders(roomId: RoomId, events: readonly TimelineEvent[]): Promise<readonly StateEntry[]>;
}

export interface Reader {
  readonly userId: UserId;
}

export interface HistoryOptions {
  readonly engine: Pick<RoomEngine, 'loadTimeline' | 'loadStateEntries'>;
  readonly access: RoomAccess;
  readonly visibility: Visibility;
  readonly ignoredUsers: IgnoredUsers;
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

interface Viewer {
  readonly reader: Reader;
  readonly room: ReadableRoom;
}

/** Walks from `from` until the page is full, the range is used up, or enough was looked at. */
export async function loadPage(
  { engine, visibility }: Pick<HistoryOptions, 'engine' | 'visibility'>,
  { reader, room }: Viewer,
  request: PageRequest,
): Promise<Page> {
  const { snapshot } = room;
  const range = rangeOf(room, request);
  const isBackward = request.direction === 'backward';
  const start = isBackward ? range.before - 1 : range.after;
  const events: VisibleEvent[] = [];
  let { after, before } = range;
  for (let scanned = 0; scanned < MAX_SCANNED; ) {
    const missing = request.limit - events.length;
    const limit = scanned === 0 ? missing : Math.max(missing, MIN_REFILL);
    const { roomId, version } = snapshot;
    const batch = await engine.loadTimeline({ roomId, version, after, before, limit, direction: request.direction });
    const visible = await visibility.filterVisible(batch, reader, snapshot);
    const taken = visible.filter(request.passes).slice(0, missing);
    events.push(...taken);
    scanned += batch.length;
    const isFull = events.length >= request.limit;
    const last = isFull && missing > 0 ? taken.at(-1) : batch.at(-1);
    const isLastOfBatch = last === undefined || last.position === batch.at(-1)?.position;
    const isExhausted = batch.length < limit || (isBackward && last?.event.type === 'm.room.create');
    if (isExhausted && isLastOfBatch) {
      // Clients take the end of a page that a filter thinned out for the place to go on with another one.
      const isThinned = events.length > 0 && events.length < scanned;
      const reached = isThinned && isBackward && last !== undefined ? last.position - 1 : undefined;
      return { start: present(start, events), end: endOf(request, events) ?? reached, events };
    }
    if (last !== undefined && isBackward) before = last.position;
    else if (last !== undefined) after = last.position;
    if (isFull) break;
  }
  return { start: present(start, events), end: isBackward ? before - 1 : after, events };
}

/** A page that stopped at `to` can be continued there, unless it was empty: then the client has seen it all. */
function endOf({ to }: PageRequest, events: readonly VisibleEvent[]): number | undefined {
  return to !== undefined && events.length > 0 ? to : undefined;
}

/** Without `from`, a backward page starts at the newest event there is. */
function present(start: number, events: readonly VisibleEvent[]): number {
  return start === Number.MAX_SAFE_INTEGER - 1 ? (events[0]?.position ?? 0) : start;
}

interface Range {
  /** Both exclusive. */
  readonly after: number;
  readonly before: number;
}

function rangeOf({ snapshot, until }: ReadableRoom, { direction, from, to }: PageRequest): Range {
  // What came after a user left is not theirs to read, so nothing there is looked at.
  const ends = until === undefined || isWorldReadable(snapshot) ? Number.MAX_SAFE_INTEGER : until.position + 1;
  const [low, high] = direction === 'backward' ? [to, from] : [from, to];
  const before = high === undefined ? ends : Math.min(high + 1, ends);
  return { after: low ?? 0, before };
}
