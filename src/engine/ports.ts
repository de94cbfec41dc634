/**
 * What the engine needs of other servers and has no hands for: signatures checked with their keys, and events asked of
 * them. The federation module implements these; the engine decides what may be believed of what they give.
 */
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { JsonObject, JsonValue, Pdu } from '../protocol/pdu.ts';
import type { PolicyServer } from '../protocol/policy-server.ts';
import type { RoomVersion } from '../protocol/room-version.ts';

export interface PduToVerify {
  readonly pdu: Pdu;
  readonly version: RoomVersion;
}

export interface PduVerifier {
  /**
   * For each PDU, undefined where it carries every signature that it needs, otherwise why not: its sender's server (but
   * for third-party invites), the event id's server in room versions 1 and 2, and that of
   * `join_authorised_via_users_server`. https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
   */
  verify(pdus: readonly PduToVerify[]): Promise<readonly (string | undefined)[]>;
}

export interface MissingEventsRequest {
  readonly server: ServerName;
  readonly roomId: RoomId;
  /** What we have: the answer goes back no further. */
  readonly earliest: readonly EventId[];
  /** Whose ancestors are wanted. */
  readonly latest: readonly EventId[];
  readonly limit: number;
}

export interface StateIds {
  readonly stateIds: readonly EventId[];
  readonly authChainIds: readonly EventId[];
}

/** Walked once or again; large answers are read as they are walked. */
export type PduSource = Iterable<JsonValue> | AsyncIterable<JsonValue>;

export interface StateAnswer {
  readonly state: PduSource;
  readonly authChain: PduSource;
}

export interface EventRequest {
  readonly server: ServerName;
  readonly roomId: RoomId;
  readonly eventId: EventId;
}

/** Each asks one server and rejects where that gives no answer; nothing of an answer has been checked. */
export interface RemoteRooms {
  fetchMissingEvents(request: MissingEventsRequest): Promise<readonly JsonValue[]>;
  /** The state before the event. */
  fetchStateIds(request: EventRequest): Promise<StateIds>;
  /** The same, with the events themselves. */
  fetchState(request: EventRequest & { readonly version: RoomVersion }): Promise<StateAnswer>;
  fetchEvent(request: EventRequest): Promise<JsonValue | undefined>;
  fetchBackfill(request: {
    readonly server: ServerName;
    readonly roomId: RoomId;
    readonly from: readonly EventId[];
    readonly limit: number;
  }): Promise<readonly JsonValue[]>;
}

export interface PolicyQuestion {
  readonly policy: PolicyServer;
  readonly pdu: Pdu;
}

/** Asks policy servers to sign events; nothing of an answer has been checked but that it is an object. */
export interface PolicySigner {
  /** For an event of ours, whose user waits: throws the `MatrixError` that tells why there is no signature. */
  fetchSignature(question: PolicyQuestion): Promise<JsonObject>;
  /** For an event of others: undefined where there is no signature, for whatever reason. */
  fetchRecommendation(question: PolicyQuestion): Promise<JsonObject | undefined>;
}
