/**
 * The server's own aliases and the published directory: who may make, remove and list them. No right over a room or the
 * server ever follows from an alias.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-aliases
 */
import { type RoomSnapshot, serversIn } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { RemoteAlias, RemoteDirectory } from '../federation/remote-directory.ts';
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import {
  parseRoomAlias,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../protocol/ids.ts';
import { canSend } from '../protocol/power-levels.ts';
import type { Database } from '../storage/database.ts';
import {
  deleteAlias,
  insertAlias,
  isAliasTaken,
  listAliasesOfRoom,
  loadAliases,
  loadPublished,
  setPublished,
} from '../storage/room-directory.ts';
import { type Actor, notInRoom, requireJoined, requireNotSuspended } from './actor.ts';
import { withoutAlias } from './canonical-alias.ts';
import { isWorldReadable } from './room-access.ts';

export interface Aliases {
  /** The room that the alias leads to, or M_NOT_FOUND; aliases of other servers are asked of them. */
  resolve(alias: RoomAlias): Promise<RoomId>;
  /** The same, with servers that are in the room. */
  find(alias: RoomAlias): Promise<RemoteAlias>;
  create(actor: Actor, alias: RoomAlias, roomId: RoomId): Promise<void>;
  delete(actor: Actor, alias: RoomAlias): Promise<void>;
  list(actor: Actor, roomId: RoomId): Promise<readonly RoomAlias[]>;
  isPublished(roomId: RoomId): Promise<boolean>;
  setPublished(actor: Actor, roomId: RoomId, isPublished: boolean): Promise<void>;
}

export interface AliasesOptions {
  readonly engine: Pick<RoomEngine, 'send' | 'loadSnapshot'>;
  readonly database: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  /** Asks the alias's own server; undefined where nobody can be asked. */
  readonly fetchRemoteAlias?: RemoteDirectory['fetchAlias'];
  /** Server administrators may remove any alias and any room from the directory. */
  readonly isAdmin: (userId: UserId) => Promise<boolean>;
}

/** The alias with this localpart on this server; throws M_INVALID_PARAM where there can be none. */
export function localAlias(localpart: string, serverName: ServerName): RoomAlias {
  const alias = localpart.includes(':') ? undefined : parseRoomAlias(`#${localpart}:${serverName}`);
  if (alias === undefined || localpart === '') throw new MatrixError('M_INVALID_PARAM', 'The room alias is not valid');
  return alias;
}

export function createAliases(options: AliasesOptions): Aliases {
  const { engine, database, clock } = options;

  async function loadTarget(alias: RoomAlias): Promise<{ roomId: RoomId; creator: UserId }> {
    const target = (await loadAliases(database, [alias])).get(alias);
    if (target === undefined) throw noSuchAlias();
    return target;
  }

  async function find(alias: RoomAlias): Promise<RemoteAlias> {
    if (serverNameOf(alias) !== options.serverName) {
      const found = await options.fetchRemoteAlias?.(alias);
      if (found === undefined) throw noSuchAlias();
      return found;
    }
    const { roomId } = await loadTarget(alias);
    const snapshot = await engine.loadSnapshot(roomId);
    const others = snapshot === undefined ? [] : serversIn(snapshot);
    return { roomId, servers: [...new Set([options.serverName, ...others])].slice(0, MAX_SERVERS) };
  }

  return {
    find,
    async resolve(alias) {
      return (await find(alias)).roomId;
    },

    async create(actor, alias, roomId) {
      requireNotSuspended(actor);
      if (serverNameOf(alias) !== options.serverName) {
        throw new MatrixError('M_INVALID_PARAM', 'Aliases can only be made on this server');
      }
      const snapshot = await engine.loadSnapshot(roomId);
      if (snapshot === undefined) throw notInRoom();
      requireJoined(snapshot, actor.userId);
      try {
        await insertAlias(database, { alias, roomId, creator: actor.userId, createdAt: clock.now() });
      } catch (cause) {
        if (!isAliasTaken(cause)) throw cause;
        throw new MatrixError('M_UNKNOWN', 'A room has this alias already', { status: 409, cause });
      }
    },

    async delete(actor, alias) {
      const { roomId, creator } = await loadTarget(alias);
      const snapshot = await engine.loadSnapshot(roomId);
      const { userId } = actor;
      const mayDelete = creator === userId || maySetAliases(snapshot, userId) || (await options.isAdmin(userId));
      if (!mayDelete) throw new MatrixError('M_FORBIDDEN', 'You may not delete this alias');
      await deleteAlias(database, alias);
      if (maySetAliases(snapshot, userId)) await removeFromRoom(engine, { userId, roomId, alias });
    },

    async list({ userId }, roomId) {
      const snapshot = await engine.loadSnapshot(roomId);
      if (snapshot === undefined) throw notInRoom();
      if (!isWorldReadable(snapshot)) requireJoined(snapshot, userId);
      return listAliasesOfRoom(database, roomId);
    },

    async isPublished(roomId) {
      const isPublished = await loadPublished(database, roomId);
      if (isPublished === undefined) throw unknownRoom();
      return isPublished;
    },

    async setPublished(actor, roomId, isPublished) {
      requireNotSuspended(actor);
      const snapshot = await engine.loadSnapshot(roomId);
      if (snapshot === undefined) throw unknownRoom();
      // The directory is the server's.
      const mayPublish = maySetAliases(snapshot, actor.userId) || (await options.isAdmin(actor.userId));
      if (!mayPublish) throw new MatrixError('M_FORBIDDEN', 'You may not change whether this room is published');
      await setPublished(database, roomId, isPublished);
    },
  };
}

/** Servers named for a room: whoever joins needs one that answers, not all. */
const MAX_SERVERS = 50;

function noSuchAlias(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'No room has this alias');
}

function unknownRoom(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'The room is not known to this server');
}

/** Who decides which names the room shows also decides about the names that lead to it. */
function maySetAliases(snapshot: RoomSnapshot | undefined, userId: UserId): boolean {
  if (snapshot?.membershipOf(userId) !== 'join') return false;
  return canSend(snapshot, { userId, type: 'm.room.canonical_alias', isState: true }, snapshot.version);
}

interface RemovedAlias {
  readonly userId: UserId;
  readonly roomId: RoomId;
  readonly alias: RoomAlias;
}

/** The room stops showing the alias. */
async function removeFromRoom(
  engine: Pick<RoomEngine, 'send'>,
  { userId, roomId, alias }: RemovedAlias,
): Promise<void> {
  await engine.send({
    roomId,
    decide(snapshot) {
      const shown = snapshot.get('m.room.canonical_alias', '')?.content;
      const content = shown === undefined ? undefined : withoutAlias(shown, alias);
      if (content === undefined || !maySetAliases(snapshot, userId)) return [];
      return [{ type: 'm.room.canonical_alias', sender: userId, stateKey: '', content }];
    },
  });
}
