/**
 * The rows of a room that comes from another server: its events wait as outliers until they were judged, its state is
 * written in steps, and only the event that brings the room into the stream makes it exist.
 */
import type { EventId, RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql, textArray } from './sql.ts';

/** What stands as the rejection of an event that is yet to be judged: until then nothing may rest on it. */
export const UNJUDGED = 'unjudged';

export async function updateVerdicts(
  tx: Transaction,
  verdicts: readonly { readonly nid: number; readonly authNids: string; readonly rejection: string | undefined }[],
): Promise<void> {
  if (verdicts.length === 0) return;
  await tx.query(sql`
    update events set rejection = verdict.rejection, auth_nids = verdict.auth_nids::bigint[]
    from unnest(
      ${bigintArray(verdicts.map(({ nid }) => nid))}::bigint[],
      ${textArray(verdicts.map(({ rejection }) => rejection ?? null))}::text[],
      ${textArray(verdicts.map(({ authNids }) => authNids))}::text[]
    ) as verdict (nid, rejection, auth_nids)
    where events.event_nid = verdict.nid and events.rejection = ${UNJUDGED}`);
}

/** Verdicts that do not hold: the events, which are not in use yet, are to be judged anew. */
export async function updateUnjudged(tx: Transaction, nids: readonly number[]): Promise<void> {
  if (nids.length === 0) return;
  await tx.query(sql`
    update events set rejection = ${UNJUDGED}, auth_nids = '{}'
    where event_nid = any(${bigintArray(nids)}::bigint[]) and outlier and position is null`);
}

/** The numeric ids of events that are stored. */
export async function loadNids(
  tx: Transaction,
  eventIds: readonly string[],
): Promise<readonly { readonly eventId: EventId; readonly nid: number; readonly rejection: string | null }[]> {
  const rows = await tx.query(sql<{ event_id: EventId; event_nid: number; rejection: string | null }>`
    select event_id, event_nid, rejection from events where event_id = any(${textArray(eventIds)}::text[])`);
  return rows.map((row) => ({ eventId: row.event_id, nid: row.event_nid, rejection: row.rejection }));
}

export interface ImportedState {
  readonly nid: number;
  readonly type: string;
  readonly stateKey: string;
  readonly sender: UserId;
  /** For `m.room.member`. */
  readonly membership: string | undefined;
}

export async function insertImportedState(
  tx: Transaction,
  roomId: RoomId,
  state: readonly ImportedState[],
): Promise<void> {
  const members = state.filter(({ membership }) => membership !== undefined);
  await Promise.all([
    tx.query(sql`
      insert into current_state (room_id, type, state_key, event_nid)
      select ${roomId}, * from unnest(
        ${textArray(state.map(({ type }) => type))}::text[],
        ${textArray(state.map(({ stateKey }) => stateKey))}::text[],
        ${bigintArray(state.map(({ nid }) => nid))}::bigint[])
      on conflict (room_id, type, state_key) do update set event_nid = excluded.event_nid`),
    tx.query(sql`
      insert into memberships (room_id, user_id, membership, sender, event_nid, position)
      select ${roomId}, user_id, membership, sender, nid, 0 from unnest(
        ${textArray(members.map(({ stateKey }) => stateKey))}::text[],
        ${textArray(members.map(({ membership }) => membership ?? 'leave'))}::text[],
        ${textArray(members.map(({ sender }) => sender))}::text[],
        ${bigintArray(members.map(({ nid }) => nid))}::bigint[]
      ) as member (user_id, membership, sender, nid)
      on conflict (room_id, user_id) do update set membership = excluded.membership, sender = excluded.sender,
        event_nid = excluded.event_nid`),
  ]);
}

/** What is left of an import that never ended, or of a room that nobody of ours was in any more. */
export async function deleteRoomState(tx: Transaction, roomId: RoomId, serverName: ServerName): Promise<void> {
  await Promise.all([
    tx.query(sql`delete from current_state where room_id = ${roomId}`),
    // What our own users have seen of themselves stays: their syncs go by it.
    tx.query(sql`
      delete from memberships
      where room_id = ${roomId} and right(user_id, ${serverName.length + 1}) <> ${`:${serverName}`}`),
  ]);
}

/** What was stored of a room that is not taken in after all: no such room is known. */
export async function deleteUnfinishedImport(tx: Transaction, roomId: RoomId): Promise<void> {
  await Promise.all([
    tx.query(sql`
      delete from events
      where room_id = ${roomId} and state_key is not null and outlier and position is null
        and not exists (select from rooms where room_id = ${roomId})`),
    tx.query(sql`
      delete from state_snapshots
      where room_id = ${roomId} and not exists (select from rooms where room_id = ${roomId})`),
  ]);
}

/** State events of a room that may be part of its state, by id: those that were rejected are left out. */
export async function listUsableState(
  tx: Transaction,
  roomId: RoomId,
  eventIds: readonly string[],
): Promise<readonly { readonly nid: number; readonly type: string; readonly stateKey: string }[]> {
  const rows = await tx.query(sql<{ event_nid: number; type: string; state_key: string }>`
    select e.event_nid, e.type, e.state_key
    from unnest(${textArray(eventIds)}::text[]) with ordinality as listed (event_id, place)
    join events e on e.event_id = listed.event_id
    where e.room_id = ${roomId} and e.state_key is not null and e.rejection is null
    order by listed.place`);
  return rows.map(({ event_nid, type, state_key }) => ({ nid: event_nid, type, stateKey: state_key }));
}
