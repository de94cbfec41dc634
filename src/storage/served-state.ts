/**
 * The state of a room and its auth chain for other servers: ids first, then the PDUs by portions, so that the state of the
 * largest room passes through in little memory.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import { redactPdu } from '../protocol/redaction.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql } from './sql.ts';

export interface ServedId {
  readonly nid: number;
  readonly eventId: EventId;
}

/** The ids of these events, in no order. */
export async function listServedIds(tx: Transaction, nids: readonly number[]): Promise<readonly ServedId[]> {
  const rows = await tx.query(sql<{ event_nid: number; event_id: EventId }>`
    select event_nid, event_id from events where event_nid = any(${bigintArray(nids)}::bigint[])`);
  return rows.map((row) => ({ nid: row.event_nid, eventId: row.event_id }));
}

/** What the auth events of these events lead to, in this room. */
export async function listAuthChainIds(
  tx: Transaction,
  roomId: RoomId,
  nids: readonly number[],
): Promise<readonly ServedId[]> {
  const rows = await tx.query(sql<{ event_nid: number; event_id: EventId }>`
    with recursive chain (nid) as (
      select unnest(auth_nids) from events where event_nid = any(${bigintArray(nids)}::bigint[])
      union
      select unnest(e.auth_nids) from chain c join events e on e.event_nid = c.nid
    )
    select event_nid, event_id from events where event_nid in (select nid from chain) and room_id = ${roomId}`);
  return rows.map((row) => ({ nid: row.event_nid, eventId: row.event_id }));
}

/** The JSON of the events as servers exchange it; of redacted ones what redaction leaves. */
export async function listPduTexts(
  tx: Transaction,
  version: RoomVersion,
  nids: readonly number[],
): Promise<readonly string[]> {
  const rows = await tx.query(sql<{ pdu: string; redacted: boolean }>`
    select pdu, redacted_by is not null as redacted from events
    where event_nid = any(${bigintArray(nids)}::bigint[])`);
  return rows.map(({ pdu, redacted }) =>
    redacted ? JSON.stringify(redactPdu(parseJsonText(pdu) as Pdu, version)) : pdu,
  );
}
