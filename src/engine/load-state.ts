/**
 * A stored state as a room has it in memory: read in portions, since that of a large room is a hundred megabytes of JSON.
 */
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from '../storage/database.ts';
import { loadStateByNid, loadStateNids } from '../storage/state.ts';
import type { StateEntry } from './room-snapshot.ts';

/** Events whose JSON is parsed in one go. */
const STATE_PER_READ = 500;

export async function loadEntries(
  tx: Transaction,
  version: RoomVersion,
  nids: readonly number[],
): Promise<readonly StateEntry[]> {
  const entries: StateEntry[] = [];
  for (let from = 0; from < nids.length; from += STATE_PER_READ) {
    entries.push(...(await loadStateByNid(tx, version, nids.slice(from, from + STATE_PER_READ))));
  }
  return entries;
}

export async function loadEntriesAt(
  tx: Transaction,
  version: RoomVersion,
  stateNid: number,
): Promise<readonly StateEntry[]> {
  const nids = (await loadStateNids(tx, [stateNid])).get(stateNid) ?? new Set();
  return loadEntries(tx, version, [...nids]);
}
