/**
 * The order of events that both orderings of state resolution fall back to.
 *
 * https://spec.matrix.org/v1.19/rooms/v2/#definitions
 */
import type { Event } from '../pdu.ts';

/** Earlier `origin_server_ts` first, and where these are equal the smaller event id. */
export function compareByTimeAndId(x: Event, y: Event): number {
  if (x.originServerTs !== y.originServerTs) return x.originServerTs < y.originServerTs ? -1 : 1;
  if (x.eventId === y.eventId) return 0;
  return x.eventId < y.eventId ? -1 : 1;
}
