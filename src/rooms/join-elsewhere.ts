/**
 * Whether a user joins a room here or by way of another server: where nobody of ours is in it, and where it is restricted
 * and nobody of ours may let them in. Which servers are asked, and in which order.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#joining-rooms
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 */
import { createLocalMembers } from '../engine/local-members.ts';
import { type RoomSnapshot, serversIn } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { RemoteJoins } from '../federation/remote-join.ts';
import { checkCanonical } from '../protocol/canonical-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import {
  type EventId,
  parseServerName,
  parseUserId,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Actor } from './actor.ts';
import type { LoadProfile } from './profile.ts';
import { allowedRooms, loadJoinedAmong, needsAuthoriser, selectAuthoriser } from './restricted-join.ts';

export interface JoinElsewhereOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot' | 'loadSnapshots'>;
  readonly serverName: ServerName;
  readonly loadProfile: LoadProfile;
  readonly remoteJoins: Pick<RemoteJoins, 'join' | 'joinAuthorised'>;
  /** The servers of those who invited the user to a room that this server is not in. */
  readonly loadInviteServers?: ((userId: UserId, roomId: RoomId) => Promise<readonly ServerName[]>) | undefined;
}

export interface JoinElsewhereRequest {
  readonly roomId: RoomId;
  readonly content: JsonObject;
  /** As the client or the room's alias names them. */
  readonly servers: readonly ServerName[];
}

/** Undefined where the user is to join here. */
export type JoinElsewhere = (actor: Actor, request: JoinElsewhereRequest) => Promise<EventId | undefined>;

/** Room for a member event's other fields in an event of 64 KiB. */
const MAX_CONTENT_BYTES = 60_000;

export function createJoinElsewhere(options: JoinElsewhereOptions): JoinElsewhere {
  const { engine, serverName, remoteJoins } = options;
  const isInhabited = createLocalMembers(serverName);

  async function joinElsewhere(actor: Actor, request: JoinElsewhereRequest): Promise<EventId | undefined> {
    const { userId } = actor;
    const { roomId } = request;
    const snapshot = await engine.loadSnapshot(roomId);
    const isHere = snapshot !== undefined && isInhabited(snapshot);
    if (isHere && !isUnsure(snapshot, userId) && (await canJoinHere(options, snapshot, userId))) return undefined;
    const servers = await listServers(options, { ...request, userId, snapshot, isHere });
    // A room that was only ever here can be entered again; one that nobody knows is not found.
    if (servers.length === 0) return undefined;
    if (actor.isGuest) {
      throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests cannot join rooms of other servers');
    }
    const content = await makeContent(options, userId, request.content);
    const join = { roomId, userId, servers, content };
    if (isHere) return remoteJoins.joinAuthorised(join);
    const joined = await remoteJoins.join(join);
    const current = joined === undefined ? await engine.loadSnapshot(roomId) : undefined;
    // Somebody else's join has brought the room: whether it takes another server now is to be asked anew.
    return current !== undefined && isInhabited(current) ? joinElsewhere(actor, request) : joined;
  }

  return joinElsewhere;
}

/** While members are missing, the user may be banned for all we know: a server that knows has to let them in. */
function isUnsure(snapshot: RoomSnapshot, userId: UserId): boolean {
  return snapshot.isPartial && snapshot.membershipOf(userId) !== 'join';
}

/** Also where they may not join at all: that is for the local join to say. */
async function canJoinHere(
  { engine, serverName }: JoinElsewhereOptions,
  snapshot: RoomSnapshot,
  userId: UserId,
): Promise<boolean> {
  if (!needsAuthoriser(snapshot, userId) || selectAuthoriser(snapshot, serverName) !== undefined) return true;
  return (await loadJoinedAmong(engine, allowedRooms(snapshot), userId)).size === 0;
}

interface ServersWanted extends JoinElsewhereRequest {
  readonly userId: UserId;
  readonly snapshot: RoomSnapshot | undefined;
  readonly isHere: boolean;
}

/** Whoever names servers, or was invited by somebody, means those; what we know or guess ourselves stands in for them. */
async function listServers(options: JoinElsewhereOptions, wanted: ServersWanted): Promise<readonly ServerName[]> {
  const { userId, roomId, snapshot, isHere } = wanted;
  const invite = snapshot?.membershipOf(userId) === 'invite' ? snapshot.get('m.room.member', userId) : undefined;
  const servers = new Set([
    ...wanted.servers,
    ...((await options.loadInviteServers?.(userId, roomId)) ?? []),
    ...(invite === undefined ? [] : [serverNameOf(invite.sender)]),
  ]);
  servers.delete(options.serverName);
  if (servers.size > 0 && !isHere) return [...servers];
  const known = snapshot === undefined ? [] : [...serversOfPower(snapshot), ...serversIn(snapshot)];
  for (const server of known) servers.add(server);
  servers.delete(options.serverName);
  return servers.size > 0 ? [...servers] : serverInId(roomId).filter((server) => server !== options.serverName);
}

/** Who has power in a room may mostly invite, and so let others in. */
function serversOfPower(snapshot: RoomSnapshot): readonly ServerName[] {
  const users = snapshot.get('m.room.power_levels', '')?.content['users'];
  const named = isJsonObject(users) ? Object.keys(users) : [];
  const userIds = named.flatMap((name) => parseUserId(name) ?? []);
  return userIds.filter((userId) => snapshot.membershipOf(userId) === 'join').map(serverNameOf);
}

/** Up to version 11 a room's id names the server that made it: no more than a guess. */
export function serverInId(roomId: RoomId): readonly ServerName[] {
  const colon = roomId.indexOf(':');
  const server = colon === -1 ? undefined : parseServerName(roomId.slice(colon + 1));
  return server === undefined ? [] : [server];
}

async function makeContent(
  { loadProfile }: JoinElsewhereOptions,
  userId: UserId,
  given: JsonObject,
): Promise<JsonObject> {
  const { join_authorised_via_users_server: _forged, membership: _membership, ...own } = given;
  const content = { ...(await loadProfile(userId)), ...own };
  const fault = checkCanonical(content);
  if (fault !== undefined) throw new MatrixError('M_BAD_JSON', `The content is not canonical JSON: ${fault}`);
  if (Buffer.byteLength(JSON.stringify(content)) > MAX_CONTENT_BYTES) {
    throw new MatrixError('M_TOO_LARGE', 'The join would be larger than an event may be');
  }
  return content;
}
