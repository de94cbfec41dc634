/**
 * What a server that joins a room is given of it: the state before the join and its auth chain, as JSON texts in pages, or
 * only what it needs to begin with: the state without members, but for those whom clients name the room after.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
 */
import type { EventId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Database } from '../storage/database.ts';
import { loadKnownEvents } from '../storage/received-events.ts';
import { listCitedNids, listNonMemberNids, listPduTexts } from '../storage/room-transfer.ts';
import { loadStateNids } from '../storage/state.ts';
import { membershipIn, type RoomSnapshot } from './room-snapshot.ts';

/** Each page is of some 100 KB mostly, 6 MB at worst. */
const EVENTS_PER_PAGE = 100;
/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_roomsummary */
const MAX_HEROES = 5;

export interface RoomTransfer {
  /** Pages of JSON texts. */
  readonly state: AsyncIterable<readonly string[]>;
  readonly authChain: AsyncIterable<readonly string[]>;
}

export interface TransferRequest {
  /** The room as it was before the join. */
  readonly snapshot: RoomSnapshot;
  /** The join, which is in the room. */
  readonly eventId: EventId;
  readonly omitMembers: boolean;
}

export async function loadTransfer(database: Database, request: TransferRequest): Promise<RoomTransfer> {
  const { snapshot, eventId, omitMembers } = request;
  const { roomId, version } = snapshot;
  const [join] = await loadKnownEvents(database, version, [eventId]);
  if (join === undefined || join.stateBefore === null) throw new Error('the join was accepted a moment ago');
  const before = (await loadStateNids(database, [join.stateBefore])).get(join.stateBefore) ?? new Set();
  const given = omitMembers
    ? [
        ...(await listNonMemberNids(database, [...before])),
        ...selectHeroes(snapshot, join.event.sender).filter((nid) => before.has(nid)),
      ]
    : [...before];
  const cited = await listCitedNids(database, roomId, [...given, join.nid]);
  // What stands in the state need not be given twice.
  const isGiven = new Set(omitMembers ? given : []);
  return {
    state: pages(database, version, given),
    authChain: pages(
      database,
      version,
      cited.filter((nid) => !isGiven.has(nid)),
    ),
  };
}

async function* pages(
  database: Database,
  version: RoomVersion,
  nids: readonly number[],
): AsyncGenerator<readonly string[]> {
  for (let from = 0; from < nids.length; from += EVENTS_PER_PAGE) {
    yield await listPduTexts(database, version, nids.slice(from, from + EVENTS_PER_PAGE));
  }
}

/** The membership events of those whom a client names a room without a name after. */
function selectHeroes(snapshot: RoomSnapshot, userId: string): readonly number[] {
  if (hasName(snapshot)) return [];
  const others = [...snapshot.members()].filter(({ stateKey }) => stateKey !== userId);
  const isPresent = ({ content }: (typeof others)[number]): boolean =>
    ['join', 'invite'].includes(membershipIn(content) ?? '');
  const present = others.filter(isPresent);
  return (present.length > 0 ? present : others)
    .map(({ nid }) => nid)
    .sort((a, b) => a - b)
    .slice(0, MAX_HEROES);
}

function hasName(snapshot: RoomSnapshot): boolean {
  const isText = (type: string, key: string): boolean => {
    const content = snapshot.get(type, '')?.content;
    const value = isJsonObject(content) ? content[key] : undefined;
    return typeof value === 'string' && value !== '';
  };
  return isText('m.room.name', 'name') || isText('m.room.canonical_alias', 'alias');
}
