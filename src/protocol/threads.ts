/**
 * Threads: which one an event belongs to, told by what it relates to. An event that relates to one of a thread in another
 * way (a reaction, an edit) belongs to it too.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#threading
 */
import { isJsonObject } from './json-value.ts';
import type { Event } from './pdu.ts';

/** What receipts and counts call the timeline of events that are in no thread. */
export const MAIN_THREAD = 'main';
/** How far relations are followed, as the spec recommends. */
export const MAX_RELATION_HOPS = 3;

export interface Relation {
  readonly type: unknown;
  readonly eventId: string;
}

/** What an event relates to. */
export function relationOf({ content }: Pick<Event, 'content'>): Relation | undefined {
  const relation = content['m.relates_to'];
  if (!isJsonObject(relation) || typeof relation['event_id'] !== 'string') return undefined;
  return { type: relation['rel_type'], eventId: relation['event_id'] };
}

/** The event that has to be looked at to learn an event's thread; undefined where the event says it itself. */
export function nextInChain(event: Pick<Event, 'content'>): string | undefined {
  const relation = relationOf(event);
  return relation === undefined || relation.type === 'm.thread' ? undefined : relation.eventId;
}

/** The root of the thread of an event, or `main`; `chain` is the event and what it relates to, one after the other. */
export function threadOf(chain: readonly Pick<Event, 'content'>[]): string {
  for (const event of chain) {
    const relation = relationOf(event);
    if (relation?.type === 'm.thread') return relation.eventId;
  }
  return MAIN_THREAD;
}
