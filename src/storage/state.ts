/**
 * State snapshots: read by walking from a snapshot to its ancestors, at most log2(height) steps.
 */
import type { RoomId } from '../protocol/ids.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from './database.ts';
import { type LoadedState, readState, type StateRow } from './rooms.ts';
import { bigintArray, sql, textArray } from './sql.ts';

export interface SnapshotStep {
  readonly snapshotNid: number;
  readonly height: number;
  readonly added: readonly number[];
  readonly removed: readonly number[];
}

interface StepRow {
  readonly snapshot_nid: number;
  readonly height: number;
  readonly added: readonly number[];
  readonly removed: readonly number[];
}

/** The deltas that lead to a snapshot, oldest first. */
export async function listSnapshotSteps(tx: Transaction, snapshotNid: number): Promise<readonly SnapshotStep[]> {
  const rows = await tx.query(sql<StepRow>`
    with recursive chain as (
      select snapshot_nid, parent_nid, height, added, removed from state_snapshots where snapshot_nid = ${snapshotNid}
      union all
      select p.snapshot_nid, p.parent_nid, p.height, p.added, p.removed
      from chain c join state_snapshots p on p.snapshot_nid = c.parent_nid
    )
    select snapshot_nid, height, added, removed from chain order by height`);
  return rows.map(({ snapshot_nid, height, added, removed }) => ({
    snapshotNid: snapshot_nid,
    height,
    added,
    removed,
  }));
}

/** The whole state at a snapshot. */
export async function loadStateAt(
  tx: Transaction,
  version: RoomVersion,
  snapshotNid: number,
): Promise<readonly LoadedState[]> {
  const rows = await tx.query(sql<StateRow>`
    with recursive chain as (
      select parent_nid, height, added, removed from state_snapshots where snapshot_nid = ${snapshotNid}
      union all
      select p.parent_nid, p.height, p.added, p.removed
      from chain c join state_snapshots p on p.snapshot_nid = c.parent_nid
    ),
    added as (select unnest(added) as nid, height from chain),
    removed as (select nid, max(height) as height from (select unnest(removed) as nid, height from chain) r group by nid)
    select e.event_nid, e.event_id, e.state_key, e.pdu, e.redacted_by is not null as redacted
    from added a left join removed r on r.nid = a.nid join events e on e.event_nid = a.nid
    where r.height is null or r.height < a.height`);
  return rows.map((row) => readState(row, version));
}

/** State events by their numeric ids, in no order. */
export async function loadStateByNid(
  tx: Transaction,
  version: RoomVersion,
  nids: readonly number[],
): Promise<readonly LoadedState[]> {
  const rows = await tx.query(sql<StateRow>`
    select event_nid, event_id, state_key, pdu, redacted_by is not null as redacted
    from events where event_nid = any(${bigintArray(nids)}::bigint[])`);
  return rows.map((row) => readState(row, version));
}

export interface EntriesWanted {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  readonly snapshotNids: readonly number[];
  readonly keys: readonly { readonly type: string; readonly stateKey: string }[];
}

/** Single entries of several snapshots of one room; a key that a snapshot lacks gives no row. */
export async function listStateEntries(
  tx: Transaction,
  { roomId, version, snapshotNids, keys }: EntriesWanted,
): Promise<readonly (LoadedState & { readonly snapshotNid: number })[]> {
  const rows = await tx.query(sql<StateRow & { wanted: number }>`
    with recursive chain as (
      select snapshot_nid as wanted, parent_nid, height, added, removed from state_snapshots
      where snapshot_nid = any(${bigintArray(snapshotNids)}::bigint[]) and room_id = ${roomId}
      union all
      select c.wanted, p.parent_nid, p.height, p.added, p.removed
      from chain c join state_snapshots p on p.snapshot_nid = c.parent_nid
    ),
    candidate as (
      select e.event_nid, e.event_id, e.type, e.state_key, e.pdu, e.redacted_by is not null as redacted
      from unnest(
        ${textArray(keys.map(({ type }) => type))}::text[],
        ${textArray(keys.map(({ stateKey }) => stateKey))}::text[]
      ) as key (type, state_key)
      join events e on e.room_id = ${roomId} and e.type = key.type and e.state_key = key.state_key
    )
    select distinct on (c.wanted, e.type, e.state_key) c.wanted, e.event_nid, e.event_id, e.state_key, e.pdu, e.redacted
    from chain c join candidate e on e.event_nid = any(c.added)
    where not exists (
      select from chain later
      where later.wanted = c.wanted and later.height > c.height and e.event_nid = any(later.removed)
    )
    order by c.wanted, e.type, e.state_key, c.height desc`);
  return rows.map((row) => ({ ...readState(row, version), snapshotNid: row.wanted }));
}

/** Which events each of the states consists of: one statement, whatever the number of states. */
export async function loadStateNids(
  tx: Transaction,
  snapshotNids: readonly number[],
): Promise<ReadonlyMap<number, ReadonlySet<number>>> {
  const rows = await tx.query(sql<StepRow & { parent_nid: number | null }>`
    with recursive chain as (
      select snapshot_nid, parent_nid, height, added, removed from state_snapshots
      where snapshot_nid = any(${bigintArray(snapshotNids)}::bigint[])
      union
      select p.snapshot_nid, p.parent_nid, p.height, p.added, p.removed
      from chain c join state_snapshots p on p.snapshot_nid = c.parent_nid
    )
    select snapshot_nid, parent_nid, height, added, removed from chain`);
  const steps = new Map(rows.map((row) => [row.snapshot_nid, row]));
  return new Map(snapshotNids.map((nid) => [nid, collectNids(nid, steps)]));
}

function collectNids(
  snapshotNid: number,
  steps: ReadonlyMap<number, StepRow & { readonly parent_nid: number | null }>,
): ReadonlySet<number> {
  const path: StepRow[] = [];
  for (let step = steps.get(snapshotNid); step !== undefined; step = steps.get(step.parent_nid ?? 0)) path.push(step);
  const nids = new Set<number>();
  for (const { added, removed } of path.reverse()) {
    for (const nid of removed) nids.delete(nid);
    for (const nid of added) nids.add(nid);
  }
  return nids;
}
