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
import type { Event } from '../protocol/pdu.ts';
import type { SigningKey } from '../protocol/signing.ts';
import type { ClientTransaction, TimelineEvent } from '../storage/events.ts';
import { type BuildContext, type BuiltEvent, buildEvent } from './build-pdu.ts';
import type { NidSource } from './nid-source.ts';
import { type DecidedEvent, type PlacedEvent, placeEvent, type RoomDraft } from './place-event.ts';
import { appliedRedaction } from './redactions.ts';
import type { RoomSnapshot } from './room-snapshot.ts';
import type { StateChain } from './state-chain.ts';
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

async function decideEvent(draft: RoomDraft, template: EventTemplate, context: DecideContext): Promise<PlacedEvent> {
  const { head } = draft;
  const { event, text, referenceHash, authNids } = buildAllowed(template, head, context);
  const { transaction, redacted, snapshotNids } = context;
  return placeEvent(draft, {
    nid: await context.eventNids.take(),
    event,
    text,
    referenceHash,
    authNids,
    transaction,
    redacts: redacted === undefined ? undefined : appliedRedaction(event, redacted, head),
    snapshotNids,
  });
}

/** An event that the room as it is allows; throws what tells the client why it does not. */
export function buildAllowed(template: EventTemplate, head: RoomSnapshot, context: BuildContext): BuiltEvent {
  checkContent(template);
  const built = buildEvent(template, head, context);
  checkSizes(built.event, built.text);
  const verdict = checkAuth(built.event, head, head.version);
  if (!verdict.allowed) throw new MatrixError('M_FORBIDDEN', verdict.reason);
  return built;
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
