/**
 * Which events of a room another server may have: what any of its users may see by the history visibility at the event.
 * Where it may not have one, it gets what redaction leaves, so that the graph stays whole. Two statements at most for any
 * number of events: most rooms' visibility answers the question without looking at members.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-5
 */
import type { RoomId, ServerName } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import { redactPdu } from '../protocol/redaction.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { isVisibleToServer, strongestMembership } from '../protocol/visibility.ts';
import type { Transaction } from '../storage/database.ts';
import { listMembersOfServer } from '../storage/memberships.ts';
import type { KnownEvent } from '../storage/received-events.ts';
import { listStateEntries } from '../storage/state.ts';

const VISIBILITY = { type: 'm.room.history_visibility', stateKey: '' };
/** Of a server with more users in a room the others count as nobody: it then gets less, never more. */
const MAX_USERS = 500;

export interface ReadingServer {
  readonly serverName: ServerName;
  readonly roomId: RoomId;
  readonly version: RoomVersion;
}

/** The PDUs as the server, which is in the room now, may have them; in their order. */
export async function showToServer(
  tx: Transaction,
  server: ReadingServer,
  events: readonly KnownEvent[],
): Promise<readonly Pdu[]> {
  const { version } = server;
  const facts = await loadFacts(tx, server, events);
  return events.map((known) => {
    const { event, isRedacted } = known;
    const shown = !isRedacted && isShown(known, server, facts);
    return shown ? event.pdu : redactPdu(event.pdu, version);
  });
}

/** Those of the events that the server may have as they are; what a redaction took out of them does not matter. */
export async function filterShown(
  tx: Transaction,
  server: ReadingServer,
  events: readonly KnownEvent[],
): Promise<readonly KnownEvent[]> {
  const facts = await loadFacts(tx, server, events);
  return events.filter((known) => isShown(known, server, facts));
}

interface Facts {
  readonly visibility: ReadonlyMap<number, string>;
  readonly membership: ReadonlyMap<number, string>;
}

function isShown({ event, stateBefore, stateAfter }: KnownEvent, { serverName }: ReadingServer, facts: Facts): boolean {
  // An event whose state is not known: auth events go to whoever is in the room.
  if (stateAfter === null) return event.stateKey !== undefined;
  const at = (nid: number | null) => ({
    visibility: nid === null ? undefined : facts.visibility.get(nid),
    membership: nid === null ? undefined : facts.membership.get(nid),
  });
  return isVisibleToServer({ before: at(stateBefore), after: at(stateAfter), event, serverName, joinedLater: true });
}

async function loadFacts(tx: Transaction, server: ReadingServer, events: readonly KnownEvent[]): Promise<Facts> {
  const { roomId, version } = server;
  const nids = new Set(events.flatMap(({ stateBefore, stateAfter }) => [stateBefore, stateAfter]));
  const snapshotNids = [...nids].filter((nid) => nid !== null);
  if (snapshotNids.length === 0) return { visibility: new Map(), membership: new Map() };
  const found = await listStateEntries(tx, { roomId, version, snapshotNids, keys: [VISIBILITY] });
  const visibility = new Map<number, string>();
  for (const { snapshotNid, content } of found) {
    const value = content['history_visibility'];
    if (typeof value === 'string') visibility.set(snapshotNid, value);
  }
  const restricted = snapshotNids.filter((nid) => ['joined', 'invited'].includes(visibility.get(nid) ?? ''));
  return { visibility, membership: await loadMemberships(tx, server, restricted) };
}

async function loadMemberships(
  tx: Transaction,
  { roomId, version, serverName }: ReadingServer,
  snapshotNids: readonly number[],
): Promise<ReadonlyMap<number, string>> {
  if (snapshotNids.length === 0) return new Map();
  const users = await listMembersOfServer(tx, { roomId, serverName, limit: MAX_USERS });
  const keys = users.map((stateKey) => ({ type: 'm.room.member', stateKey }));
  const entries = await listStateEntries(tx, { roomId, version, snapshotNids, keys });
  const memberships = new Map<number, string>();
  for (const [nid, ofSnapshot] of Map.groupBy(entries, ({ snapshotNid }) => snapshotNid)) {
    const values = ofSnapshot.map(({ content }) => content['membership']).filter((value) => typeof value === 'string');
    const strongest = strongestMembership(values);
    if (strongest !== undefined) memberships.set(nid, strongest);
  }
  return memberships;
}
