/**
 * One event of another server on its way into its room, with what was found out for it: the words that judging and placing
 * share, and which redactions concern it.
 */
import type { StateView } from '../protocol/pdu.ts';
import type { Database } from '../storage/database.ts';
import type { StoredEvent } from '../storage/events.ts';
import type { PduRow } from '../storage/pdu-stream.ts';
import type { KnownEvent } from '../storage/received-events.ts';
import { listStateEntries } from '../storage/state.ts';
import type { Fact } from '../streams/committer.ts';
import { viewOf } from './judge-received.ts';
import type { ReceivedEvent } from './parse-received.ts';
import type { Policing } from './policing.ts';
import type { ReceivedBatch } from './received-batch.ts';
import { appliedRedaction } from './redactions.ts';
import type { Turn } from './room-actor.ts';
import type { StateEntry } from './room-snapshot.ts';
import type { RoomWriting } from './room-writing.ts';
import type { StateResolver } from './state-resolver.ts';

export interface PlacingParts {
  readonly database: Database;
  readonly writing: RoomWriting;
  readonly resolver: StateResolver;
  readonly policing: Pick<Policing, 'isRecommended'>;
}

export type Outcome =
  | { readonly outcome: 'accepted' }
  | { readonly outcome: 'soft_failed'; readonly rule: string; readonly reason: string }
  | { readonly outcome: 'rejected'; readonly rule: string; readonly reason: string }
  | { readonly outcome: 'dropped'; readonly reason: string }
  /** It was here before. */
  | { readonly outcome: 'known' };

export interface Placed {
  readonly result: Outcome;
  /** Resolves when it is in the database. */
  readonly committed: Promise<unknown>;
}

/** One event on its way into the room. */
export interface Arrival {
  readonly turn: Turn;
  readonly batch: ReceivedBatch;
  readonly received: ReceivedEvent;
  readonly nid: number;
  readonly authNids: readonly number[];
  readonly before: StateBefore;
}

export interface StateBefore {
  /** Null before the first event only. */
  readonly stateNid: number | null;
  /** Holds at least what judging the event reads. */
  readonly view: StateView;
  /** The event follows every forward extremity. */
  readonly isAtHead: boolean;
  /** Members of a partial room that only the event's auth events tell of; part of this state. */
  readonly cited: readonly StateEntry[];
}

/** What a decision about an accepted event leaves to be written. */
export interface AcceptedEvent {
  readonly row: PduRow;
  /** Written before the event. */
  readonly introduced?: readonly Fact[];
  /** Written behind it. */
  readonly changes: readonly Fact[];
}

/** The event of this room on which the received one takes effect as a redaction. */
export function findRedacted({ batch, received, before }: Arrival): StoredEvent | undefined {
  const { event } = received;
  const target = event.redacts === undefined ? undefined : batch.redacted.get(event.redacts);
  if (target === undefined) return undefined;
  const state = { version: batch.version, get: before.view.get.bind(before.view) };
  const applied = appliedRedaction(event, target, state);
  if (applied !== undefined) batch.redacted.set(applied.event.eventId, { ...applied, redactedBecause: event });
  return applied;
}

/** The first of the redactions that came before the event and that its room allows. */
export async function findPendingRedaction(
  { database }: Pick<PlacingParts, 'database'>,
  { batch, received, nid }: Pick<Arrival, 'batch' | 'nid'> & { readonly received: Pick<ReceivedEvent, 'event'> },
): Promise<KnownEvent | undefined> {
  const { roomId, version } = batch;
  const target = { nid, event: received.event, redactedBecause: undefined };
  for (const redaction of batch.pendingRedactions.get(received.event.eventId) ?? []) {
    const snapshotNids = redaction.stateBefore === null ? [] : [redaction.stateBefore];
    const wanted = { roomId, version, snapshotNids, keys: KEYS_OF_LEVELS };
    const view = viewOf(await listStateEntries(database, wanted));
    if (appliedRedaction(redaction.event, target, { version, get: view.get }) !== undefined) return redaction;
  }
  return undefined;
}

const KEYS_OF_LEVELS = ['m.room.create', 'm.room.power_levels'].map((type) => ({ type, stateKey: '' }));

export function withRedaction(row: PduRow, redaction: KnownEvent | undefined): PduRow {
  if (redaction === undefined) return row;
  return { ...row, redactedByNid: redaction.nid, stored: { ...row.stored, redactedBecause: redaction.event } };
}
