/**
 * Rooms that this server is not in, as others describe them. What they say is rebuilt from the fields that the spec names,
 * bounded, and kept for some minutes: hierarchies are read page by page, from the root each time.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
 */
import { FederationError } from '../federation/federation-error.ts';
import type { RemoteReading } from '../federation/remote-reading.ts';
import type { Clock } from '../lib/clock.ts';
import { Lru } from '../lib/lru.ts';
import { isRoomId, type RoomId, type ServerName } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { byPlace, type SpaceChild, toSpaceChild } from './space-children.ts';

export interface RemoteSummary {
  /** As clients get it, but for who asks. */
  readonly summary: JsonObject;
  readonly children: readonly SpaceChild[];
  /** Summaries of those children that the same server described. */
  readonly described: ReadonlyMap<RoomId, JsonObject>;
}

export interface RemoteSummaries {
  /** `found` is undefined where no server tells of the room; `isFetched`: servers were asked for it just now. */
  load(roomId: RoomId, via: readonly ServerName[]): Promise<LoadedSummary>;
}

export interface LoadedSummary {
  readonly found: RemoteSummary | undefined;
  readonly isFetched: boolean;
}

export interface RemoteSummariesOptions {
  readonly remote: Pick<RemoteReading, 'fetchHierarchy'>;
  readonly clock: Clock;
  readonly serverName: ServerName;
}

const MAX_CACHE_BYTES = 8 * 1024 * 1024;
const KEPT_MS = 5 * 60_000;
/** Servers that do not answer are left alone for so long. */
const MISSED_MS = 30_000;
const MAX_SERVERS = 3;
const MAX_CHILDREN = 500;
/** Longer texts are no names; topics are as long as a PDU may be, which is too long for a list. */
const MAX_TEXT = 2_000;
const MAX_ALLOWED = 50;

interface Kept {
  readonly found: RemoteSummary | undefined;
  readonly until: number;
}

export function createRemoteSummaries({ remote, clock, serverName }: RemoteSummariesOptions): RemoteSummaries {
  const kept = new Lru<string, Kept>({ maxCost: MAX_CACHE_BYTES, costOf: sizeOf });
  const loading = new Map<string, Promise<RemoteSummary | undefined>>();

  async function fetchAndKeep(key: string, roomId: RoomId, servers: readonly ServerName[]) {
    let isRefused = true;
    for (const server of servers) {
      try {
        const found = readAnswer(await remote.fetchHierarchy(server, roomId), roomId);
        if (found === undefined) continue;
        kept.set(key, { found, until: clock.monotonic() + KEPT_MS });
        return found;
      } catch (cause) {
        isRefused &&= cause instanceof FederationError && cause.reason === 'answered';
      }
    }
    // Who says no is asked again: it costs little, and may change with the next join. Who does not answer has us wait.
    if (!isRefused) kept.set(key, { found: undefined, until: clock.monotonic() + MISSED_MS });
    return undefined;
  }

  return {
    async load(roomId, via) {
      const servers = [...new Set(via)].filter((name) => name !== serverName).slice(0, MAX_SERVERS);
      // By the servers too: what one says of a room must not be taken for what another would.
      const key = [roomId, ...servers].join(' ');
      const known = kept.get(key);
      if (known !== undefined && clock.monotonic() < known.until) return { found: known.found, isFetched: false };
      if (servers.length === 0) return { found: undefined, isFetched: false };
      const started = loading.get(key) ?? fetchAndKeep(key, roomId, servers).finally(() => loading.delete(key));
      loading.set(key, started);
      return { found: await started, isFetched: true };
    },
  };
}

function sizeOf({ found }: Kept): number {
  if (found === undefined) return 100;
  const contents = found.children.map(({ entry }) => entry.content);
  return JSON.stringify([found.summary, contents, [...found.described.values()]]).length;
}

function readAnswer(answer: JsonObject, roomId: RoomId): RemoteSummary | undefined {
  const room = answer['room'];
  if (!isJsonObject(room) || room['room_id'] !== roomId) return undefined;
  const states = room['children_state'];
  const children = (isJsonArray(states) ? states : []).slice(0, MAX_CHILDREN).flatMap((state) => {
    const child = isJsonObject(state) ? toSpaceChild(state) : undefined;
    return child === undefined ? [] : [child];
  });
  return { summary: toSummary(room, roomId), children: children.sort(byPlace), described: readDescribed(answer) };
}

function readDescribed(answer: JsonObject): ReadonlyMap<RoomId, JsonObject> {
  const children = answer['children'];
  const described = new Map<RoomId, JsonObject>();
  for (const value of (isJsonArray(children) ? children : []).slice(0, MAX_CHILDREN)) {
    const roomId = isJsonObject(value) ? value['room_id'] : undefined;
    if (!isJsonObject(value) || typeof roomId !== 'string' || !isRoomId(roomId)) continue;
    described.set(roomId, toSummary(value, roomId));
  }
  return described;
}

const TEXTS = ['name', 'topic', 'avatar_url', 'canonical_alias', 'room_type', 'encryption', 'room_version'];

function toSummary(value: JsonObject, roomId: RoomId): JsonObject {
  const joined = value['num_joined_members'];
  const joinRule = value['join_rule'];
  const allowed = value['allowed_room_ids'];
  return {
    room_id: roomId,
    num_joined_members: typeof joined === 'number' && joined >= 0 ? Math.floor(joined) : 0,
    world_readable: value['world_readable'] === true,
    guest_can_join: value['guest_can_join'] === true,
    // Servers from before there was another rule leave it out.
    join_rule: typeof joinRule === 'string' ? joinRule.slice(0, MAX_TEXT) : 'public',
    ...Object.fromEntries(
      TEXTS.flatMap((key) => {
        const text = value[key];
        return typeof text === 'string' && text !== '' ? [[key, text.slice(0, MAX_TEXT).toWellFormed()]] : [];
      }),
    ),
    ...(isJsonArray(allowed) && {
      allowed_room_ids: allowed.filter((id) => typeof id === 'string' && isRoomId(id)).slice(0, MAX_ALLOWED),
    }),
  };
}
