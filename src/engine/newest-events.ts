/**
 * The newest events of many rooms: from the tails in memory where they reach back so far, all others with one question to
 * the database, and then kept in the tails, so that whoever reads the same rooms next needs no question.
 */
import type { RoomId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import type { TimelineEvent } from '../storage/events.ts';
import { listNewestEvents, type RoomRange } from '../storage/sync-queries.ts';
import type { RoomRegistry } from './room-registry.ts';
import type { RoomTail } from './room-tail.ts';

interface Parts {
  readonly database: Transaction;
  readonly registry: Pick<RoomRegistry, 'get'>;
}

interface Cold {
  readonly range: RoomRange;
  /** Undefined for a room that is not in memory. */
  readonly tail: RoomTail | undefined;
  /** As they were before the question. */
  readonly from: number;
  readonly lastPosition: number;
}

export async function loadNewest(
  { database, registry }: Parts,
  ranges: readonly RoomRange[],
  limit: number,
): Promise<ReadonlyMap<RoomId, readonly TimelineEvent[]>> {
  const newest = new Map<RoomId, readonly TimelineEvent[]>();
  const cold: Cold[] = [];
  for (const range of ranges) {
    const tail = registry.get(range.roomId)?.tail;
    const recent = tail?.read({ ...range, before: range.upTo + 1, limit, direction: 'backward' });
    if (recent !== undefined) newest.set(range.roomId, recent.toReversed());
    else cold.push({ range, tail, from: tail?.from ?? 0, lastPosition: tail?.lastPosition ?? 0 });
  }
  if (cold.length === 0) return newest;
  const wanted = cold.map(({ range }) => range);
  for (const [roomId, events] of await listNewestEvents(database, wanted, limit)) newest.set(roomId, events);
  for (const one of cold) keep(one, newest.get(one.range.roomId) ?? [], limit);
  return newest;
}

/** Not where anything came meanwhile: it may have redacted what was read. */
function keep({ range, tail, from, lastPosition }: Cold, events: readonly TimelineEvent[], limit: number): void {
  if (tail === undefined || tail.from !== from || tail.lastPosition !== lastPosition || range.upTo < from) return;
  const older = events.filter(({ position }) => position <= from);
  const reached = events.length < limit ? range.after : (events[0]?.position ?? 1) - 1;
  if (reached < from) tail.prepend(older, reached);
}
