/**
 * Transactions: up to 50 events and 100 EDUs that go to a server in one request. Its text is made once and sent again
 * unchanged, so that a server which took it already sees the same id and the same content.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#transactions
 */
import { CanonicalJsonError, encodeCanonicalJson } from '../protocol/canonical-json.ts';
import type { RoomId, ServerName } from '../protocol/ids.ts';
import type { JsonObject, Pdu } from '../protocol/pdu.ts';
import type { StoredEdus } from './stored-edus.ts';

/** The spec's bounds. */
export const MAX_PDUS = 50;
export const MAX_EDUS = 100;

/** An event ready to be sent. */
export interface OutgoingPdu {
  readonly roomId: RoomId;
  readonly position: number;
  /** Its canonical JSON. */
  readonly text: string;
  /** Whether its server is not in the room, so that no catch-up by rooms would find it. */
  readonly isOwed: boolean;
}

export interface Transaction {
  readonly txnId: string;
  readonly pdus: readonly OutgoingPdu[];
  readonly edus: readonly JsonObject[];
  /** Those of the EDUs whose owner waits to hear that they arrived. */
  readonly stored: StoredEdus | undefined;
  /** The canonical JSON of the body. */
  readonly content: string;
}

export interface TransactionParts {
  readonly txnId: string;
  readonly origin: ServerName;
  readonly now: number;
  readonly pdus: readonly OutgoingPdu[];
  /** Ephemeral ones. */
  readonly edus: readonly JsonObject[];
  readonly stored: StoredEdus | undefined;
}

export function createTransaction({ txnId, origin, now, pdus, stored, ...parts }: TransactionParts): Transaction {
  const edus = [...(stored?.edus ?? []), ...parts.edus];
  const others = encodeCanonicalJson({ edus, origin, origin_server_ts: now });
  const content = `${others.slice(0, -1)},"pdus":[${pdus.map(({ text }) => text).join()}]}`;
  return { txnId, pdus, edus, stored, content };
}

/** The event's text; undefined where it has none that other servers would accept. */
export function encodePdu(pdu: Pdu): string | undefined {
  // What we know beside the event is nobody else's.
  const { unsigned: _unsigned, ...sent } = pdu;
  try {
    return encodeCanonicalJson(sent);
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) return undefined;
    throw cause;
  }
}
