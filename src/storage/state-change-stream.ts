/**
 * The stream of what state resolution did to rooms: each row is one key of a room's current state, with the event that is
 * current from here on. It lies between the events of the room by its position, so that whoever follows the room's state
 * meets the change at the place where it happened (docs/adr/0013-forks.md).
 */
import type { RoomId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import type { StoredEvent } from './events.ts';
import { bigintArray, sql, textArray } from './sql.ts';
import type { Positioned, StreamTable } from './stream-table.ts';

export interface StateChangeRow {
  readonly roomId: RoomId;
  readonly type: string;
  readonly stateKey: string;
  /** Current from now on, with what it takes the place of; undefined where the state has no such event any more. */
  readonly current: StoredEvent | undefined;
  readonly replacesNid: number | null;
  /** For `m.room.member`: before and after, `leave` where there is no event. */
  readonly member: { readonly earlier: string | undefined; readonly membership: string } | undefined;
}

type Row = Positioned<StateChangeRow>;

export const stateChangeStream: StreamTable<StateChangeRow> = {
  name: 'state_changes',
  insert: (tx, rows) =>
    Promise.all([
      insertChanges(tx, rows),
      upsertState(tx, lastPerKey(rows.filter(({ row }) => row.current !== undefined))),
      deleteState(
        tx,
        lastPerKey(rows).filter(({ row }) => row.current === undefined),
      ),
      updateMemberships(tx, lastPerKey(rows.filter(({ row }) => row.member !== undefined))),
      moveHeads(tx, rows),
    ]),
};

async function insertChanges(tx: Transaction, rows: readonly Row[]): Promise<void> {
  await tx.query(sql`
    insert into state_changes (room_id, position, writer_id, type, state_key, event_nid, replaces_nid)
    select * from unnest(
      ${textArray(rows.map(({ row }) => row.roomId))}::text[],
      ${bigintArray(rows.map(({ position }) => position))}::bigint[],
      ${bigintArray(rows.map(({ writerId }) => writerId))}::bigint[],
      ${textArray(rows.map(({ row }) => row.type))}::text[],
      ${textArray(rows.map(({ row }) => row.stateKey))}::text[],
      ${bigintArray(rows.map(({ row }) => row.current?.nid ?? null))}::bigint[],
      ${bigintArray(rows.map(({ row }) => row.replacesNid))}::bigint[])`);
}

async function upsertState(tx: Transaction, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  await tx.query(sql`
    insert into current_state (room_id, type, state_key, event_nid)
    select * from unnest(
      ${textArray(rows.map(({ row }) => row.roomId))}::text[],
      ${textArray(rows.map(({ row }) => row.type))}::text[],
      ${textArray(rows.map(({ row }) => row.stateKey))}::text[],
      ${bigintArray(rows.map(({ row }) => row.current?.nid ?? null))}::bigint[])
    on conflict (room_id, type, state_key) do update set event_nid = excluded.event_nid`);
}

async function deleteState(tx: Transaction, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  await tx.query(sql`
    delete from current_state using unnest(
      ${textArray(rows.map(({ row }) => row.roomId))}::text[],
      ${textArray(rows.map(({ row }) => row.type))}::text[],
      ${textArray(rows.map(({ row }) => row.stateKey))}::text[]
    ) as gone (room_id, type, state_key)
    where current_state.room_id = gone.room_id and current_state.type = gone.type
      and current_state.state_key = gone.state_key`);
}

/** Whose membership is gone keeps the event that it came from, as somebody who left. */
async function updateMemberships(tx: Transaction, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  await tx.query(sql`
    with member as (
      select * from unnest(
        ${textArray(rows.map(({ row }) => row.roomId))}::text[],
        ${textArray(rows.map(({ row }) => row.stateKey))}::text[],
        ${textArray(rows.map(({ row }) => row.member?.membership ?? 'leave'))}::text[],
        ${textArray(rows.map(({ row }) => row.current?.event.sender ?? row.stateKey))}::text[],
        ${bigintArray(rows.map(({ row }) => row.current?.nid ?? row.replacesNid))}::bigint[],
        ${bigintArray(rows.map(({ position }) => position))}::bigint[]
      ) as member (room_id, user_id, membership, sender, event_nid, position)
    ), outside as (
      delete from outside_memberships o using member m where o.user_id = m.user_id and o.room_id = m.room_id
    )
    insert into memberships (room_id, user_id, membership, sender, event_nid, position)
    select * from member
    on conflict (room_id, user_id) do update set membership = excluded.membership, sender = excluded.sender,
      event_nid = excluded.event_nid, position = excluded.position, forgotten = false`);
}

async function moveHeads(tx: Transaction, rows: readonly Row[]): Promise<void> {
  await tx.query(sql`
    update room_heads set last_position = greatest(last_position, moved.position)
    from (
      select room_id, max(position) as position from unnest(
        ${textArray(rows.map(({ row }) => row.roomId))}::text[],
        ${bigintArray(rows.map(({ position }) => position))}::bigint[]
      ) as change (room_id, position)
      group by room_id
    ) moved
    where room_heads.room_id = moved.room_id`);
}

/** One upsert cannot touch a row twice. */
function lastPerKey(rows: readonly Row[]): readonly Row[] {
  return [
    ...new Map(rows.map((row) => [JSON.stringify([row.row.roomId, row.row.type, row.row.stateKey]), row])).values(),
  ];
}
