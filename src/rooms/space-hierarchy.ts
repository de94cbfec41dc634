/**
 * The tree of rooms below a space, depth first, a page at a time. Each room is visited once, however many spaces name it
 * and whatever circles they form. A page walks the tree again from its root and leaves out what earlier pages gave: so a
 * token holds no state of the server's, and a tree that changed meanwhile repeats or misses a room at worst.
 *
 * Rooms that this server is not in are asked of those by which they can be found; what nobody tells of is left out.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
 */
import { createLocalMembers } from '../engine/local-members.ts';
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import { parseServerName, type RoomId, type ServerName, type UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { isRemotelyPreviewable } from './remote-access.ts';
import type { RemoteSummaries } from './remote-summaries.ts';
import { describeRoom, isPreviewable } from './room-summary.ts';
import { childrenOf, type SpaceChild, suggested, viaOf } from './space-children.ts';

export interface HierarchyRequest {
  readonly roomId: RoomId;
  readonly suggestedOnly: boolean;
  /** Steps below the root: 0 for the root alone. */
  readonly maxDepth: number;
  readonly limit: number;
  /** How many rooms earlier pages gave. */
  readonly skip: number;
}

export interface HierarchyPage {
  readonly rooms: readonly JsonObject[];
  readonly hasMore: boolean;
}

export type LoadHierarchy = (userId: UserId, request: HierarchyRequest) => Promise<HierarchyPage>;

export interface HierarchyOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshots'>;
  readonly serverName: ServerName;
  /** Undefined where this server talks with no others. */
  readonly remoteSummaries?: RemoteSummaries | undefined;
}

/** Bounds the rooms that one request looks at, and with them how far paging leads: larger trees end there. */
export const MAX_VISITED = 5_000;
/** Children that are loaded together. */
const LOADED_AT_ONCE = 50;

/** Rooms that one request asks other servers for: the next page goes on with the others. */
const MAX_ASKED = 30;

export function createHierarchy(options: HierarchyOptions): LoadHierarchy {
  const isInhabited = createLocalMembers(options.serverName);
  return async (userId, request) => {
    const rooms: JsonObject[] = [];
    let found = 0;
    for await (const room of walk({ ...options, isInhabited }, userId, request)) {
      found += 1;
      if (found <= request.skip) continue;
      if (rooms.length === request.limit) return { rooms, hasMore: true };
      rooms.push({ ...room.summary, children_state: room.children.map(toChildState) });
    }
    if (found === 0) throw new MatrixError('M_FORBIDDEN', 'You are not allowed to view this room');
    return { rooms, hasMore: false };
  };
}

interface WalkOptions extends HierarchyOptions {
  readonly isInhabited: (snapshot: RoomSnapshot) => boolean;
}

interface RoomInTree {
  readonly summary: JsonObject;
  readonly children: readonly SpaceChild[];
  /** Where another server told of the room: its children that it described. */
  readonly described?: ReadonlyMap<RoomId, JsonObject>;
}

interface Candidate {
  readonly roomId: RoomId;
  readonly via: readonly ServerName[];
  /** What the server that told of the space said of it. */
  readonly described?: JsonObject | undefined;
}

/** The children of one space that are still to be visited. */
interface Level {
  readonly depth: number;
  readonly children: readonly Candidate[];
  next: number;
  loaded: ReadonlyMap<RoomId, RoomSnapshot>;
}

/** Every room of the tree that the user may see; nothing where that does not include the root. */
async function* walk(options: WalkOptions, userId: UserId, request: HierarchyRequest): AsyncGenerator<RoomInTree> {
  const visited = new Set<RoomId>();
  const root = { roomId: request.roomId, via: serversOfRoot(request.roomId) };
  const levels: Level[] = [{ depth: 0, children: [root], next: 0, loaded: new Map() }];
  const asking = { userId, request, asked: 0 };
  while (visited.size < MAX_VISITED) {
    const level = levels.at(-1);
    if (level === undefined) return;
    const candidate = level.children[level.next];
    if (candidate === undefined) {
      levels.pop();
      continue;
    }
    if (level.next % LOADED_AT_ONCE === 0) {
      const part = level.children.slice(level.next, level.next + LOADED_AT_ONCE).map(({ roomId }) => roomId);
      level.loaded = await options.engine.loadSnapshots(part.filter((id) => !visited.has(id)));
    }
    level.next += 1;
    if (visited.has(candidate.roomId)) continue;
    visited.add(candidate.roomId);
    const room = await visit(options, asking, { candidate, snapshot: level.loaded.get(candidate.roomId) });
    if (room === undefined) continue;
    yield room;
    if (level.depth === request.maxDepth) continue;
    const children = room.children.map((child) => {
      return { roomId: child.roomId, via: viaOf(child), described: room.described?.get(child.roomId) };
    });
    if (children.length > 0) levels.push({ depth: level.depth + 1, children, next: 0, loaded: new Map() });
  }
}

async function askFor(
  remoteSummaries: RemoteSummaries,
  asking: Asking,
  { roomId, via, described }: Candidate,
): Promise<RoomInTree | undefined> {
  // Of spaces the children have to be known too.
  if (described !== undefined && described['room_type'] !== 'm.space') return { summary: described, children: [] };
  if (asking.asked >= MAX_ASKED) return undefined;
  const { found, isFetched } = await remoteSummaries.load(roomId, via);
  if (isFetched) asking.asked += 1;
  return found;
}

/** Room ids of old say by which server they were made: it may be in the room still. */
function serversOfRoot(roomId: RoomId): readonly ServerName[] {
  const name = parseServerName(roomId.slice(roomId.indexOf(':') + 1));
  return roomId.includes(':') && name !== undefined ? [name] : [];
}

interface Asking {
  readonly userId: UserId;
  readonly request: HierarchyRequest;
  asked: number;
}

interface Visited {
  readonly candidate: Candidate;
  readonly snapshot: RoomSnapshot | undefined;
}

/** The room as the user may see it. One that all of ours left has gone on without us: others know it better. */
async function visit(
  { engine, remoteSummaries, isInhabited }: WalkOptions,
  asking: Asking,
  { candidate, snapshot }: Visited,
): Promise<RoomInTree | undefined> {
  const { userId, request } = asking;
  const isOurs = snapshot !== undefined && isInhabited(snapshot);
  if (!isOurs && remoteSummaries !== undefined) {
    const found = await askFor(remoteSummaries, asking, candidate);
    if (found !== undefined && (await isRemotelyPreviewable(engine, found.summary, userId))) {
      return { ...found, children: suggested(found.children, request.suggestedOnly) };
    }
  }
  if (snapshot === undefined || !(await isPreviewable(engine, snapshot, userId))) return undefined;
  return { summary: describeRoom(snapshot), children: childrenOf(snapshot, request) };
}

/** The summary of a room, with what it names as its children. */
export function describeWithChildren(
  snapshot: RoomSnapshot,
  request: Pick<HierarchyRequest, 'suggestedOnly'>,
): JsonObject {
  return { ...describeRoom(snapshot), children_state: childrenOf(snapshot, request).map(toChildState) };
}

function toChildState({ entry }: SpaceChild): JsonObject {
  const { type, stateKey, content, sender, originServerTs } = entry;
  return { type, state_key: stateKey, content, sender, origin_server_ts: originServerTs };
}
