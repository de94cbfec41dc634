/**
 * The state before an event for another server. The ids are listed as a whole, the PDUs are read in portions while the
 * answer is written: the state of a room of a hundred thousand members never lies in memory at once.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
 */
import type { EventId } from '../protocol/ids.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from '../storage/database.ts';
import type { KnownEvent } from '../storage/received-events.ts';
import { listAuthChainIds, listPduTexts, listServedIds } from '../storage/served-state.ts';
import { loadStateNids } from '../storage/state.ts';

/** At 64 KiB each at most 16 MiB, and a good deal less in practice. */
const EVENTS_PER_PORTION = 250;

export interface StateIds {
  readonly stateIds: readonly EventId[];
  readonly authChainIds: readonly EventId[];
}

/** The JSON of PDUs: each portion is some of them, with commas between. */
export interface OpenedState {
  readonly pdus: AsyncIterable<string>;
  readonly authChain: AsyncIterable<string>;
}

export async function loadServedIds(tx: Transaction, known: KnownEvent): Promise<StateIds> {
  const stateNids = await loadStateBefore(tx, known);
  const [state, authChain] = await Promise.all([
    listServedIds(tx, stateNids),
    listAuthChainIds(tx, known.event.roomId, stateNids),
  ]);
  return { stateIds: state.map(({ eventId }) => eventId), authChainIds: authChain.map(({ eventId }) => eventId) };
}

export async function openServedState(tx: Transaction, version: RoomVersion, known: KnownEvent): Promise<OpenedState> {
  const stateNids = await loadStateBefore(tx, known);
  const chainIds = await listAuthChainIds(tx, known.event.roomId, stateNids);
  const chainNids = chainIds.map(({ nid }) => nid);
  return { pdus: readPortions(tx, version, stateNids), authChain: readPortions(tx, version, chainNids) };
}

async function loadStateBefore(tx: Transaction, { stateBefore }: KnownEvent): Promise<readonly number[]> {
  if (stateBefore === null) return [];
  return [...((await loadStateNids(tx, [stateBefore])).get(stateBefore) ?? [])];
}

async function* readPortions(tx: Transaction, version: RoomVersion, nids: readonly number[]): AsyncIterable<string> {
  for (let start = 0; start < nids.length; start += EVENTS_PER_PORTION) {
    const texts = await listPduTexts(tx, version, nids.slice(start, start + EVENTS_PER_PORTION));
    if (texts.length > 0) yield start === 0 ? texts.join() : `,${texts.join()}`;
  }
}
