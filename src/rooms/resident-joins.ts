/**
 * Users of other servers join a room by way of this server, which is in it: it drafts the join that they are to make, and
 * takes in the one that their server signed. What it lets in it also sends to the other servers in the room.
 *
 * Invariants: a join is taken in by the same door as any event of another server; it follows events that we have; our
 * signature goes only on a join that was made anew from its parts, for a user who meets the room's conditions.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 * https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
 */
import { draftPdu } from '../engine/build-pdu.ts';
import type { Receiver } from '../engine/receive-pdu.ts';
import { isInGraph } from '../engine/received-batch.ts';
import { type RoomSnapshot, serversIn } from '../engine/room-snapshot.ts';
import { loadTransfer, type RoomTransfer } from '../engine/room-transfer.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Clock } from '../lib/clock.ts';
import { checkAuth } from '../protocol/auth-rules.ts';
import { MatrixError } from '../protocol/errors.ts';
import { createEvent } from '../protocol/event.ts';
import { hasValidContentHash } from '../protocol/hashes.ts';
import { type EventId, parseUserId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { Event, JsonObject, JsonValue, Pdu } from '../protocol/pdu.ts';
import { checkPduFormat } from '../protocol/pdu-format.ts';
import { asIfSigned, countersignEvent } from '../protocol/sign-event.ts';
import type { SigningKey } from '../protocol/signing.ts';
import type { OddNumbers } from '../protocol/strict-json.ts';
import type { Database } from '../storage/database.ts';
import { loadKnownEvents } from '../storage/received-events.ts';
import type { LoadResidentRoom } from './resident-room.ts';
import { isAuthoriser, needsAuthoriser, requireAuthoriser } from './restricted-join.ts';

export interface ResidentJoinsOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshots'>;
  readonly database: Database;
  readonly receiver: Receiver;
  readonly loadResidentRoom: LoadResidentRoom;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly clock: Clock;
}

export interface MakeJoinRequest {
  readonly origin: ServerName;
  readonly roomId: RoomId;
  readonly userId: UserId;
  /** Room versions that the other server knows. */
  readonly versions: readonly string[];
}

export interface SendJoinRequest {
  readonly origin: ServerName;
  readonly roomId: RoomId;
  readonly eventId: EventId;
  readonly body: JsonValue;
  readonly oddNumbers: OddNumbers;
  readonly omitMembers: boolean;
}

/** A join that is committed. */
export interface AcceptedJoin extends RoomTransfer {
  readonly event: Pdu;
  /** The servers that were in the room before. */
  readonly servers: ReadonlySet<ServerName>;
}

export interface ResidentJoins {
  /** The template that the other server completes and signs. */
  makeJoin(request: MakeJoinRequest): Promise<JsonObject>;
  sendJoin(request: SendJoinRequest): Promise<AcceptedJoin>;
}

export function createResidentJoins(options: ResidentJoinsOptions): ResidentJoins {
  return {
    makeJoin: (request) => makeJoin(options, request),
    sendJoin: (request) => sendJoin(options, request),
  };
}

async function makeJoin(options: ResidentJoinsOptions, request: MakeJoinRequest): Promise<JsonObject> {
  const { serverName, clock } = options;
  const { origin, roomId, userId, versions } = request;
  requireOwn(userId, origin);
  const snapshot = await options.loadResidentRoom(roomId, origin);
  const { version } = snapshot;
  if (!versions.includes(version.id)) {
    throw new MatrixError('M_INCOMPATIBLE_ROOM_VERSION', 'Your server does not support the version of this room', {
      fields: { room_version: version.id },
    });
  }
  const authoriser = await requireAuthoriser(options.engine, serverName, { snapshot, userId });
  const content = {
    membership: 'join',
    ...(authoriser !== undefined && { join_authorised_via_users_server: authoriser }),
  };
  const template = { type: 'm.room.member', sender: userId, stateKey: userId, content };
  const { body } = draftPdu(template, snapshot, { now: clock.now(), eventId: undefined });
  const verdict = checkAuth(createEvent(asIfSigned(body, serverName), version), snapshot, version);
  if (!verdict.allowed) throw new MatrixError('M_FORBIDDEN', verdict.reason);
  return { room_version: version.id, event: { ...body, origin: serverName } };
}

async function sendJoin(options: ResidentJoinsOptions, request: SendJoinRequest): Promise<AcceptedJoin> {
  const { database } = options;
  const { origin, roomId, eventId, omitMembers, oddNumbers } = request;
  const snapshot = await options.loadResidentRoom(roomId, origin);
  const join = readJoin(snapshot, request);
  await requireKnownReferences(database, snapshot, join);
  const event = await authorise(options, snapshot, join);
  const [result] = await options.receiver.receive(roomId, { origin, pdus: [event] }, { oddNumbers, isOutgoing: true });
  if (result?.outcome === 'dropped') throw invalid(result.reason);
  if (result === undefined || 'rule' in result) {
    throw new MatrixError('M_FORBIDDEN', result?.reason ?? 'The join is not allowed');
  }
  // It may have been here before, and not have been let in.
  const [known] = await loadKnownEvents(database, snapshot.version, [eventId]);
  if (known === undefined || known.rejection !== undefined || known.softFailed) {
    throw new MatrixError('M_FORBIDDEN', 'The join is not allowed');
  }
  const transfer = await loadTransfer(database, { snapshot, eventId, omitMembers });
  return { ...transfer, event, servers: serversIn(snapshot) };
}

/** The join that the body holds, if it is one, and the one that the path names. */
function readJoin({ version, roomId }: RoomSnapshot, request: SendJoinRequest): Event {
  const format = checkPduFormat(request.body, version, request.oddNumbers);
  if (!format.valid) throw new MatrixError('M_BAD_JSON', format.reason);
  const event = createEvent(format.pdu, version);
  if (event.roomId !== roomId) throw invalid('It belongs to another room');
  if (event.eventId !== request.eventId) throw invalid('It has another event id');
  if (event.type !== 'm.room.member' || event.content['membership'] !== 'join') throw invalid('It is no join');
  if (event.stateKey !== event.sender) throw invalid('Users join by themselves');
  if (!hasValidContentHash(format.pdu)) throw invalid('Its content is not what was hashed');
  requireOwn(event.sender, request.origin);
  return event;
}

/** The join follows events that we have, as our template does: we never ask its server what came before. */
async function requireKnownReferences(
  database: Database,
  { version, roomId }: RoomSnapshot,
  join: Event,
): Promise<void> {
  const { prevEvents, authEvents } = join;
  const known = await loadKnownEvents(database, version, [...prevEvents, ...authEvents]);
  const byId = new Map(known.map((one) => [one.event.eventId, one]));
  const isOfRoom = (id: EventId): boolean => byId.get(id)?.event.roomId === roomId;
  const isPlaced = (id: EventId): boolean => isInGraph(byId.get(id)) && byId.get(id)?.rejection === undefined;
  if (prevEvents.length === 0 || ![...prevEvents, ...authEvents].every(isOfRoom) || !prevEvents.every(isPlaced)) {
    throw invalid('It refers to events that this server does not have');
  }
}

/** The join with our signature, where it needs it. */
async function authorise(options: ResidentJoinsOptions, snapshot: RoomSnapshot, join: Event): Promise<Pdu> {
  const { engine, serverName, signingKey } = options;
  const { version } = snapshot;
  const named = join.content['join_authorised_via_users_server'];
  const authoriser = typeof named === 'string' ? parseUserId(named) : undefined;
  if (!version.restricted || authoriser === undefined || serverNameOf(authoriser) !== serverName) return join.pdu;
  const userId = join.sender;
  if (needsAuthoriser(snapshot, userId)) await requireAuthoriser(engine, serverName, { snapshot, userId });
  if (!isAuthoriser(snapshot, authoriser, serverName)) {
    throw new MatrixError('M_UNABLE_TO_GRANT_JOIN', `${authoriser} may not invite to this room`);
  }
  return countersignEvent(rebuild(join.pdu, serverNameOf(userId)), version, { serverName, key: signingKey });
}

/** Of the parts that a join has in these room versions; the format check has looked at each. */
function rebuild(pdu: Pdu, sender: ServerName): Pdu {
  const { auth_events, content, depth, hashes, origin_server_ts, prev_events, room_id, state_key, type } = pdu;
  const { signatures, origin, ...others } = pdu;
  const own = Object.hasOwn(signatures, sender) ? signatures[sender] : undefined;
  if (own === undefined) throw invalid('Its server has not signed it');
  if (Object.keys(others).some((key) => !PARTS.has(key)) || content['third_party_invite'] !== undefined) {
    throw invalid('It holds more than a join does');
  }
  return {
    auth_events,
    content,
    depth,
    hashes: { sha256: hashes.sha256 },
    origin_server_ts,
    ...(typeof origin === 'string' && { origin }),
    prev_events,
    ...(room_id !== undefined && { room_id }),
    sender: pdu.sender,
    signatures: { [sender]: own },
    ...(state_key !== undefined && { state_key }),
    type,
  };
}

const PARTS: ReadonlySet<string> = new Set([
  'auth_events',
  'content',
  'depth',
  'hashes',
  'origin_server_ts',
  'prev_events',
  'room_id',
  'sender',
  'state_key',
  'type',
]);

function requireOwn(userId: UserId, origin: ServerName): void {
  if (serverNameOf(userId) !== origin) throw new MatrixError('M_FORBIDDEN', 'The user is not of your server');
}

function invalid(reason: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', `This is not a join that can be taken in: ${reason}`);
}
