/**
 * The tree of rooms below a space, depth first, a page at a time. Each room is visited once, however many spaces name it
 * and whatever circles they form. A page walks the tree again from its root and leaves out what earlier pages gave: so a
 * token holds no state of the server's, and a tree that changed meanwhile repeats or misses a room at worst.
 *
 * Rooms that this server does not know are left out.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { describeRoom, isPreviewable } from './room-summary.ts';
import { childrenOf, type SpaceChild } from './space-children.ts';

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

type Engine = Pick<RoomEngine, 'loadSnapshots'>;

/** Bounds the rooms that one request looks at, and with them how far paging leads: larger trees end there. */
export const MAX_VISITED = 5_000;
/** Children that are loaded together. */
const LOADED_AT_ONCE = 50;

export function createHierarchy(engine: Engine): LoadHierarchy {
  return async (userId, request) => {
    const rooms: JsonObject[] = [];
    let found = 0;
    for await (const snapshot of walk(engine, userId, request)) {
      found += 1;
      if (found <= request.skip) continue;
      if (rooms.length === request.limit) return { rooms, hasMore: true };
      rooms.push(describeWithChildren(snapshot, request));
    }
    if (found === 0) throw new MatrixError('M_FORBIDDEN', 'You are not allowed to view this room');
    return { rooms, hasMore: false };
  };
}

/** The children of one space that are still to be visited. */
interface Level {
  readonly depth: number;
  readonly children: readonly RoomId[];
  next: number;
  loaded: ReadonlyMap<RoomId, RoomSnapshot>;
}

/** Every room of the tree that the user may see; nothing where that does not include the root. */
async function* walk(engine: Engine, userId: UserId, request: HierarchyRequest): AsyncGenerator<RoomSnapshot> {
  const visited = new Set<RoomId>();
  const levels: Level[] = [{ depth: 0, children: [request.roomId], next: 0, loaded: new Map() }];
  while (visited.size < MAX_VISITED) {
    const level = levels.at(-1);
    if (level === undefined) return;
    const roomId = level.children[level.next];
    if (roomId === undefined) {
      levels.pop();
      continue;
    }
    if (level.next % LOADED_AT_ONCE === 0) {
      const part = level.children.slice(level.next, level.next + LOADED_AT_ONCE);
      level.loaded = await engine.loadSnapshots(part.filter((id) => !visited.has(id)));
    }
    level.next += 1;
    if (visited.has(roomId)) continue;
    visited.add(roomId);
    const snapshot = level.loaded.get(roomId);
    if (snapshot === undefined || !(await isPreviewable(engine, snapshot, userId))) continue;
    yield snapshot;
    if (level.depth === request.maxDepth) continue;
    const children = childrenOf(snapshot, request).map((child) => child.roomId);
    if (children.length > 0) levels.push({ depth: level.depth + 1, children, next: 0, loaded: new Map() });
  }
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
