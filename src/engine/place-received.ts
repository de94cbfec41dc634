/**
 * What becomes of one event of another server in the room's turn: judged by its auth events, by the state before it, by
 * the current state and by the room's policy server, it is rejected, soft-failed or accepted. An accepted event that
 * follows all forward extremities goes to the head as ours do; any other makes or heals a fork (place-forked.ts).
 *
 * https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 */
import { checkAuth } from '../protocol/auth-rules.ts';
import type { Event, StateView } from '../protocol/pdu.ts';
import { rejected, type Verdict } from '../protocol/verdict.ts';
import { loadEventsByNid, redactEvent } from '../storage/events.ts';
import { type PduRow, pduStream } from '../storage/pdu-stream.ts';
import {
  deleteBackwardExtremities,
  deleteOutliers,
  deletePendingRedactions,
  insertBackwardExtremities,
  insertPendingRedaction,
  insertUnplaced,
  type KnownEvent,
} from '../storage/received-events.ts';
import { listStateEntries } from '../storage/state.ts';
import type { CommitUnit, Fact } from '../streams/committer.ts';
import {
  type AcceptedEvent,
  type Arrival,
  findPendingRedaction,
  findRedacted,
  type Placed,
  type PlacingParts,
  type StateBefore,
  withRedaction,
} from './arrival.ts';
import { citedMembers, withEntries } from './cited-members.ts';
import { judgeByAuthEvents, keysToJudge, viewOf } from './judge-received.ts';
import { afterGap, placeEvent } from './place-event.ts';
import { placeForked } from './place-forked.ts';
import { isInGraph, type ReceivedBatch } from './received-batch.ts';
import type { Turn } from './room-actor.ts';
import { loadChain } from './room-loader.ts';
import type { RoomSnapshot, StateEntry } from './room-snapshot.ts';
import { toStateChangeFact } from './state-change-facts.ts';

export async function placeReceived(
  parts: PlacingParts,
  { turn, batch, received }: Pick<Arrival, 'turn' | 'batch' | 'received'>,
): Promise<Placed> {
  const { event, oversize } = received;
  const { version, known } = batch;
  const authEvents = event.authEvents.flatMap((id) => known.get(id) ?? []);
  if (authEvents.length < event.authEvents.length) return drop('not all of its auth events could be had');
  const given = await findStateBefore(parts, { turn, batch, event });
  if (given === undefined) return drop('not all of its prev events could be had');
  const create = turn.head.get('m.room.create', '');
  const byAuthEvents =
    oversize === undefined
      ? judgeByAuthEvents(event, { version, authEvents, create })
      : rejected(`v${version.id}:size`, oversize);
  // Only the right auth events say anything about members.
  const isCiting = turn.head.isPartial && byAuthEvents.allowed;
  const before = isCiting ? await withCited(parts, { turn, batch, authEvents }, given) : given;
  const verdict = byAuthEvents.allowed ? checkAuth(event, before.view, version) : byAuthEvents;
  const nid = known.get(event.eventId)?.nid ?? (await parts.writing.eventNids.take());
  const arrival = { turn, batch, received, nid, authNids: authEvents.map((one) => one.nid), before };
  if (!verdict.allowed) return keepUnplaced(parts, arrival, { verdict, softFailed: false });
  // The create event once more: all there is rests on it.
  if (before.stateNid === null) return { result: { outcome: 'known' }, committed: Promise.resolve() };
  const now = before.isAtHead
    ? verdict
    : checkAuth(event, await currentStateFor(parts, { turn, batch, event }, before), version);
  if (!now.allowed) return keepUnplaced(parts, arrival, { verdict: now, softFailed: true });
  if (!parts.policing.isRecommended(turn.head, event)) {
    return keepUnplaced(parts, arrival, { verdict: NOT_RECOMMENDED, softFailed: true });
  }
  return before.isAtHead ? placeAtHead(parts, arrival) : accept(parts, arrival, await placeForked(parts, arrival));
}

/** https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures */
const NOT_RECOMMENDED = {
  allowed: false,
  rule: 'policy',
  reason: "the room's policy server has not signed it",
} as const;

function drop(reason: string): Placed {
  return { result: { outcome: 'dropped', reason }, committed: Promise.resolve() };
}

async function findStateBefore(
  { database, writing, resolver }: PlacingParts,
  { turn, batch, event }: Pick<Arrival, 'turn' | 'batch'> & { readonly event: Event },
): Promise<StateBefore | undefined> {
  const { head } = turn;
  const { version } = batch;
  const { extremities, stateNid: headNid } = head.parts;
  const prevs = new Set(event.prevEvents);
  if (prevs.size === extremities.length && extremities.every(({ eventId }) => prevs.has(eventId))) {
    return { stateNid: headNid, view: head, isAtHead: true, cited: [] };
  }
  if (prevs.size === 0) return { stateNid: null, view: viewOf([]), isAtHead: false, cited: [] };
  const states = [...prevs].map((id) => batch.known.get(id)?.stateAfter ?? undefined);
  if (states.includes(undefined)) return undefined;
  await settle({ writing }, turn, batch);
  const stateNid = await resolver.resolve(
    batch,
    states.flatMap((nid) => nid ?? []),
  );
  if (stateNid === headNid) return { stateNid, view: head, isAtHead: false, cited: [] };
  const keys = [...keysToJudge(event, version), ...ownKey(event)];
  const wanted = { roomId: batch.roomId, version, snapshotNids: [stateNid], keys };
  return { stateNid, view: viewOf(await listStateEntries(database, wanted)), isAtHead: false, cited: [] };
}

/** What was decided before must be in the database: states are read there. */
async function settle({ writing }: Pick<PlacingParts, 'writing'>, turn: Turn, batch: ReceivedBatch): Promise<void> {
  await batch.committed;
  if (turn.actor.isBusy) await writing.commit(turn.actor, { facts: [] });
}

interface CitedIn {
  readonly turn: Turn;
  readonly batch: ReceivedBatch;
  readonly authEvents: readonly KnownEvent[];
}

/** While members are missing, those that the event's auth events show count as part of the state. */
async function withCited(
  parts: PlacingParts,
  { turn, batch, authEvents }: CitedIn,
  before: StateBefore,
): Promise<StateBefore> {
  const cited = before.stateNid === null ? [] : citedMembers(batch.version, before.view, authEvents);
  if (cited.length === 0 || before.stateNid === null) return before;
  await settle(parts, turn, batch);
  const stateNid = await parts.resolver.extend(batch, before.stateNid, ...cited);
  return { ...before, stateNid, view: withEntries(before.view, cited), cited };
}

/**
 * The current state that the event is judged by. Behind a gap the room may have changed without our hearing of it, and
 * a gap is easily made: so what we know and what the gap's state says are resolved, and a ban among them stands.
 */
async function currentStateFor(
  { database, resolver }: PlacingParts,
  { turn, batch, event }: Pick<Arrival, 'turn' | 'batch'> & { readonly event: Event },
  { stateNid, cited }: StateBefore,
): Promise<StateView> {
  const { head } = turn;
  const isBehindGap = event.prevEvents.some((id) => !isInGraph(batch.known.get(id)));
  if (!isBehindGap || stateNid === null) {
    const unheard = cited.filter(({ type, stateKey }) => head.get(type, stateKey) === undefined);
    return withEntries(head, unheard);
  }
  const { roomId, version } = batch;
  const known = head.parts.extremities.map(({ stateAfter }) => stateAfter).filter((nid) => nid !== null);
  const snapshotNid = await resolver.resolve(batch, [...known, stateNid]);
  const wanted = { roomId, version, snapshotNids: [snapshotNid], keys: keysToJudge(event, version) };
  return viewOf(await listStateEntries(database, wanted));
}

/** What the event takes the place of. */
function ownKey({ type, stateKey }: Event): readonly { readonly type: string; readonly stateKey: string }[] {
  return stateKey === undefined ? [] : [{ type, stateKey }];
}

interface Refusal {
  readonly verdict: Extract<Verdict, { allowed: false }>;
  readonly softFailed: boolean;
}

/** Keeps an event that is no part of the timeline: those that follow it need the state after it. */
async function keepUnplaced(parts: PlacingParts, arrival: Arrival, { verdict, softFailed }: Refusal): Promise<Placed> {
  const { batch, received, nid, authNids, before, turn } = arrival;
  const { event, text } = received;
  const { stateNid } = before;
  const isStateChange = softFailed && event.stateKey !== undefined && stateNid !== null;
  const stateAfter = isStateChange
    ? await parts.resolver.extend(batch, stateNid, { nid, type: event.type, stateKey: event.stateKey })
    : stateNid;
  const { rule, reason } = verdict;
  const stored = { nid, event, stateBefore: stateNid, stateAfter, outlier: false, softFailed };
  const rejection = softFailed ? undefined : rule;
  const unplaced = { ...stored, rejection, pduText: text, authNids };
  const committed = parts.writing.commit(turn.actor, {
    facts: [],
    also: (tx) => Promise.all([deleteOutliers(tx, [nid]), insertUnplaced(tx, [unplaced])]),
  });
  batch.known.set(event.eventId, { ...stored, rejection, position: null, isRedacted: false });
  return { result: { outcome: softFailed ? 'soft_failed' : 'rejected', rule, reason }, committed };
}

async function placeAtHead(parts: PlacingParts, arrival: Arrival): Promise<Placed> {
  const { turn, batch, received, nid, authNids, before } = arrival;
  const { stateNid, cited } = before;
  const head = cited.length === 0 || stateNid === null ? turn.head : addCited(turn.head, cited, stateNid);
  let chain = head === turn.head ? turn.chain : undefined;
  if (received.event.stateKey !== undefined && stateNid !== null) chain ??= await loadChain(parts.database, stateNid);
  const redaction = await findPendingRedaction(parts, arrival);
  const placed = await placeEvent(
    { head, chain },
    {
      nid,
      event: redaction === undefined ? received.event : redactEvent(received.event, batch.version),
      text: received.text,
      referenceHash: received.referenceHash,
      authNids,
      transaction: undefined,
      redacts: findRedacted(arrival),
      snapshotNids: parts.writing.snapshotNids,
    },
  );
  const introduced = await introduce(parts, arrival);
  turn.advance([placed.event], placed.chain);
  return accept(parts, arrival, { row: withRedaction(placed.event.row, redaction), introduced, changes: [] });
}

function addCited(head: RoomSnapshot, cited: readonly StateEntry[], stateNid: number): RoomSnapshot {
  let snapshot = head;
  for (const entry of cited) snapshot = snapshot.withState(entry);
  return snapshot.withStateNid(stateNid);
}

/** Whoever follows the stream hears of members before it hears from them. */
async function introduce({ database }: PlacingParts, { batch, before }: Arrival): Promise<readonly Fact[]> {
  if (before.cited.length === 0) return [];
  const nids = before.cited.map(({ nid }) => nid);
  const stored = await loadEventsByNid(database, batch.version, nids);
  return stored.map((after) => {
    const { type, stateKey = '' } = after.event;
    return toStateChangeFact(batch.roomId, { type, stateKey, before: undefined, after });
  });
}

async function accept(parts: PlacingParts, arrival: Arrival, accepted: AcceptedEvent): Promise<Placed> {
  const { row, introduced = [], changes } = accepted;
  const { turn, batch, received, nid } = arrival;
  const { event } = received;
  const { stateBefore, stateAfter } = row.stored;
  const isAfterGap = event.prevEvents.some((id) => !isInGraph(batch.known.get(id)));
  const transaction = batch.transactions.get(event.eventId);
  const stored = { ...row.stored, transaction };
  const written = { ...row, stored, transaction, isOutgoing: batch.outgoing.get(event.eventId) };
  const own = isAfterGap ? afterGap(written) : ({ table: pduStream, row: written } as Fact);
  const facts = [...introduced, own, ...changes];
  const committed = parts.writing.commit(turn.actor, { facts, also: alsoWritten(arrival, row) });
  batch.known.set(event.eventId, {
    nid,
    event,
    stateBefore,
    stateAfter,
    rejection: undefined,
    softFailed: false,
    outlier: false,
    // Where exactly only the committer will say; that it has a place is all that is asked.
    position: 0,
    isRedacted: row.redactedByNid !== undefined,
  });
  batch.redacted.set(event.eventId, row.stored);
  return { result: { outcome: 'accepted' }, committed };
}

function alsoWritten({ batch, received, nid }: Arrival, row: PduRow): CommitUnit['also'] {
  const { roomId, known, referenced, pendingRedactions } = batch;
  const { event } = received;
  const { eventId, redacts } = event;
  const missing = event.prevEvents.filter((id) => !isInGraph(known.get(id)));
  const wasOutlier = known.get(eventId)?.outlier === true || row.stored.sidelined === true;
  return async (tx) => {
    const writes: Promise<unknown>[] = [];
    if (wasOutlier) writes.push(deleteOutliers(tx, [nid]));
    if (missing.length > 0) {
      const references = missing.map((id) => ({ eventId: id, referencedBy: nid }));
      writes.push(insertBackwardExtremities(tx, roomId, references));
    }
    if (referenced.has(eventId)) writes.push(deleteBackwardExtremities(tx, roomId, [eventId]));
    if (redacts !== undefined && !batch.redacted.has(redacts)) {
      writes.push(insertPendingRedaction(tx, { roomId, redacts, redactionNid: nid }));
    }
    if (pendingRedactions.has(eventId)) writes.push(deletePendingRedactions(tx, roomId, eventId));
    await Promise.all(writes);
  };
}
