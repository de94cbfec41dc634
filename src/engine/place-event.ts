/**
 * Puts an event that the rules allow at the head of a room: it follows every forward extremity, so a state event is
 * current at once, and the room is linear after it. Gives the room as it is then, and the rows that record it.
 */
import type { Event } from '../protocol/pdu.ts';
import { MAX_DEPTH } from '../protocol/pdu-format.ts';
import type { ClientTransaction, ReplacedState, TimelineEvent } from '../storage/events.ts';
import { type PduRow, pduStream } from '../storage/pdu-stream.ts';
import type { Fact } from '../streams/committer.ts';
import type { NidSource } from './nid-source.ts';
import { withoutRedacted } from './redactions.ts';
import type { RoomSnapshot, StateEntry } from './room-snapshot.ts';
import { type DeltaChange, extendChain, type StateChain } from './state-chain.ts';

/**
 * Kept free before an event that others are missing before. So many gaps fit into the positions that there are that nobody
 * uses them up by making gaps, and no gap that a room of today could have is larger.
 */
const GAP_POSITIONS = 2 ** 24;

/** The fact of an event that follows events which we lack (docs/adr/0021-gaps.md). */
export function afterGap(row: PduRow): Fact {
  const marked: PduRow = { ...row, stored: { ...row.stored, afterGap: true } };
  return { table: pduStream, row: marked, reserved: GAP_POSITIONS } as Fact;
}

export interface RoomDraft {
  readonly head: RoomSnapshot;
  /** Undefined only while no state event is decided. */
  readonly chain: StateChain | undefined;
}

export interface DecidedEvent {
  readonly nid: number;
  readonly snapshot: RoomSnapshot;
  readonly row: PduRow;
}

export interface PlacedEvent {
  readonly event: DecidedEvent;
  readonly chain: StateChain | undefined;
}

export interface Placing {
  readonly nid: number;
  readonly event: Event;
  /** The canonical JSON to be stored. */
  readonly text: string;
  readonly referenceHash: string | undefined;
  readonly authNids: readonly number[];
  readonly transaction: ClientTransaction | undefined;
  /** The event on which this one takes effect as a redaction. */
  readonly redacts: Pick<TimelineEvent, 'nid' | 'event'> | undefined;
  readonly snapshotNids: NidSource;
}

export async function placeEvent(draft: RoomDraft, placing: Placing): Promise<PlacedEvent> {
  const { head } = draft;
  const { event, nid, text, referenceHash, redacts, transaction } = placing;
  const placed = await placeState(draft, placing);
  const { eventId, prevEvents, depth } = event;
  const stateAfter = placed.snapshot.parts.stateNid;
  const moved = placed.snapshot
    .inRoom(event.roomId)
    .withExtremity({ eventId, nid, stateAfter, prevEvents, depth: Math.min(depth, MAX_DEPTH), referenceHash });
  const snapshot = redacts === undefined ? moved : withoutRedacted(moved, redacts);
  const replaced = event.stateKey === undefined ? undefined : head.get(event.type, event.stateKey);
  const row: PduRow = {
    stored: {
      nid,
      event,
      version: head.version,
      stateBefore: head.parts.stateNid,
      stateAfter,
      replaces: replaced === undefined ? undefined : toReplaced(replaced),
      redactedBecause: undefined,
      transaction,
      rendered: {},
    },
    pduText: text,
    replacesNid: replaced?.nid ?? null,
    state: placed.state,
    head: toHead(snapshot),
    transaction,
    redacts: redacts === undefined ? undefined : { nid: redacts.nid, eventId: redacts.event.eventId },
    authNids: event.stateKey === undefined ? undefined : placing.authNids,
  };
  return { event: { nid, snapshot, row }, chain: placed.chain };
}

interface PlacedState {
  readonly snapshot: RoomSnapshot;
  readonly chain: StateChain | undefined;
  readonly state: PduRow['state'];
}

async function placeState({ head, chain }: RoomDraft, placing: Placing): Promise<PlacedState> {
  const { event, nid } = placing;
  const entry = toEntry(placing);
  if (entry === undefined) return { snapshot: head, chain, state: undefined };
  if (chain === undefined) throw new Error('the chain is loaded before a state event is decided');
  const snapshotNid = await placing.snapshotNids.take();
  const change: DeltaChange = { added: nid, removed: head.get(entry.type, entry.stateKey)?.nid };
  const step = extendChain(chain, snapshotNid, new Map([[`${entry.type}\u0000${entry.stateKey}`, change]]));
  return {
    snapshot: head.withState(entry).withStateNid(snapshotNid),
    chain: step.chain,
    state: { snapshot: step.snapshot, membership: membershipOf(event) },
  };
}

/** What the room remembers of a state event; undefined for any other. */
export function toEntry({
  event,
  nid,
  referenceHash,
}: Pick<Placing, 'event' | 'nid' | 'referenceHash'>): StateEntry | undefined {
  const { eventId, type, stateKey, sender, content, originServerTs } = event;
  if (stateKey === undefined) return undefined;
  const base = { nid, eventId, type, stateKey, sender, content, originServerTs };
  return referenceHash === undefined ? base : { ...base, referenceHash };
}

function membershipOf({ type, content }: Event): string | undefined {
  const membership = type === 'm.room.member' ? content['membership'] : undefined;
  return typeof membership === 'string' ? membership : undefined;
}

export function toReplaced({ eventId, sender, content }: ReplacedState): ReplacedState {
  return { eventId, sender, content };
}

export function toHead(snapshot: RoomSnapshot): PduRow['head'] {
  const { stateNid, extremities, depth } = snapshot.parts;
  if (stateNid === null) throw new Error('the first event of a room is its create event');
  return {
    roomId: snapshot.roomId,
    forwardExtremities: extremities.map(({ nid }) => nid),
    stateSnapshot: stateNid,
    depth,
  };
}
