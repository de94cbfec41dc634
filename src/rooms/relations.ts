/**
 * Reading along relations: the events that relate to one, and the threads of a room. A page holds what its reader may
 * see; when it comes without `end`, nothing is left.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#relationships-api
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility, VisibleEvent } from '../engine/visible-events.ts';
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import { listRelations, listThreads, type RelatedEvent, type RelationsWanted } from '../storage/event-relations.ts';
import { loadEventsById, redactEvent } from '../storage/events.ts';
import type { EventReading } from './event-context.ts';
import { type IgnoredUsers, isIgnored } from './ignored-users.ts';
import type { Reader } from './load-page.ts';
import { loadRelated } from './load-related.ts';
import { isWorldReadable, type RoomAccess } from './room-access.ts';

/** How many steps from the parent a recursive request goes: the least that the spec asks for. */
export const RECURSION_DEPTH = 3;
/** Bounds one request, however few of the events its reader may see. */
const MAX_SCANNED = 1_000;

export interface RelationsRequest {
  readonly eventId: EventId;
  readonly relType: string | undefined;
  readonly type: string | undefined;
  readonly direction: 'forward' | 'backward';
  readonly from: number | undefined;
  readonly to: number | undefined;
  readonly limit: number;
  readonly recurse: boolean;
}

export interface ThreadsRequest {
  readonly from: number | undefined;
  readonly limit: number;
  readonly onlyParticipated: boolean;
}

export interface RelationsPage {
  readonly events: readonly VisibleEvent[];
  /** Where to go on; undefined where nothing is left. */
  readonly end: number | undefined;
}

export interface Relations {
  /** Throws M_NOT_FOUND for a parent that the user may not see. */
  loadChildren(reader: Reader, roomId: RoomId, request: RelationsRequest): Promise<RelationsPage>;
  /** The roots of the room's threads, by the latest event of each. Throws M_FORBIDDEN for who may not read the room. */
  loadThreads(reader: Reader, roomId: RoomId, request: ThreadsRequest): Promise<RelationsPage>;
}

export interface RelationsOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly database: Transaction;
  readonly access: RoomAccess;
  readonly visibility: Visibility;
  readonly events: Pick<EventReading, 'loadEvent'>;
  readonly ignoredUsers: IgnoredUsers;
}

export function createRelations(options: RelationsOptions): Relations {
  const { engine, access, events } = options;
  return {
    async loadChildren(reader, roomId, request) {
      await events.loadEvent(reader, roomId, request.eventId);
      const snapshot = await engine.loadSnapshot(roomId);
      // Deleted since the event was found.
      if (snapshot === undefined) return { events: [], end: undefined };
      return loadChildren(options, { reader, snapshot }, request);
    },

    async loadThreads(reader, roomId, request) {
      const { snapshot, until } = await access.loadReadable(reader.userId, roomId);
      const last = until === undefined || isWorldReadable(snapshot) ? Number.MAX_SAFE_INTEGER - 1 : until.position;
      return loadThreads(options, { reader, snapshot }, { ...request, from: Math.min(request.from ?? last, last) });
    },
  };
}

interface View {
  readonly reader: Reader;
  readonly snapshot: RoomSnapshot;
}

async function loadChildren(
  { database, visibility, ignoredUsers }: RelationsOptions,
  { reader, snapshot }: View,
  { eventId, relType, type, direction, from, to, limit, recurse }: RelationsRequest,
): Promise<RelationsPage> {
  const isForward = direction === 'forward';
  const ignored = await ignoredUsers.load(reader.userId);
  const [low, high] = isForward ? [from, to] : [to, from];
  const { roomId, version } = snapshot;
  let wanted: RelationsWanted = {
    roomId,
    parent: eventId,
    relType,
    type,
    direction,
    maxDepth: recurse ? RECURSION_DEPTH : 1,
    after: low ?? 0,
    before: high === undefined ? Number.MAX_SAFE_INTEGER : high + 1,
    // One more tells whether there is a next page.
    limit: limit + 1,
  };
  return collect(limit, async (last) => {
    if (last !== undefined) wanted = { ...wanted, ...(isForward ? { after: last } : { before: last }) };
    const related: readonly RelatedEvent[] = await listRelations(database, wanted);
    const stored = await loadRelated(database, version, related);
    const visible = await visibility.filterVisible(stored, reader, snapshot);
    return {
      found: visible
        .filter(({ event }) => !isIgnored(event, ignored))
        .map((event) => ({ event, position: event.position })),
      scanned: related.length,
      last: related.length < wanted.limit ? undefined : related.at(-1)?.position,
    };
  }).then(({ events, last }) => ({ events, end: last === undefined || isForward ? last : last - 1 }));
}

async function loadThreads(
  { database, visibility, ignoredUsers }: RelationsOptions,
  { reader, snapshot }: View,
  { from, limit, onlyParticipated }: ThreadsRequest & { readonly from: number },
): Promise<RelationsPage> {
  const ignored = await ignoredUsers.load(reader.userId);
  const participant = onlyParticipated ? reader.userId : undefined;
  let before = from + 1;
  return collect(limit, async (last) => {
    before = last ?? before;
    const rows = await listThreads(database, { roomId: snapshot.roomId, participant, before, limit: limit + 1 });
    const rootIds = rows.map(({ rootId }) => rootId);
    const stored = rows.length === 0 ? [] : await loadEventsById(database, snapshot, rootIds);
    const visible = await visibility.filterVisible(stored, reader, snapshot);
    const roots = new Map<string, VisibleEvent>(visible.map((root) => [root.event.eventId, root]));
    return {
      found: rows.flatMap(({ rootId, latestPosition: position }) => {
        const root = roots.get(rootId);
        return root === undefined ? [] : [{ event: withoutIgnored(root, ignored), position }];
      }),
      scanned: rows.length,
      last: rows.length <= limit ? undefined : rows.at(-1)?.latestPosition,
    };
  }).then(({ events, last }) => ({ events, end: last === undefined ? undefined : last - 1 }));
}

/** The thread stays, the words of who is ignored do not. */
function withoutIgnored(root: VisibleEvent, ignored: ReadonlySet<string>): VisibleEvent {
  return ignored.has(root.event.sender) ? { ...root, event: redactEvent(root.event, root.version) } : root;
}

interface Batch {
  readonly found: readonly { readonly event: VisibleEvent; readonly position: number }[];
  readonly scanned: number;
  /** The position of the last one looked at; undefined where there are no more. */
  readonly last: number | undefined;
}

interface Collected {
  readonly events: readonly VisibleEvent[];
  /** The position of the last event of a page that is not the last one. */
  readonly last: number | undefined;
}

/** Asks for batches until the page is full, nothing is left, or enough was looked at. */
async function collect(limit: number, loadBatch: (last: number | undefined) => Promise<Batch>): Promise<Collected> {
  const found: Batch['found'][number][] = [];
  let last: number | undefined;
  for (let scanned = 0; scanned < MAX_SCANNED; ) {
    const batch = await loadBatch(last);
    found.push(...batch.found);
    scanned += batch.scanned;
    last = batch.last;
    const isFull = found.length > limit;
    if (isFull) last = found[limit - 1]?.position;
    if (isFull || last === undefined) break;
  }
  return { events: found.slice(0, limit).map(({ event }) => event), last };
}
