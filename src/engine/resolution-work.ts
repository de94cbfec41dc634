/**
 * One state resolution as a message: plain data that a worker thread can be sent, and the answer that comes back.
 */
import type { EventId } from '../protocol/ids.ts';
import type { Event } from '../protocol/pdu.ts';
import { getRoomVersion } from '../protocol/room-version.ts';
import { resolveState } from '../protocol/state-resolution/index.ts';

export interface ResolutionWork {
  readonly versionId: string;
  readonly stateSets: readonly (readonly (readonly [key: string, eventId: EventId])[])[];
  readonly events: readonly Event[];
  readonly rejectedIds: readonly EventId[];
  readonly authDifference: readonly EventId[];
}

export type Resolution = ReadonlyMap<string, EventId>;

export function runResolution(work: ResolutionWork): Resolution {
  const version = getRoomVersion(work.versionId);
  if (version === undefined) throw new Error(`state resolution of the unknown room version ${work.versionId}`);
  const events = new Map(work.events.map((event) => [event.eventId, event]));
  const rejected = new Set(work.rejectedIds);
  return resolveState({
    version,
    stateSets: work.stateSets.map((entries) => new Map(entries)),
    events: (eventId) => events.get(eventId),
    isRejected: (eventId) => rejected.has(eventId),
    authDifference: new Set(work.authDifference),
  }).state;
}
