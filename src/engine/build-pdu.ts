/**
 * Makes an event of ours from what its sender wants and the room as it is: prev events and auth events from the snapshot,
 * then hashes and signature. Reads nothing, and encodes each form of the event once: the text that is signed is the text
 * whose hash is the event id. What users of other servers are to sign is drafted in the same way, and not signed here.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#signing-events
 */
import type { Random } from '../lib/random.ts';
import { selectAuthEvents } from '../protocol/auth-events.ts';
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { Event, JsonObject, JsonValue } from '../protocol/pdu.ts';
import { hashAndSignEvent, type UnsignedPdu } from '../protocol/sign-event.ts';
import type { SigningKey } from '../protocol/signing.ts';
import type { RoomSnapshot, StateEntry } from './room-snapshot.ts';
import type { EventTemplate } from './types.ts';

/** https://spec.matrix.org/v1.19/server-server-api/#pdus: at most 20 prev events; the others wait for the next event. */
const MAX_PREV_EVENTS = 20;
/** Depth stays at the greatest integer that canonical JSON can hold. */
const MAX_DEPTH = Number.MAX_SAFE_INTEGER;
/** Of event ids that the server makes itself (room versions 1 and 2): 107 bits. */
const EVENT_ID_LENGTH = 18;

export interface BuildContext {
  readonly serverName: ServerName;
  readonly key: SigningKey;
  readonly random: Random;
  /** Unix milliseconds. */
  readonly now: number;
}

export interface BuiltEvent {
  readonly event: Event;
  /** Canonical JSON of the whole PDU, as it is stored and sent. */
  readonly text: string;
  /** Only in rooms of versions 1 and 2, where others refer to the event by id and hash. */
  readonly referenceHash: string | undefined;
  /** The auth events by their numeric ids. */
  readonly authNids: readonly number[];
}

/** What another event refers to. */
export interface Referred {
  readonly eventId: EventId;
  readonly referenceHash?: string;
}

export interface PduDraft {
  readonly body: UnsignedPdu;
  readonly authEvents: readonly StateEntry[];
  readonly prevEvents: readonly Referred[];
}

/** All of an event but its hash and signatures; `eventId` is for room versions 1 and 2. */
export function draftPdu(
  template: EventTemplate,
  snapshot: RoomSnapshot,
  { now, eventId }: Pick<BuildContext, 'now'> & { readonly eventId: string | undefined },
): PduDraft {
  const { version } = snapshot;
  const authEvents = selectAuthEvents({ ...template, stateKey: template.stateKey }, snapshot, version);
  const prevEvents: readonly Referred[] = newestExtremities(snapshot);
  const refer = version.eventIds === 'server' ? toPair : toId;
  const givesRoomId = version.roomIdFromCreate && template.type === 'm.room.create';
  const redactsAtTop = template.redacts !== undefined && !version.redactsInContent;
  // Keys in canonical order, so that encoding finds nothing to sort.
  const body = {
    auth_events: authEvents.map(refer),
    content: contentOf(template, snapshot),
    depth: Math.min(snapshot.parts.depth + 1, MAX_DEPTH),
    ...(eventId === undefined ? {} : { event_id: eventId }),
    origin_server_ts: template.originServerTs ?? now,
    prev_events: prevEvents.map(refer),
    ...(redactsAtTop ? { redacts: template.redacts } : {}),
    ...(givesRoomId ? {} : { room_id: snapshot.roomId }),
    sender: template.sender,
    ...(template.stateKey === undefined ? {} : { state_key: template.stateKey }),
    type: template.type,
  };
  return { body, authEvents, prevEvents };
}

export function buildEvent(template: EventTemplate, snapshot: RoomSnapshot, context: BuildContext): BuiltEvent {
  const { version } = snapshot;
  const eventId = version.eventIds === 'server' ? newEventId(context) : undefined;
  const { body, authEvents, prevEvents } = draftPdu(template, snapshot, { now: context.now, eventId });
  const signed = hashAndSignEvent(body, version, context);
  return {
    text: encodeCanonicalJson(signed.pdu),
    referenceHash: version.eventIds === 'server' ? signed.referenceHash : undefined,
    authNids: authEvents.map(({ nid }) => nid),
    event: {
      eventId: signed.eventId,
      // A version 12 room is named by the hash of its create event.
      roomId: body.room_id === undefined ? (`!${signed.eventId.slice(1)}` as RoomId) : snapshot.roomId,
      type: template.type,
      stateKey: template.stateKey,
      sender: template.sender,
      content: signed.pdu.content,
      originServerTs: signed.pdu.origin_server_ts,
      depth: signed.pdu.depth,
      prevEvents: prevEvents.map(({ eventId: id }) => id),
      authEvents: authEvents.map(({ eventId: id }) => id),
      redacts: template.redacts,
      pdu: signed.pdu,
    },
  };
}

function newestExtremities(snapshot: RoomSnapshot): readonly Referred[] {
  const { extremities } = snapshot.parts;
  return extremities.length > MAX_PREV_EVENTS ? extremities.slice(-MAX_PREV_EVENTS) : extremities;
}

const toId = ({ eventId }: Referred): JsonValue => eventId;

const toPair = ({ eventId, referenceHash }: Referred): JsonValue => [
  eventId,
  referenceHash === undefined ? {} : { sha256: referenceHash },
];

function contentOf(template: EventTemplate, { version }: RoomSnapshot): JsonObject {
  const isMoved = template.redacts !== undefined && version.redactsInContent;
  return isMoved ? { ...template.content, redacts: template.redacts } : template.content;
}

/** An id for rooms of versions 1 and 2. */
export function newEventId({ random, serverName }: Pick<BuildContext, 'random' | 'serverName'>): EventId {
  return `$${random.alphanumeric(EVENT_ID_LENGTH)}:${serverName}` as EventId;
}
