/**
 * Bundled aggregations: what became of an event since it was sent, given along with it. A thread's size and latest
 * event, and the latest edit. Pages of which no event has any cost one statement, those of state events none.
 *
 * Invariant: an aggregation never shows an event that the reader may not see, and says nothing of the time after they
 * left.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility, VisibleEvent } from '../engine/visible-events.ts';
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import { type AggregationRow, loadAggregations } from '../storage/event-relations.ts';
import type { TimelineEvent } from '../storage/events.ts';
import type { IgnoredUsers } from './ignored-users.ts';
import type { Reader } from './load-page.ts';
import { loadRelated } from './load-related.ts';
import { isWorldReadable } from './room-access.ts';

export interface Aggregation {
  readonly thread?: ThreadSummary;
  readonly edit?: VisibleEvent;
}

export interface ThreadSummary {
  readonly count: number;
  readonly hasParticipated: boolean;
  readonly latest: VisibleEvent;
}

export type AggregationsById = ReadonlyMap<EventId, Aggregation>;

export interface Aggregations {
  /** For the events, and for the latest events of their threads. */
  load(reader: Reader, roomId: RoomId, events: readonly TimelineEvent[]): Promise<AggregationsById>;
}

export interface AggregationsOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly database: Transaction;
  readonly visibility: Visibility;
  readonly ignoredUsers: IgnoredUsers;
}

interface View {
  readonly reader: Reader;
  readonly snapshot: RoomSnapshot;
}

const NONE: AggregationsById = new Map();

export function createAggregations(options: AggregationsOptions): Aggregations {
  return {
    async load(reader, roomId, events) {
      const parents = parentsAmong(events);
      if (parents.length === 0) return NONE;
      const snapshot = await options.engine.loadSnapshot(roomId);
      const isInside = snapshot?.membershipOf(reader.userId) === 'join';
      if (snapshot === undefined || (!isInside && !isWorldReadable(snapshot))) return NONE;
      const view = { reader, snapshot };
      const found = await loadFor(options, view, parents);
      // No event in a thread can have a thread of its own, so this goes one step down and no further.
      const latest = parentsAmong([...found.values()].flatMap(({ thread }) => thread?.latest ?? []));
      return latest.length === 0 ? found : new Map([...(await loadFor(options, view, latest)), ...found]);
    },
  };
}

/** State events get no aggregations. */
function parentsAmong(events: readonly TimelineEvent[]): readonly TimelineEvent[] {
  return events.filter(({ event }) => event.stateKey === undefined);
}

async function loadFor(
  { database, visibility, ignoredUsers }: AggregationsOptions,
  { reader, snapshot }: View,
  parents: readonly TimelineEvent[],
): Promise<AggregationsById> {
  const ignored = await ignoredUsers.load(reader.userId);
  const wanted = {
    roomId: snapshot.roomId,
    userId: reader.userId,
    parents: parents.map(({ event }) => event),
    ignored,
  };
  const rows = await loadAggregations(database, wanted);
  if (rows.length === 0) return NONE;
  const stored = await loadRelated(
    database,
    snapshot.version,
    rows.map(({ latest }) => latest),
  );
  const visible = await visibility.filterVisible(stored, reader, snapshot);
  const events = new Map(visible.map((event) => [event.nid, event]));
  const rowsOf = Map.groupBy(rows, ({ parentId }) => parentId);
  const found = new Map<EventId, Aggregation>();
  for (const parent of parents) {
    const aggregation = finish(aggregate(rowsOf.get(parent.event.eventId) ?? [], events), parent, reader);
    if (aggregation !== undefined) found.set(parent.event.eventId, aggregation);
  }
  return found;
}

function aggregate(rows: readonly AggregationRow[], events: ReadonlyMap<number, VisibleEvent>): Aggregation {
  let found: Aggregation = {};
  for (const { relType, count, hasOwn, latest } of rows) {
    const event = events.get(latest.nid);
    if (event === undefined) continue;
    found =
      relType === 'm.thread'
        ? { ...found, thread: { count, hasParticipated: hasOwn, latest: event } }
        : { ...found, edit: event };
  }
  return found;
}

/** Edits go with what they edited, threads stay; and who sent the root of a thread takes part in it. */
function finish({ thread, edit }: Aggregation, parent: TimelineEvent, { userId }: Reader): Aggregation | undefined {
  const hasParticipated = thread?.hasParticipated === true || parent.event.sender === userId;
  const shownEdit = parent.redactedBecause === undefined ? edit : undefined;
  if (thread === undefined && shownEdit === undefined) return undefined;
  return { ...(thread && { thread: { ...thread, hasParticipated } }), ...(shownEdit && { edit: shownEdit }) };
}
