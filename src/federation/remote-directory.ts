/**
 * The directories of other servers, asked of those servers: their aliases, and the rooms that they publish.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
 * https://spec.matrix.org/v1.19/server-server-api/#published-room-directory
 */
import { MatrixError } from '../protocol/errors.ts';
import {
  parseRoomId,
  parseServerName,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverNameOf,
} from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { type FederationClient, type FederationRequest, federationPath } from './client.ts';
import { FederationError } from './federation-error.ts';

export interface RemoteAlias {
  readonly roomId: RoomId;
  /** Servers that are in the room, as the alias's server says. */
  readonly servers: readonly ServerName[];
}

export interface RemoteDirectory {
  /** Undefined where the alias's server knows no such alias, or is not talked with. */
  fetchAlias(alias: RoomAlias): Promise<RemoteAlias | undefined>;
  /** One page of the rooms that the server publishes; `request` is what clients ask of their own server. */
  fetchPublicRooms(server: ServerName, request: JsonObject): Promise<JsonObject>;
}

/** A client waits for the answer. */
const DEADLINE_MS = 15_000;
const MAX_ALIAS_BYTES = 256 * 1024;
/** A hundred rooms with topics. */
const MAX_ROOMS_BYTES = 4 * 1024 * 1024;
/** Whoever joins tries a few. */
const MAX_SERVERS = 50;
const MAX_ROOMS = 1_000;

export function createRemoteDirectory(client: Pick<FederationClient, 'fetchJson'>): RemoteDirectory {
  const ask = (request: FederationRequest): Promise<JsonObject> =>
    client.fetchJson({ ...request, deadlineMs: DEADLINE_MS });
  return {
    async fetchAlias(alias) {
      try {
        const answer = await ask({
          destination: serverNameOf(alias),
          method: 'GET',
          path: federationPath`/_matrix/federation/v1/query/directory?room_alias=${alias}`,
          maxBytes: MAX_ALIAS_BYTES,
        });
        return readAlias(answer);
      } catch (cause) {
        if (!(cause instanceof FederationError)) throw cause;
        if (cause.status === 404 || cause.reason === 'denied') return undefined;
        throw unanswered(cause);
      }
    },
    async fetchPublicRooms(server, body) {
      try {
        const answer = await ask({
          destination: server,
          method: 'POST',
          path: '/_matrix/federation/v1/publicRooms',
          body,
          maxBytes: MAX_ROOMS_BYTES,
        });
        return readPublicRooms(answer);
      } catch (cause) {
        if (!(cause instanceof FederationError)) throw cause;
        if (cause.reason === 'denied')
          throw new MatrixError('M_FORBIDDEN', 'This server is not talked with', { cause });
        throw unanswered(cause);
      }
    },
  };
}

function readAlias(answer: JsonObject): RemoteAlias | undefined {
  const roomId = typeof answer['room_id'] === 'string' ? parseRoomId(answer['room_id']) : undefined;
  if (roomId === undefined) return undefined;
  const named = isJsonArray(answer['servers']) ? answer['servers'].slice(0, MAX_SERVERS) : [];
  return { roomId, servers: named.flatMap((name) => (typeof name === 'string' ? (parseServerName(name) ?? []) : [])) };
}

/** Only what clients know how to read; what an entry holds beside its id is the other server's affair. */
function readPublicRooms(answer: JsonObject): JsonObject {
  const { chunk, next_batch, prev_batch, total_room_count_estimate } = answer;
  const text = (key: string, value: JsonValue | undefined): JsonObject =>
    typeof value === 'string' ? { [key]: value } : {};
  return {
    chunk: isJsonArray(chunk) ? chunk.filter(isPublicRoom).slice(0, MAX_ROOMS) : [],
    ...text('next_batch', next_batch),
    ...text('prev_batch', prev_batch),
    ...(typeof total_room_count_estimate === 'number' && { total_room_count_estimate }),
  };
}

function isPublicRoom(entry: JsonValue): boolean {
  return isJsonObject(entry) && typeof entry['room_id'] === 'string' && parseRoomId(entry['room_id']) !== undefined;
}

function unanswered(cause: FederationError): MatrixError {
  return new MatrixError('M_UNKNOWN', 'The other server does not answer', { status: 502, cause });
}
