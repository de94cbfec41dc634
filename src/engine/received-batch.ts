/**
 * What is known while events of one room are received: loaded in a fixed number of statements for all of them, and kept
 * up to date as they are accepted, so that each is judged with what those before it became.
 */
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from '../storage/database.ts';
import { type ClientTransaction, loadEventsById, type StoredEvent } from '../storage/events.ts';
import {
  type KnownEvent,
  listBackwardExtremities,
  listPendingRedactions,
  loadKnownEvents,
  loadKnownOfRooms,
} from '../storage/received-events.ts';
import type { ReceivedEvent } from './parse-received.ts';

export interface ReceivedBatch {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  /** Whether this server sends the events to the others in the room, where it is not as their senders say. */
  readonly outgoing: ReadonlyMap<EventId, boolean>;
  /** Of events of ours that take this way: what their clients sent them with. */
  readonly transactions: ReadonlyMap<EventId, ClientTransaction>;
  /** Stored events of any room by id: those received, their auth and prev events. */
  readonly known: Map<EventId, KnownEvent>;
  /** Events that others of the room refer to already: they came late, and the room has gone on without them. */
  readonly referenced: Set<EventId>;
  /** Redactions that came before what they redact, by what they redact. */
  readonly pendingRedactions: Map<EventId, KnownEvent[]>;
  /** Events of the room that redactions among those received name. */
  readonly redacted: Map<EventId, StoredEvent>;
  /** Resolves when all that was decided about the batch so far is in the database. */
  committed: Promise<unknown>;
}

export function createBatch(
  { roomId, version }: Pick<ReceivedBatch, 'roomId' | 'version'>,
  { outgoing = new Map(), transactions = new Map() }: Partial<Pick<ReceivedBatch, 'outgoing' | 'transactions'>> = {},
): ReceivedBatch {
  return {
    roomId,
    version,
    outgoing,
    transactions,
    known: new Map(),
    referenced: new Set(),
    pendingRedactions: new Map(),
    redacted: new Map(),
    committed: Promise.resolve(),
  };
}

/** Events that are about to be received. */
export interface Loading {
  readonly batch: ReceivedBatch;
  readonly received: readonly ReceivedEvent[];
}

/** Loads what receiving these events needs to know. */
export function loadIntoBatch(tx: Transaction, batch: ReceivedBatch, received: readonly ReceivedEvent[]) {
  return loadIntoBatches(tx, [{ batch, received }]);
}

/** The same for several rooms at once. */
export async function loadIntoBatches(tx: Transaction, loadings: readonly Loading[]): Promise<void> {
  const own = loadings.map(({ batch, received }) => ({
    ...batch,
    eventIds: received.map(({ event }) => event.eventId),
  }));
  const all = loadings.map(({ batch, received }) => ({
    ...batch,
    eventIds: missingIn(batch, received.flatMap(namedBy)),
  }));
  const [known, referenced, redactions] = await Promise.all([
    loadKnownOfRooms(tx, all),
    listBackwardExtremities(tx, own),
    listPendingRedactions(tx, own),
  ]);
  for (const [index, { batch }] of loadings.entries()) {
    for (const one of known[index] ?? []) batch.known.set(one.event.eventId, one);
    for (const id of referenced.get(batch.roomId) ?? []) batch.referenced.add(id);
    const byRedacted = Map.groupBy(redactions[index] ?? [], ({ redacts }) => redacts);
    for (const [eventId, pending] of byRedacted) batch.pendingRedactions.set(eventId, pending);
  }
  await Promise.all(loadings.map((loading) => loadRedacted(tx, loading)));
}

function namedBy({ event }: ReceivedEvent): readonly EventId[] {
  return [event.eventId, ...event.authEvents, ...event.prevEvents];
}

function missingIn(batch: ReceivedBatch, eventIds: readonly EventId[]): readonly EventId[] {
  return [...new Set(eventIds)].filter((id) => !batch.known.has(id));
}

/** Redactions are rare: rooms without any cost nothing here. */
async function loadRedacted(
  tx: Transaction,
  { batch: { roomId, version, redacted }, received }: Loading,
): Promise<void> {
  const targets = received.flatMap(({ event }) => event.redacts ?? []);
  if (targets.length === 0) return;
  for (const stored of await loadEventsById(tx, { roomId, version }, targets)) {
    redacted.set(stored.event.eventId, stored);
  }
}

/** Loads those of the events that the batch does not hold yet. */
export async function loadKnown(tx: Transaction, batch: ReceivedBatch, eventIds: readonly EventId[]): Promise<void> {
  const missing = missingIn(batch, eventIds);
  if (missing.length === 0) return;
  for (const known of await loadKnownEvents(tx, batch.version, missing)) batch.known.set(known.event.eventId, known);
}

/** Whether the event has its place in the room's graph: an outlier has none. */
export function isInGraph(known: KnownEvent | undefined): boolean {
  return known !== undefined && !known.outlier;
}

interface Referring {
  readonly event: Pick<ReceivedEvent['event'], 'eventId' | 'prevEvents' | 'authEvents'>;
}

/** Ancestors before descendants, otherwise in the order given; without recursion, since a peer chooses the depth. */
export function sortTopologically<T extends Referring>(received: readonly T[]): readonly T[] {
  const byId = new Map(received.map((one) => [one.event.eventId, one]));
  const sorted: T[] = [];
  const state = new Map<EventId, 'open' | 'done'>();
  for (const root of received) {
    const stack = [root];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const { eventId, prevEvents, authEvents } = top.event;
      if (state.get(eventId) === undefined) {
        state.set(eventId, 'open');
        const before = [...prevEvents, ...authEvents].flatMap((id) => byId.get(id) ?? []);
        stack.push(...before.filter(({ event }) => state.get(event.eventId) === undefined));
        continue;
      }
      if (state.get(eventId) === 'open') {
        state.set(eventId, 'done');
        sorted.push(top);
      }
      stack.pop();
    }
  }
  return sorted;
}
