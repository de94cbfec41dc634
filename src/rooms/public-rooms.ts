/**
 * The published room directory: listed largest first, searched by what a room shows of itself.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms
 */
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Transaction } from '../storage/database.ts';
import { listPublishedRooms, loadDirectoryState, type PublishedRoom } from '../storage/room-directory.ts';

export interface PublicRoomsRequest {
  readonly limit: number;
  /** A token of an earlier answer. */
  readonly since?: string | undefined;
  readonly searchTerm?: string | undefined;
  /** Undefined for all; null stands for rooms without a type. */
  readonly roomTypes?: readonly (string | null)[] | undefined;
}

export interface PublicRooms {
  readonly chunk: readonly JsonObject[];
  readonly nextBatch: string | undefined;
  readonly prevBatch: string | undefined;
  readonly total: number;
}

/** Bounds the rooms that one search looks at; the rest is a matter of asking on from `next_batch`. */
const MAX_SCANNED = 2_000;
/** Bounds the list as such; what does not fit in is too small to be found by browsing. */
const MAX_LISTED = 50_000;
/** Rooms whose state is read with one statement. */
const BATCH_SIZE = 200;

const SHOWN_TYPES = [
  'm.room.create',
  'm.room.name',
  'm.room.topic',
  'm.room.avatar',
  'm.room.canonical_alias',
  'm.room.join_rules',
  'm.room.guest_access',
  'm.room.history_visibility',
] as const;

export async function loadPublicRooms(tx: Transaction, request: PublicRoomsRequest): Promise<PublicRooms> {
  const start = parseSince(request.since);
  const rooms = await listPublishedRooms(tx, MAX_LISTED);
  const isBackward = start.direction === 'backward';
  const candidates = isBackward ? rooms.slice(0, start.index).reverse() : rooms.slice(start.index);
  const found = await scan(tx, candidates, request);
  const [from, to] = isBackward
    ? [start.index - found.scanned, start.index]
    : [start.index, start.index + found.scanned];
  return {
    chunk: isBackward ? found.entries.reverse() : found.entries,
    nextBatch: to < rooms.length ? `n${to}` : undefined,
    prevBatch: from > 0 ? `p${from}` : undefined,
    total: rooms.length,
  };
}

interface Start {
  readonly direction: 'forward' | 'backward';
  readonly index: number;
}

/** `n` and `p` for the next and the previous rooms, and where in the list. */
function parseSince(since: string | undefined): Start {
  if (since === undefined) return { direction: 'forward', index: 0 };
  if (!/^[np]\d{1,7}$/.test(since))
    throw new MatrixError('M_INVALID_PARAM', 'since is not a token that this server gave');
  return { direction: since.startsWith('p') ? 'backward' : 'forward', index: Number(since.slice(1)) };
}

interface Found {
  readonly entries: JsonObject[];
  readonly scanned: number;
}

async function scan(
  tx: Transaction,
  candidates: readonly PublishedRoom[],
  request: PublicRoomsRequest,
): Promise<Found> {
  const isWanted = compileSearch(request);
  const entries: JsonObject[] = [];
  let scanned = 0;
  while (scanned < candidates.length && scanned < MAX_SCANNED) {
    const isSearch = request.searchTerm !== undefined || request.roomTypes !== undefined;
    const size = isSearch ? BATCH_SIZE : Math.min(request.limit - entries.length, BATCH_SIZE);
    const batch = candidates.slice(scanned, scanned + size);
    const described = await describe(tx, batch);
    for (const entry of described) {
      scanned += 1;
      if (isWanted(entry)) entries.push(entry);
      if (entries.length === request.limit) return { entries, scanned };
    }
  }
  return { entries, scanned };
}

async function describe(tx: Transaction, rooms: readonly PublishedRoom[]): Promise<readonly JsonObject[]> {
  const states = await loadDirectoryState(
    tx,
    rooms.map(({ roomId }) => roomId),
    SHOWN_TYPES,
  );
  return rooms.map(({ roomId, joinedCount }) => {
    const contents = new Map(states.get(roomId)?.map(({ type, content }) => [type, content]));
    return toEntry(roomId, { joinedCount, contentOf: (type) => contents.get(type) ?? {} });
  });
}

interface DirectoryView {
  readonly joinedCount: number;
  readonly contentOf: (type: (typeof SHOWN_TYPES)[number]) => JsonObject;
}

function toEntry(roomId: RoomId, { joinedCount, contentOf }: DirectoryView): JsonObject {
  return {
    room_id: roomId,
    num_joined_members: joinedCount,
    world_readable: contentOf('m.room.history_visibility')['history_visibility'] === 'world_readable',
    guest_can_join: contentOf('m.room.guest_access')['guest_access'] === 'can_join',
    ...shown('name', contentOf('m.room.name')['name']),
    ...shown('topic', contentOf('m.room.topic')['topic']),
    ...shown('avatar_url', contentOf('m.room.avatar')['url']),
    ...shown('canonical_alias', contentOf('m.room.canonical_alias')['alias']),
    ...shown('join_rule', contentOf('m.room.join_rules')['join_rule']),
    ...shown('room_type', contentOf('m.room.create')['type']),
  };
}

/** Only text is shown: state of other servers may hold anything. */
function shown(key: string, value: unknown): JsonObject {
  return typeof value === 'string' && value !== '' ? { [key]: value } : {};
}

function compileSearch({ searchTerm, roomTypes }: PublicRoomsRequest): (entry: JsonObject) => boolean {
  const term = searchTerm?.toLowerCase();
  const types = roomTypes === undefined ? undefined : new Set(roomTypes);
  return (entry) => {
    const type = entry['room_type'];
    if (types !== undefined && !types.has(typeof type === 'string' ? type : null)) return false;
    if (term === undefined || term === '') return true;
    const texts = [entry['name'], entry['topic'], entry['canonical_alias']];
    return texts.some((text) => typeof text === 'string' && text.toLowerCase().includes(term));
  };
}
