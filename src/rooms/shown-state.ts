/**
 * What our rooms show of themselves to somebody on another server who is invited or knocks: whole events, so that their
 * server can see for itself which room it is. It is pruned to stripped state there, before clients see it.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#stripped-state
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { UserId } from '../protocol/ids.ts';
import type { Event, Pdu } from '../protocol/pdu.ts';
import { MAX_STRIPPED_BYTES, STRIPPED_TYPES } from '../protocol/stripped-state.ts';
import type { Database } from '../storage/database.ts';
import { loadEventsByNid } from '../storage/events.ts';

/** Leaves room for the invite itself, which is shown with it. */
const MAX_SHOWN_BYTES = MAX_STRIPPED_BYTES / 2;

const SHOWN: ReadonlySet<string> = new Set(STRIPPED_TYPES);

export async function loadShownState(
  database: Database,
  snapshot: RoomSnapshot,
  inviter: UserId | undefined,
): Promise<readonly Pdu[]> {
  const entries = STRIPPED_TYPES.map((type) => snapshot.get(type, ''));
  if (inviter !== undefined) entries.push(snapshot.get('m.room.member', inviter));
  const nids = entries.flatMap((entry) => entry?.nid ?? []);
  return selectShown((await loadEventsByNid(database, snapshot.version, nids)).map(({ event }) => event.pdu));
}

/** The same of a room whose events are all at hand. */
export function shownStateIn(events: readonly Event[], inviter: UserId | undefined): readonly Pdu[] {
  const isShown = ({ type, stateKey }: Event): boolean =>
    (SHOWN.has(type) && stateKey === '') || (type === 'm.room.member' && stateKey === inviter);
  const current = new Map(events.filter(isShown).map((event) => [`${event.type} ${event.stateKey}`, event]));
  return selectShown([...current.values()].map(({ pdu }) => pdu));
}

/** As much as another server takes; the create event, which proves which room it is, comes first. */
function selectShown(pdus: readonly Pdu[]): readonly Pdu[] {
  const isCreate = ({ type }: Pdu): boolean => type === 'm.room.create';
  const ordered = [...pdus.filter(isCreate), ...pdus.filter((pdu) => !isCreate(pdu))];
  let bytes = 0;
  return ordered.filter((pdu) => {
    const size = Buffer.byteLength(JSON.stringify(pdu));
    const fits = isCreate(pdu) || bytes + size <= MAX_SHOWN_BYTES;
    if (fits) bytes += size;
    return fits;
  });
}
