/**
 * Accepts an event that does not follow all forward extremities: it opens a fork, lengthens one or heals it. The current
 * state becomes what the states after the forward extremities resolve to, and only the difference is written and told:
 * as changes of the state, right behind the event (docs/adr/0013-forks.md).
 *
 * https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
 */
import type { EventId } from '../protocol/ids.ts';
import type { Event, StateEvent } from '../protocol/pdu.ts';
import { MAX_DEPTH } from '../protocol/pdu-format.ts';
import { loadEventsByNid, redactEvent } from '../storage/events.ts';
import type { PduRow } from '../storage/pdu-stream.ts';
import { insertUnplaced } from '../storage/received-events.ts';
import {
  type AcceptedEvent,
  type Arrival,
  findPendingRedaction,
  findRedacted,
  type PlacingParts,
  withRedaction,
} from './arrival.ts';
import { toEntry, toHead, toReplaced } from './place-event.ts';
import { loadKnown } from './received-batch.ts';
import { withoutRedacted } from './redactions.ts';
import { referenceHashOf } from './reference-hash.ts';
import type { Extremity, RoomSnapshot } from './room-snapshot.ts';
import { toStateChangeFact } from './state-change-facts.ts';
import type { StateDifference } from './state-resolver.ts';

/** Bounds the walk from an event through soft-failed and rejected ones to the extremities that it follows. */
const MAX_HIDDEN_ANCESTORS = 200;

export async function placeForked(parts: PlacingParts, arrival: Arrival): Promise<AcceptedEvent> {
  const { turn, batch, received, nid, before } = arrival;
  const { event } = received;
  if (before.stateNid === null) throw new Error('an accepted event has a state before it');
  const stateAfter = await storeStateAfter(parts, arrival, before.stateNid);
  const isNewest = !batch.referenced.has(event.eventId);
  const extremities = isNewest ? await nextExtremities(parts, arrival, stateAfter) : turn.head.parts.extremities;
  const current = await resolveCurrent(parts, arrival, extremities);
  const headNid = turn.head.parts.stateNid;
  const differences =
    headNid === null || current === headNid ? [] : await parts.resolver.compare(batch, headNid, current);
  const redaction = await findPendingRedaction(parts, arrival);
  const redacted = findRedacted(arrival);
  const depth = Math.max(turn.head.parts.depth, Math.min(event.depth, MAX_DEPTH));
  const changed = applyDifferences(turn.head, differences).withHead({ extremities, stateNid: current, depth });
  const snapshot = redacted === undefined ? changed : withoutRedacted(changed, redacted);
  const told = [...differences, ...(await restatement(parts, { snapshot, event, differences }))];
  turn.advance([{ nid, snapshot }], current === headNid ? turn.chain : undefined);
  const replaced = event.stateKey === undefined ? undefined : before.view.get(event.type, event.stateKey);
  const row: PduRow = {
    stored: {
      nid,
      event: redaction === undefined ? event : redactEvent(event, batch.version),
      version: batch.version,
      stateBefore: before.stateNid,
      stateAfter,
      replaces: replaced === undefined ? undefined : toReplaced(replaced),
      redactedBecause: undefined,
      ...(event.stateKey === undefined ? {} : { sidelined: true }),
      transaction: undefined,
    },
    pduText: received.text,
    replacesNid: nidOf(replaced),
    state: undefined,
    head: toHead(snapshot),
    transaction: undefined,
    redacts: redacted === undefined ? undefined : { nid: redacted.nid, eventId: redacted.event.eventId },
    authNids: event.stateKey === undefined ? undefined : arrival.authNids,
  };
  return { row: withRedaction(row, redaction), changes: told.map((one) => toStateChangeFact(batch.roomId, one)) };
}

interface Restating {
  readonly snapshot: RoomSnapshot;
  readonly event: Event;
  readonly differences: readonly StateDifference[];
}

/**
 * A state event that did not become current is followed by the one that still is: whoever applies the stream in order
 * comes to the room's state.
 */
async function restatement(
  { database }: PlacingParts,
  { snapshot, event, differences }: Restating,
): Promise<readonly StateDifference[]> {
  const { type, stateKey } = event;
  if (stateKey === undefined) return [];
  const current = snapshot.get(type, stateKey);
  const isTold = differences.some((difference) => difference.type === type && difference.stateKey === stateKey);
  if (current === undefined || isTold) return [];
  const [stored] = await loadEventsByNid(database, snapshot.version, [current.nid]);
  return stored === undefined ? [] : [{ type, stateKey, before: stored, after: stored }];
}

/** The event is there as an outlier before anything refers to it: state resolution reads the database. */
async function storeStateAfter(parts: PlacingParts, arrival: Arrival, stateBefore: number): Promise<number> {
  const { batch, received, nid, authNids } = arrival;
  const { event, text } = received;
  if (event.stateKey === undefined) return stateBefore;
  const unknown = { stateBefore: null, stateAfter: null, softFailed: false, rejection: undefined };
  await insertUnplaced(parts.database, [{ ...unknown, nid, event, pduText: text, authNids, outlier: true }]);
  return parts.resolver.extend(batch, stateBefore, { nid, type: event.type, stateKey: event.stateKey });
}

async function nextExtremities(
  parts: PlacingParts,
  arrival: Arrival,
  stateAfter: number,
): Promise<readonly Extremity[]> {
  const { turn, received, nid } = arrival;
  const followed = await followedEvents(parts, arrival);
  const kept = turn.head.parts.extremities.filter(({ eventId }) => !followed.has(eventId));
  const { referenceHash: hash } = received;
  const own = { eventId: received.event.eventId, nid, stateAfter };
  return [...kept, hash === undefined ? own : { ...own, referenceHash: hash }];
}

/** The prev events, and what lies behind those of them that can be no extremities. */
async function followedEvents({ database }: PlacingParts, { batch, received }: Arrival): Promise<ReadonlySet<EventId>> {
  const followed = new Set<EventId>(received.event.prevEvents);
  let open = [...followed];
  while (open.length > 0 && followed.size < MAX_HIDDEN_ANCESTORS) {
    await loadKnown(database, batch, open);
    const hidden = open.map((id) => batch.known.get(id)).filter((one) => one !== undefined);
    open = hidden
      .filter(({ softFailed, rejection }) => softFailed || rejection !== undefined)
      .flatMap(({ event }) => event.prevEvents)
      .filter((id) => !followed.has(id));
    for (const id of open) followed.add(id);
  }
  return followed;
}

async function resolveCurrent(
  { resolver }: PlacingParts,
  { turn, batch }: Arrival,
  extremities: readonly Extremity[],
): Promise<number> {
  const { extremities: earlier, stateNid } = turn.head.parts;
  const states = new Set(extremities.map(stateOf));
  const before = new Set(earlier.map(stateOf));
  // The same states resolve to the same state.
  if (stateNid !== null && states.symmetricDifference(before).size === 0) return stateNid;
  return resolver.resolve(batch, [...states]);
}

function stateOf({ eventId, stateAfter }: Extremity): number {
  if (stateAfter === null) throw new Error(`the state after the extremity ${eventId} is not known`);
  return stateAfter;
}

export function applyDifferences(head: RoomSnapshot, differences: readonly StateDifference[]): RoomSnapshot {
  let snapshot = head;
  for (const { type, stateKey, after } of differences) {
    const entry =
      after === undefined
        ? undefined
        : toEntry({
            ...after,
            referenceHash: referenceHashOf(after.event, head.version),
          });
    snapshot = entry === undefined ? snapshot.withoutState(type, stateKey) : snapshot.withState(entry);
  }
  return snapshot;
}

function nidOf(state: StateEvent | undefined): number | null {
  return state !== undefined && 'nid' in state && typeof state.nid === 'number' ? state.nid : null;
}
