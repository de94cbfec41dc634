/**
 * The shapes of events: a `Pdu` is the JSON that servers exchange and hash, an `Event` is our read-only view of one,
 * with its identifiers worked out once.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#pdus
 */
import type { EventId, RoomId, UserId } from './ids.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue | undefined;
}

/** The JSON of an event as servers exchange it; keys we do not know are kept, since they are hashed. */
export interface Pdu extends JsonObject {
  readonly type: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly origin_server_ts: number;
  readonly depth: number;
  readonly hashes: { readonly sha256: string };
  readonly signatures: { readonly [server: string]: { readonly [keyId: string]: string } };
  /** Event ids; in room versions 1 and 2 pairs of an id and its hashes. */
  readonly prev_events: readonly JsonValue[];
  readonly auth_events: readonly JsonValue[];
  /** Absent only in the create event of a version 12 room, whose id it gives. */
  readonly room_id?: string;
  readonly event_id?: string;
  readonly state_key?: string;
  readonly redacts?: string;
  readonly unsigned?: JsonObject;
}

/** What the rules, clients and queries read of a state event. */
export interface StateEvent {
  readonly eventId: EventId;
  readonly type: string;
  readonly stateKey: string;
  readonly sender: UserId;
  readonly content: JsonObject;
  readonly originServerTs: number;
}

/** An event with its identifiers worked out; `pdu` stays the truth, and nothing here is written back to it. */
export interface Event extends Omit<StateEvent, 'stateKey'> {
  readonly roomId: RoomId;
  /** Undefined for message events. */
  readonly stateKey: string | undefined;
  readonly depth: number;
  readonly prevEvents: readonly EventId[];
  readonly authEvents: readonly EventId[];
  /** The event that an `m.room.redaction` asks to redact, wherever its room version keeps it. */
  readonly redacts: EventId | undefined;
  readonly pdu: Pdu;
}

/** Looks one state event up: a snapshot in memory, or a plain map in tests. */
export interface StateView {
  get(type: string, stateKey: string): StateEvent | undefined;
}
