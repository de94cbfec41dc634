/**
 * The state of a room on its way to another server: which events it consists of, by numeric ids, and their texts as they
 * are stored, page by page, so that a room of any size is given away without being in memory.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import { redactPdu } from '../protocol/redaction.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql } from './sql.ts';

/** All that the auth events of these lead to; of themselves only those that others of them cite. */
export async function listCitedNids(
  tx: Transaction,
  roomId: RoomId,
  nids: readonly number[],
): Promise<readonly number[]> {
  const rows = await tx.query(sql<{ event_nid: number }>`
    with recursive chain (nid) as (
      select unnest(auth_nids) from events where event_nid = any(${bigintArray(nids)}::bigint[])
      union
      select unnest(e.auth_nids) from chain c join events e on e.event_nid = c.nid
    )
    select e.event_nid from chain c join events e on e.event_nid = c.nid
    where e.room_id = ${roomId} and e.rejection is null order by e.event_nid`);
  return rows.map((row) => row.event_nid);
}

/** Those of the events that are no memberships. */
export async function listNonMemberNids(tx: Transaction, nids: readonly number[]): Promise<readonly number[]> {
  const rows = await tx.query(sql<{ event_nid: number }>`
    select event_nid from events
    where event_nid = any(${bigintArray(nids)}::bigint[]) and type <> 'm.room.member' order by event_nid`);
  return rows.map((row) => row.event_nid);
}

/** The JSON of each event, without its content where it was redacted. */
export async function listPduTexts(
  tx: Transaction,
  version: RoomVersion,
  nids: readonly number[],
): Promise<readonly string[]> {
  const rows = await tx.query(sql<{ event_id: EventId; pdu: string; redacted: boolean }>`
    select event_id, pdu, redacted_by is not null as redacted from events
    where event_nid = any(${bigintArray(nids)}::bigint[]) order by event_nid`);
  return rows.map(({ pdu, redacted }) =>
    redacted ? JSON.stringify(redactPdu(parseJsonText(pdu) as Pdu, version)) : pdu,
  );
}
