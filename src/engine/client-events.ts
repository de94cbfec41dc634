/**
 * Events as clients see them. All that is the same for every reader is serialized once per event and shared, so that a
 * message to thirty waiting clients costs one `JSON.stringify`; what differs (age, the reader's membership, their own
 * transaction id) is put behind it.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-event-format
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { Event, JsonObject, StateEvent } from '../protocol/pdu.ts';
import type { RenderedText, StoredEvent } from '../storage/events.ts';
import type { Membership } from './room-snapshot.ts';

export interface EventReader {
  readonly userId: UserId;
  /** Absent where no device asks: an application service, a push. */
  readonly deviceId?: string | undefined;
}

/** An event with what is known about its reader. */
export interface RenderableEvent extends StoredEvent {
  /** The reader's membership at the event, including what the event did to it; left out where it is not known. */
  readonly readerMembership?: Membership | undefined;
}

/** The JSON text of an event inside a sync answer, where the room is told by the place. */
export function renderSyncEventText(event: RenderableEvent, reader: EventReader, now: number): string {
  const fixed = fixedPartOf(event);
  return `${fixed.head},"unsigned":${unsignedOf(event, reader, now)}}`;
}

/** The JSON text of an event with its `room_id`. */
export function renderClientEventText(event: RenderableEvent, reader: EventReader, now: number): string {
  const fixed = fixedPartOf(event);
  return `${fixed.head}${fixed.room},"unsigned":${unsignedOf(event, reader, now)}}`;
}

/** The same as an object, for answers that are built as objects. */
export function renderClientEvent(event: RenderableEvent, reader: EventReader, now: number): JsonObject {
  return parseJsonText(renderClientEventText(event, reader, now)) as JsonObject;
}

/** Current state as `/state` and `/members` give it: nothing about who replaced what. */
export function renderStateEvent(state: StateEvent, roomId: RoomId, now: number): JsonObject {
  return { ...stateFields(state), room_id: roomId, unsigned: { age: now - state.originServerTs } };
}

/** The JSON text of current state inside a sync answer. */
export function renderSyncStateText(state: StateEvent): string {
  return JSON.stringify(stateFields(state));
}

/** Stripped state: the fields that somebody outside the room may see. */
export function renderStrippedState({ type, stateKey, sender, content, originServerTs }: StateEvent): JsonObject {
  const showsAge = type === 'm.room.create';
  return { type, state_key: stateKey, sender, content, ...(showsAge && { origin_server_ts: originServerTs }) };
}

function stateFields(state: StateEvent): JsonObject {
  const { type, stateKey, sender, content, eventId, originServerTs } = state;
  return { type, state_key: stateKey, sender, content, event_id: eventId, origin_server_ts: originServerTs };
}

/** A slot is believed only for the very objects that it was filled from: who redacts makes new ones. */
function fixedPartOf(stored: StoredEvent): RenderedText {
  const { event, replaces, redactedBecause, rendered } = stored;
  const known = rendered?.text;
  if (known?.event === event && known.replaces === replaces && known.redactedBecause === redactedBecause) return known;
  const text: RenderedText = {
    event,
    replaces,
    redactedBecause,
    head: headOf(event, rendered?.source?.event === event ? rendered.source.contentText : undefined),
    room: `,"room_id":${JSON.stringify(event.roomId)}`,
    unsigned: JSON.stringify(sharedUnsigned(stored)).slice(1, -1),
  };
  if (rendered !== undefined) rendered.text = text;
  return text;
}

/** The same text as of `eventFields`, without parsing the content where its own text is at hand. */
function headOf(event: Event, contentText: string | undefined): string {
  if (contentText === undefined || event.redacts !== undefined) return JSON.stringify(eventFields(event)).slice(0, -1);
  const { type, stateKey, sender, eventId, originServerTs } = event;
  const state = stateKey === undefined ? '' : `,"state_key":${JSON.stringify(stateKey)}`;
  return (
    `{"type":${JSON.stringify(type)}${state},"sender":${JSON.stringify(sender)},"content":${contentText}` +
    `,"event_id":${JSON.stringify(eventId)},"origin_server_ts":${originServerTs}`
  );
}

function eventFields(event: Event): JsonObject {
  const { type, stateKey, sender, eventId, originServerTs, redacts } = event;
  return {
    type,
    ...(stateKey !== undefined && { state_key: stateKey }),
    sender,
    content: contentOf(event),
    ...(redacts !== undefined && { redacts }),
    event_id: eventId,
    origin_server_ts: originServerTs,
  };
}

/** Room version 11 moved `redacts` into the content; clients find it in both places in every version. */
function contentOf({ content, redacts }: Event): JsonObject {
  return redacts === undefined || content['redacts'] !== undefined ? content : { ...content, redacts };
}

function sharedUnsigned({ event, replaces, redactedBecause }: StoredEvent): JsonObject {
  return {
    ...(replaces !== undefined &&
      event.stateKey !== undefined && {
        replaces_state: replaces.eventId,
        prev_content: replaces.content,
        prev_sender: replaces.sender,
      }),
    ...(redactedBecause !== undefined && {
      redacted_because: { ...eventFields(redactedBecause), room_id: redactedBecause.roomId },
    }),
  };
}

function unsignedOf(event: RenderableEvent, reader: EventReader, now: number): string {
  const { unsigned } = fixedPartOf(event);
  let text = `{"age":${now - event.event.originServerTs}`;
  if (event.readerMembership !== undefined) text += `,"membership":"${event.readerMembership}"`;
  const { transaction } = event;
  // Other devices must not see it: it says which of a user's devices sent the event.
  if (transaction?.userId === reader.userId && transaction.deviceId === reader.deviceId) {
    text += `,"transaction_id":${JSON.stringify(transaction.txnId)}`;
  }
  return `${unsigned === '' ? text : `${text},${unsigned}`}}`;
}
