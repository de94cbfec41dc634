/**
 * Events that are known without a place in the room's graph: auth events, and the state at events that we lack. They are
 * judged by their own auth events alone and stored beforehand, by themselves. What depends on an event that could not be
 * had is not stored either.
 */
import type { EventId } from '../protocol/ids.ts';
import type { StateEvent } from '../protocol/pdu.ts';
import type { Database } from '../storage/database.ts';
import { insertUnplaced, type KnownEvent, type UnplacedEvent } from '../storage/received-events.ts';
import { judgeByAuthEvents } from './judge-received.ts';
import type { NidSource } from './nid-source.ts';
import type { ReceivedEvent } from './parse-received.ts';
import { loadKnown, type ReceivedBatch, sortTopologically } from './received-batch.ts';

/** Bounds one statement; about a megabyte. */
const EVENTS_PER_INSERT = 500;

export interface OutlierParts {
  readonly database: Database;
  readonly eventNids: NidSource;
}

export async function storeOutliers(
  { database, eventNids }: OutlierParts,
  { batch, create }: { readonly batch: ReceivedBatch; readonly create: StateEvent | undefined },
  received: readonly ReceivedEvent[],
): Promise<void> {
  await loadKnown(
    database,
    batch,
    received.flatMap(({ event }) => [event.eventId, ...event.authEvents]),
  );
  const rows: UnplacedEvent[] = [];
  for (const one of sortTopologically(received)) {
    if (batch.known.has(one.event.eventId)) continue;
    const authEvents = one.event.authEvents.flatMap((id) => batch.known.get(id) ?? []);
    if (authEvents.length < one.event.authEvents.length) continue;
    const row = toOutlier(one, await eventNids.take(), { version: batch.version, authEvents, create });
    rows.push(row);
    batch.known.set(one.event.eventId, { ...row, position: null, isRedacted: false });
  }
  for (let from = 0; from < rows.length; from += EVENTS_PER_INSERT) {
    await insertUnplaced(database, rows.slice(from, from + EVENTS_PER_INSERT));
  }
}

interface Judging {
  readonly version: ReceivedBatch['version'];
  readonly authEvents: readonly KnownEvent[];
  readonly create: StateEvent | undefined;
}

function toOutlier({ event, text, oversize }: ReceivedEvent, nid: number, judging: Judging): UnplacedEvent {
  const verdict = judgeByAuthEvents(event, judging);
  return {
    nid,
    event,
    pduText: text,
    stateBefore: null,
    stateAfter: null,
    authNids: judging.authEvents.map((cited) => cited.nid),
    outlier: true,
    softFailed: false,
    rejection: verdict.allowed ? (oversize === undefined ? undefined : `v${judging.version.id}:size`) : verdict.rule,
  };
}

/** The auth events of these that are neither stored nor among them. */
export function missingAuthEvents(batch: ReceivedBatch, received: readonly ReceivedEvent[]): readonly EventId[] {
  const here = new Set(received.map(({ event }) => event.eventId));
  const ids = received.flatMap(({ event }) => event.authEvents);
  return [...new Set(ids)].filter((id) => !here.has(id) && !batch.known.has(id));
}
