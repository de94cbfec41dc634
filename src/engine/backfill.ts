/**
 * What lies in a gap of a room's timeline: history from before a join of ours, or what we missed, fetched from servers in
 * the room when somebody reads that far. Its events are put right before the one after the gap, where positions were kept
 * free for them; they change nothing about what is current. Who may see them is decided as for any other event, by the state
 * at each (docs/adr/0021-gaps.md).
 *
 * Invariants: one backfill of a room at a time; a page is in the order of the graph, and the rest of the gap lies before it;
 * what its auth events or the state before it do not allow is kept as rejected.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
 */
import type { KeyedQueue } from '../lib/keyed-queue.ts';
import { checkAuth } from '../protocol/auth-rules.ts';
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { StateEvent, StateView } from '../protocol/pdu.ts';
import {
  type BackfilledEvent,
  insertBackfilled,
  loadGap,
  moveGap,
  type TimelineGap,
  updateRedactedBy,
} from '../storage/backfilled.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { insertRelations } from '../storage/event-relations.ts';
import {
  deleteBackwardExtremities,
  deleteOutliers,
  insertBackwardExtremities,
  insertPendingRedaction,
  insertUnplaced,
  type UnplacedEvent,
} from '../storage/received-events.ts';
import { listStateEntries } from '../storage/state.ts';
import { admitPdus, admitted } from './admit-pdus.ts';
import { findPendingRedaction } from './arrival.ts';
import { connected, createGapFiller, type GapFiller } from './fill-gaps.ts';
import { judgeByAuthEvents, keysToJudge, viewOf } from './judge-received.ts';
import { otherServers } from './local-members.ts';
import type { NidSource } from './nid-source.ts';
import type { ReceivedEvent } from './parse-received.ts';
import type { PduVerifier, RemoteRooms } from './ports.ts';
import {
  createBatch,
  isInGraph,
  loadIntoBatch,
  loadKnown,
  type ReceivedBatch,
  sortTopologically,
} from './received-batch.ts';
import type { RoomSnapshot } from './room-snapshot.ts';
import type { StateResolver } from './state-resolver.ts';
import type { RoomEngine } from './types.ts';

/** Of one page: what others give at most, and a screen or five of a client. */
const MAX_PAGE = 100;
/** Ends of one gap asked about at once. */
const MAX_ENDS = 20;
const MAX_SERVERS = 3;
/** Gaps with fewer positions left are not split any more: a page has to fit on either side. */
const MIN_SPLIT = 1_000;

export interface Backfilled {
  /** Events that the timeline has more than before. */
  readonly added: number;
  /** Whether something is still missing there: before the event at the position `gap`. */
  readonly gap: number | undefined;
}

export interface Backfiller {
  /** Fetches a page of what is missing before the event at this position; nothing where nobody gives any. */
  backfill(roomId: RoomId, gap: { readonly position: number; readonly limit: number }): Promise<Backfilled>;
  /** Puts a single event into the middle of a gap, so that it can be read on from; whether it is there now. */
  takeEvent(roomId: RoomId, wanted: EventInGap): Promise<boolean>;
}

/** An event that lies somewhere in a gap, and who has it. */
export interface EventInGap {
  /** Of the event after the gap. */
  readonly position: number;
  readonly eventId: EventId;
  readonly server: ServerName;
}

export interface BackfillerOptions {
  readonly database: Database;
  readonly engine: Pick<RoomEngine, 'loadSnapshot' | 'loadWhole'>;
  readonly eventNids: NidSource;
  readonly resolver: StateResolver;
  readonly verifier: PduVerifier;
  readonly remote: RemoteRooms;
  readonly serverName: ServerName;
  readonly writerId: number;
  /** Shared by all that take in events of other servers: one of them at a time works on a room. */
  readonly receiving: KeyedQueue<RoomId>;
}

export function createBackfiller(options: BackfillerOptions): Backfiller {
  const parts = { ...options, gaps: createGapFiller(options) };
  // The state in the past of a room that lacks members would be fetched twice.
  const whenWhole = async <T>(roomId: RoomId, work: () => Promise<T>): Promise<T> => {
    await options.engine.loadWhole(roomId);
    return options.receiving.run(roomId, work);
  };
  return {
    backfill: (roomId, gap) => whenWhole(roomId, () => backfillAlone(parts, roomId, gap)),
    takeEvent: (roomId, wanted) => whenWhole(roomId, () => takeEventAlone(parts, roomId, wanted)),
  };
}

interface Parts extends BackfillerOptions {
  readonly gaps: GapFiller;
}

async function backfillAlone(
  parts: Parts,
  roomId: RoomId,
  { position, limit }: { readonly position: number; readonly limit: number },
): Promise<Backfilled> {
  const snapshot = await parts.engine.loadSnapshot(roomId);
  const gap = await loadGap(parts.database, { roomId, position, limit: MAX_ENDS });
  if (snapshot === undefined || gap === undefined) return { added: 0, gap: undefined };
  const batch = createBatch(snapshot);
  await loadKnown(parts.database, batch, gap.ends);
  const ends = gap.ends.filter((id) => !isInGraph(batch.known.get(id)));
  if (ends.length === 0) {
    await parts.database.transaction((tx) => closeEnds(tx, { roomId, gap, reached: gap.ends, lowest: position }));
    return { added: 0, gap: await stillOpen(parts, roomId, position) };
  }
  for (const server of otherServers(snapshot, new Set([parts.serverName]), MAX_SERVERS)) {
    const page = { snapshot, server, gap: { ...gap, ends }, limit: Math.min(limit, MAX_PAGE, gap.room) };
    const added = await takeFrom(parts, page);
    if (added > 0) return { added, gap: await stillOpen(parts, roomId, position - added) };
  }
  return { added: 0, gap: position };
}

async function takeEventAlone(parts: Parts, roomId: RoomId, wanted: EventInGap): Promise<boolean> {
  const { position, eventId, server } = wanted;
  const snapshot = await parts.engine.loadSnapshot(roomId);
  const gap = await loadGap(parts.database, { roomId, position, limit: 1 });
  if (snapshot === undefined || gap === undefined || gap.room < MIN_SPLIT) return false;
  const value = await parts.remote.fetchEvent({ server, roomId, eventId }).catch(() => undefined);
  const found = value === undefined ? [] : admitted(await admitPdus(parts.verifier, snapshot, [value]));
  if (found[0]?.event.eventId !== eventId) return false;
  const batch = createBatch(snapshot);
  await loadIntoBatch(parts.database, batch, found);
  if (isInGraph(batch.known.get(eventId))) return true;
  await parts.gaps.support({ batch, snapshot, origin: server }, found);
  const judged = await judgeAll(parts, { batch, create: snapshot.get('m.room.create', '') }, found);
  const middle = position - Math.floor(gap.room / 2);
  await store(parts, { batch, gap: { ...gap, position: middle } }, judged);
  return judged.accepted.length > 0;
}

async function stillOpen({ database }: Parts, roomId: RoomId, position: number): Promise<number | undefined> {
  return (await loadGap(database, { roomId, position, limit: 1 })) === undefined ? undefined : position;
}

interface Page {
  readonly snapshot: RoomSnapshot;
  readonly server: ServerName;
  readonly gap: TimelineGap;
  readonly limit: number;
}

async function takeFrom(parts: Parts, { snapshot, server, gap, limit }: Page): Promise<number> {
  const { roomId } = snapshot;
  const values = await parts.remote.fetchBackfill({ server, roomId, from: gap.ends, limit }).catch(() => []);
  const found = admitted(await admitPdus(parts.verifier, snapshot, values.slice(0, limit)));
  const batch = createBatch(snapshot);
  await loadIntoBatch(parts.database, batch, found);
  // What lies behind an event that we have is history of another place.
  const known = new Set(found.map(({ event }) => event.eventId).filter((id) => isInGraph(batch.known.get(id))));
  const page = connected(found, { missing: gap.ends, known });
  if (page.length === 0) return 0;
  await parts.gaps.support({ batch, snapshot, origin: server }, page);
  const judged = await judgeAll(parts, { batch, create: snapshot.get('m.room.create', '') }, sortTopologically(page));
  await store(parts, { batch, gap }, judged);
  return judged.accepted.length;
}

interface Judged {
  readonly accepted: readonly BackfilledEvent[];
  readonly rejected: readonly UnplacedEvent[];
}

interface Judging {
  readonly batch: ReceivedBatch;
  readonly create: StateEvent | undefined;
}

async function judgeAll(parts: Parts, judging: Judging, sorted: readonly ReceivedEvent[]): Promise<Judged> {
  const { batch } = judging;
  const accepted: BackfilledEvent[] = [];
  const rejected: UnplacedEvent[] = [];
  for (const received of sorted) {
    const judged = await judge(parts, judging, received);
    if (judged === undefined) continue;
    if (judged.rejection === undefined) accepted.push(judged);
    else rejected.push(judged);
    batch.known.set(received.event.eventId, { ...judged, position: null, isRedacted: false });
  }
  return { accepted, rejected };
}

/** Undefined where the state before it, or an auth event, could not be had. */
async function judge(
  parts: Parts,
  { batch, create }: Judging,
  received: ReceivedEvent,
): Promise<BackfilledEvent | undefined> {
  const { event, text } = received;
  const { version, known } = batch;
  const authEvents = event.authEvents.flatMap((id) => known.get(id) ?? []);
  const before = await stateBefore(parts, batch, received);
  if (authEvents.length < event.authEvents.length || before === undefined) return undefined;
  const byAuthEvents = judgeByAuthEvents(event, { version, authEvents, create });
  const verdict = byAuthEvents.allowed ? checkAuth(event, before.view, version) : byAuthEvents;
  const nid = known.get(event.eventId)?.nid ?? (await parts.eventNids.take());
  const replaced = event.stateKey === undefined ? undefined : before.view.get(event.type, event.stateKey);
  return {
    nid,
    event,
    pduText: text,
    stateBefore: before.stateNid,
    stateAfter: verdict.allowed ? await stateAfter(parts, batch, { received, nid, before }) : before.stateNid,
    authNids: authEvents.map((one) => one.nid),
    outlier: false,
    softFailed: false,
    rejection: verdict.allowed ? undefined : verdict.rule,
    replacesNid: replaced !== undefined && 'nid' in replaced && typeof replaced.nid === 'number' ? replaced.nid : null,
  };
}

interface Before {
  /** Null before the create event. */
  readonly stateNid: number | null;
  readonly view: StateView;
}

async function stateBefore(
  { database, resolver }: Parts,
  batch: ReceivedBatch,
  { event }: ReceivedEvent,
): Promise<Before | undefined> {
  if (event.prevEvents.length === 0) return { stateNid: null, view: viewOf([]) };
  const states = event.prevEvents.map((id) => batch.known.get(id)?.stateAfter ?? undefined);
  const nids = states.filter((nid) => nid !== undefined);
  if (nids.length < states.length) return undefined;
  const { roomId, version } = batch;
  const stateNid = await resolver.resolve(batch, nids);
  const own = event.stateKey === undefined ? [] : [{ type: event.type, stateKey: event.stateKey }];
  const keys = [...keysToJudge(event, version), ...own];
  return {
    stateNid,
    view: viewOf(await listStateEntries(database, { roomId, version, snapshotNids: [stateNid], keys })),
  };
}

interface NewState {
  readonly received: ReceivedEvent;
  readonly nid: number;
  readonly before: Before;
}

/** A state event is there as an outlier before a state refers to it. */
async function stateAfter(
  { database, resolver }: Parts,
  batch: ReceivedBatch,
  { received, nid, before }: NewState,
): Promise<number | null> {
  const { event, text } = received;
  if (event.stateKey === undefined) return before.stateNid;
  const state = { nid, type: event.type, stateKey: event.stateKey };
  const outlier = { nid, event, pduText: text, authNids: batchNids(batch, event.authEvents), outlier: true };
  const unknown = { stateBefore: null, stateAfter: null, softFailed: false, rejection: undefined };
  await insertUnplaced(database, [{ ...outlier, ...unknown }]);
  return before.stateNid === null ? resolver.create(batch, [state]) : resolver.extend(batch, before.stateNid, state);
}

function batchNids({ known }: ReceivedBatch, eventIds: readonly EventId[]): readonly number[] {
  return eventIds.flatMap((id) => known.get(id)?.nid ?? []);
}

interface Storing {
  readonly batch: ReceivedBatch;
  readonly gap: TimelineGap;
}

async function store({ database, writerId }: Parts, { batch, gap }: Storing, judged: Judged): Promise<void> {
  const { roomId, version, known } = batch;
  const { accepted, rejected } = judged;
  const all = [...accepted, ...rejected];
  const lowest = gap.position - accepted.length;
  const missing = all.flatMap(({ nid, event, rejection }) =>
    event.prevEvents
      .filter((id) => !isInGraph(known.get(id)))
      // What was rejected has no place in the timeline: what it follows is missing from the gap all the same.
      .map((eventId) => ({ eventId, referencedBy: rejection === undefined ? nid : gap.nid })),
  );
  const redactions = await matchRedactions(database, batch, accepted);
  const placed = accepted.map((event, index) => ({
    writerId,
    position: lowest + index,
    row: { stored: { ...event, version, replaces: undefined, redactedBecause: undefined, transaction: undefined } },
  }));
  await database.transaction(async (tx) => {
    await deleteOutliers(
      tx,
      all.map(({ nid }) => nid),
    );
    await Promise.all([
      insertBackfilled(tx, { roomId, writerId, position: gap.position }, accepted),
      insertUnplaced(tx, rejected),
      insertRelations(tx, placed),
      insertBackwardExtremities(tx, roomId, missing),
      updateRedactedBy(tx, redactions.applied),
      ...redactions.waiting.map((pending) => insertPendingRedaction(tx, { roomId, ...pending })),
    ]);
    await closeEnds(tx, { roomId, gap, reached: all.map(({ event }) => event.eventId), lowest });
  });
}

interface Closing {
  readonly roomId: RoomId;
  readonly gap: TimelineGap;
  /** What is no longer missing. */
  readonly reached: readonly EventId[];
  /** The position of the first event after what is still missing. */
  readonly lowest: number;
}

/** Moves the gap before the lowest event; closes it where nothing is missing any more, or no position is left. */
async function closeEnds(tx: Transaction, { roomId, gap, reached, lowest }: Closing): Promise<void> {
  await deleteBackwardExtremities(tx, roomId, reached);
  if (lowest !== gap.position) await moveGap(tx, roomId, { from: gap.position, to: lowest });
  const rest = await loadGap(tx, { roomId, position: lowest, limit: 1 });
  if (rest?.ends.length === 0 || rest?.room === 0) await moveGap(tx, roomId, { from: lowest, to: undefined });
}

interface MatchedRedactions {
  readonly applied: readonly { readonly nid: number; readonly by: number }[];
  /** Of events that lie still further back. */
  readonly waiting: readonly { readonly redacts: EventId; readonly redactionNid: number }[];
}

/** Redactions were here before what they redact, or come with it. */
async function matchRedactions(
  database: Database,
  batch: ReceivedBatch,
  accepted: readonly BackfilledEvent[],
): Promise<MatchedRedactions> {
  const waiting: { redacts: EventId; redactionNid: number }[] = [];
  for (const { nid, event } of accepted) {
    const { redacts } = event;
    const redaction = batch.known.get(event.eventId);
    if (redacts === undefined || redaction === undefined) continue;
    batch.pendingRedactions.set(redacts, [...(batch.pendingRedactions.get(redacts) ?? []), redaction]);
    if (!isInGraph(batch.known.get(redacts))) waiting.push({ redacts, redactionNid: nid });
  }
  const applied: { nid: number; by: number }[] = [];
  for (const { nid, event } of accepted) {
    if (!batch.pendingRedactions.has(event.eventId)) continue;
    const redaction = await findPendingRedaction({ database }, { batch, nid, received: { event } });
    if (redaction !== undefined) applied.push({ nid, by: redaction.nid });
  }
  return { applied, waiting };
}
