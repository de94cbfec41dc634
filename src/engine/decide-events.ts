/**
 * What happens in a room's turn: templates become events on top of the head, each judged by the authorization rules, and
 * the rows that record them. Nothing is written here and nothing read: either all are decided, or the first refusal is
 * thrown and the room stays as it was.
 */

import type { Random } from '../lib/random.ts';
import { checkAuth } from '../protocol/auth-rules.ts';
import { checkCanonical } from '../protocol/canonical-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName } from '../protocol/ids.ts';
import { serverNameOf } from '../protocol/ids.ts';
import type { Event } from '../protocol/pdu.ts';
import { canRedact } from '../protocol/power-levels.ts';
import type { SigningKey } from '../protocol/signing.ts';
import { type ClientTransaction, type ReplacedState, redactEvent, type TimelineEvent } from '../storage/events.ts';
import type { PduRow } from '../storage/pdu-stream.ts';
import { buildEvent } from './build-pdu.ts';
import type { NidSource } from './nid-source.ts';
import type { RoomSnapshot, StateEntry } from './room-snapshot.ts';
import { type DeltaChange, extendChain, type StateChain } from './state-chain.ts';
import type { EventTemplate } from './types.ts';

export interface DecideContext {
  readonly serverName: ServerName;
  readonly key: SigningKey;
  readonly random: Random;
  readonly now: number;
  readonly eventNids: NidSource;
  readonly snapshotNids: NidSource;
  readonly transaction: ClientTransaction | undefined;
  /** The event that a redaction among the templates names, where this room has it. */
  readonly redacted: TimelineEvent | undefined;
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

export interface Decision {
  readonly events: readonly DecidedEvent[];
  readonly chain: StateChain | undefined;
}

export async function decideEvents(
  draft: RoomDraft,
  templates: readonly EventTemplate[],
  context: DecideContext,
): Promise<Decision> {
  const events: DecidedEvent[] = [];
  let { head, chain } = draft;
  for (const template of templates) {
    const decided = await decideEvent({ head, chain }, template, context);
    events.push(decided.event);
    head = decided.event.snapshot;
    chain = decided.chain;
  }
  return { events, chain };
}

interface OneDecision {
  readonly event: DecidedEvent;
  readonly chain: StateChain | undefined;
}

async function decideEvent(draft: RoomDraft, template: EventTemplate, context: DecideContext): Promise<OneDecision> {
  const { head } = draft;
  checkContent(template);
  const { event, text, referenceHash } = buildEvent(template, head, context);
  checkSizes(event, text);
  const verdict = checkAuth(event, head, head.version);
  if (!verdict.allowed) throw new MatrixError('M_FORBIDDEN', verdict.reason);
  const nid = await context.eventNids.take();
  const extremity = { eventId: event.eventId, nid, prevEvents: event.prevEvents, depth: event.depth, referenceHash };
  const moved = head.inRoom(event.roomId).withExtremity(extremity);
  const placed = await placeState(draft, moved, { event, nid, referenceHash, context });
  const redacts = appliedRedaction(event, head, context);
  const snapshot = redacts === undefined ? placed.snapshot : withoutRedacted(placed.snapshot, redacts);
  const replaced = event.stateKey === undefined ? undefined : head.get(event.type, event.stateKey);
  const row: PduRow = {
    stored: {
      nid,
      event,
      version: head.version,
      stateBefore: head.parts.stateNid,
      stateAfter: snapshot.parts.stateNid,
      replaces: replaced === undefined ? undefined : toReplaced(replaced),
      redactedBecause: undefined,
      transaction: context.transaction,
      rendered: {},
    },
    pduText: text,
    replacesNid: replaced?.nid ?? null,
    state: placed.state,
    head: toHead(snapshot),
    transaction: context.transaction,
    redacts: redacts === undefined ? undefined : { nid: redacts.nid, eventId: redacts.event.eventId },
  };
  return { event: { nid, snapshot, row }, chain: placed.chain };
}

/** https://spec.matrix.org/v1.19/client-server-api/#size-limits */
const MAX_PDU_BYTES = 65_536;
const MAX_FIELD_BYTES = 255;

/** Older room versions tolerate numbers that are not integers from other servers; we make no new ones in any. */
function checkContent({ content }: EventTemplate): void {
  const fault = checkCanonical(content);
  if (fault !== undefined) throw new MatrixError('M_BAD_JSON', `The content is not canonical JSON: ${fault}`);
}

function checkSizes(event: Event, text: string): void {
  if (text.length > MAX_PDU_BYTES / 3 && Buffer.byteLength(text) > MAX_PDU_BYTES) {
    throw new MatrixError('M_TOO_LARGE', `Events may have ${MAX_PDU_BYTES} bytes at most`);
  }
  for (const field of [event.type, event.stateKey ?? '']) {
    if (field.length > MAX_FIELD_BYTES / 3 && Buffer.byteLength(field) > MAX_FIELD_BYTES) {
      throw new MatrixError('M_TOO_LARGE', `Event types and state keys may have ${MAX_FIELD_BYTES} bytes at most`);
    }
  }
}

interface Placing {
  readonly event: Event;
  readonly nid: number;
  readonly referenceHash: string | undefined;
  readonly context: DecideContext;
}

interface PlacedState {
  readonly snapshot: RoomSnapshot;
  readonly chain: StateChain | undefined;
  readonly state: PduRow['state'];
}

/** A state event that the rules allow is current at once: local events are decided on the newest state. */
async function placeState(draft: RoomDraft, moved: RoomSnapshot, placing: Placing): Promise<PlacedState> {
  const { event, nid } = placing;
  if (event.stateKey === undefined) return { snapshot: moved, chain: draft.chain, state: undefined };
  if (draft.chain === undefined) throw new Error('the chain is loaded before a state event is decided');
  const snapshotNid = await placing.context.snapshotNids.take();
  const change: DeltaChange = { added: nid, removed: draft.head.get(event.type, event.stateKey)?.nid };
  const step = extendChain(draft.chain, snapshotNid, new Map([[`${event.type}\u0000${event.stateKey}`, change]]));
  const { eventId, type, stateKey, sender, content, originServerTs } = event;
  const entry: StateEntry = {
    nid,
    eventId,
    type,
    stateKey,
    sender,
    content,
    originServerTs,
    ...(placing.referenceHash === undefined ? {} : { referenceHash: placing.referenceHash }),
  };
  const membership = type === 'm.room.member' ? content['membership'] : undefined;
  return {
    snapshot: moved.withState(entry).withStateNid(snapshotNid),
    chain: step.chain,
    state: { snapshot: step.snapshot, membership: typeof membership === 'string' ? membership : undefined },
  };
}

/**
 * The event that a redaction takes effect on: one of this room, redacted by who may redact or by a user of its sender's
 * server. https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
 */
function appliedRedaction(event: Event, head: RoomSnapshot, context: DecideContext): TimelineEvent | undefined {
  const target = context.redacted;
  if (event.type !== 'm.room.redaction' || target === undefined || event.redacts !== target.event.eventId)
    return undefined;
  if (target.redactedBecause !== undefined) return undefined;
  const isSameServer = serverNameOf(event.sender) === serverNameOf(target.event.sender);
  return isSameServer || canRedact(head, event.sender, head.version) ? target : undefined;
}

function withoutRedacted(snapshot: RoomSnapshot, target: TimelineEvent): RoomSnapshot {
  const { stateKey, type } = target.event;
  const entry = stateKey === undefined ? undefined : snapshot.get(type, stateKey);
  if (entry?.nid !== target.nid) return snapshot;
  return snapshot.withState({ ...entry, content: redactEvent(target.event, snapshot.version).content });
}

function toReplaced({ eventId, sender, content }: StateEntry): ReplacedState {
  return { eventId, sender, content };
}

function toHead(snapshot: RoomSnapshot): PduRow['head'] {
  const { stateNid, extremities, depth } = snapshot.parts;
  if (stateNid === null) throw new Error('the first event of a room is its create event');
  return {
    roomId: snapshot.roomId,
    forwardExtremities: extremities.map(({ nid }) => nid),
    stateSnapshot: stateNid,
    depth,
  };
}
