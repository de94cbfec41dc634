/**
 * Events that the relations of others led to, in the order asked for.
 */
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from '../storage/database.ts';
import type { RelatedEvent } from '../storage/event-relations.ts';
import { loadEventsByNid, type TimelineEvent } from '../storage/events.ts';

export async function loadRelated(
  tx: Transaction,
  version: RoomVersion,
  related: readonly RelatedEvent[],
): Promise<readonly TimelineEvent[]> {
  if (related.length === 0) return [];
  const nids = related.map(({ nid }) => nid);
  const events = new Map((await loadEventsByNid(tx, version, nids)).map((event) => [event.nid, event]));
  return related.flatMap(({ nid, position }) => {
    const event = events.get(nid);
    return event === undefined ? [] : [{ ...event, position }];
  });
}
