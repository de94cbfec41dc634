/**
 * What is known while events of one room are received: loaded in a fixed number of statements for all of them, and kept
 * up to date as they are accepted, so that each is judged with what those before it became.
 */
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from '../storage/database.ts';
import { loadEventsById, type StoredEvent } from '../storage/events.ts';
import {
  type KnownEvent,
  listBackwardExtremities,
  listPendingRedactions,
  loadKnownEvents,
} from '../storage/received-events.ts';
import type { ReceivedEvent } from './parse-received.ts';

export interface ReceivedBatch {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  /** Whether this server sends the events to the others in the room, where it is not as their senders say. */
  readonly outgoing: ReadonlyMap<EventId, boolean>;
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
  outgoing: ReadonlyMap<EventId, boolean> = new Map(),
): ReceivedBatch {
  return {
    roomId,
    version,
    outgoing,
    known: new Map(),
    referenced: new Set(),
    pendingRedactions: new Map(),
    redacted: new Map(),
    committed: Promise.resolve(),
  };
}

/** Loads what receiving these events needs to know. */
export async function loadIntoBatch(
  tx: Transaction,
  batch: ReceivedBatch,
  received: readonly ReceivedEvent[],
): Promise<void> {
  const { roomId, version } = batch;
  const eventIds = received.map(({ event }) => event.eventId);
  await loadKnown(
    tx,
    batch,
    received.flatMap(({ event }) => [event.eventId, ...event.authEvents, ...event.prevEvents]),
  );
  for (const id of await listBackwardExtremities(tx, roomId, eventIds)) batch.referenced.add(id);
  for (const redaction of await listPendingRedactions(tx, batch, eventIds)) {
    batch.pendingRedactions.set(redaction.redacts, [
      ...(batch.pendingRedactions.get(redaction.redacts) ?? []),
      redaction,
    ]);
  }
  const targets = received.flatMap(({ event }) => event.redacts ?? []);
  if (targets.length === 0) return;
  for (const stored of await loadEventsById(tx, { roomId, version }, targets)) {
    batch.redacted.set(stored.event.eventId, stored);
  }
}

/** Loads those of the events that the batch does not hold yet. */
export async function loadKnown(tx: Transaction, batch: ReceivedBatch, eventIds: readonly EventId[]): Promise<void> {
  const missing = [...new Set(eventIds)].filter((id) => !batch.known.has(id));
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
