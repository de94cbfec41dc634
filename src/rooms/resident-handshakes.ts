/**
 * Users of other servers leave a room or knock on it by way of this server, which is in it: it drafts the event that they
 * are to make, and takes in the one that their server signed. What it takes in it also sends to the others in the room.
 *
 * Invariants: a server speaks for its own users only; the event is taken in by the same door as any other of another
 * server; nothing is signed here.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
 * https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms
 */
import { draftPdu } from '../engine/build-pdu.ts';
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { Clock } from '../lib/clock.ts';
import { checkAuth } from '../protocol/auth-rules.ts';
import { MatrixError } from '../protocol/errors.ts';
import { createEvent } from '../protocol/event.ts';
import { type EventId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { Event, JsonObject, JsonValue, Pdu } from '../protocol/pdu.ts';
import { checkPduFormat } from '../protocol/pdu-format.ts';
import { asIfSigned } from '../protocol/sign-event.ts';
import type { OddNumbers } from '../protocol/strict-json.ts';
import type { LoadResidentRoom } from './resident-room.ts';
import { loadShownState } from './shown-state.ts';
import { type TakingInParts, takeIn } from './take-in.ts';

export interface ResidentHandshakesOptions extends TakingInParts {
  readonly loadResidentRoom: LoadResidentRoom;
  readonly serverName: ServerName;
  readonly clock: Clock;
}

export interface MakeRequest {
  readonly origin: ServerName;
  readonly roomId: RoomId;
  readonly userId: UserId;
}

export interface SendRequest {
  readonly origin: ServerName;
  readonly roomId: RoomId;
  readonly eventId: EventId;
  readonly body: JsonValue;
  readonly oddNumbers: OddNumbers;
}

export interface ResidentHandshakes {
  /** The template that the other server completes and signs. */
  makeLeave(request: MakeRequest): Promise<JsonObject>;
  sendLeave(request: SendRequest): Promise<void>;
  makeKnock(request: MakeRequest & { readonly versions: readonly string[] }): Promise<JsonObject>;
  /** What the room shows of itself to who has knocked. */
  sendKnock(request: SendRequest): Promise<readonly Pdu[]>;
}

type Kind = 'leave' | 'knock';

export function createResidentHandshakes(options: ResidentHandshakesOptions): ResidentHandshakes {
  const { loadResidentRoom, database } = options;
  return {
    async makeLeave(request) {
      requireOwn(request.userId, request.origin);
      return draft(options, 'leave', { ...request, snapshot: await loadResidentRoom(request.roomId, request.origin) });
    },
    async sendLeave(request) {
      await send(options, 'leave', { ...request, snapshot: await loadResidentRoom(request.roomId, request.origin) });
    },
    async makeKnock(request) {
      requireOwn(request.userId, request.origin);
      const snapshot = await loadResidentRoom(request.roomId, request.origin);
      requireVersion(snapshot, request.versions);
      return draft(options, 'knock', { ...request, snapshot });
    },
    async sendKnock(request) {
      const snapshot = await loadResidentRoom(request.roomId, request.origin);
      await send(options, 'knock', { ...request, snapshot });
      return loadShownState(database, snapshot, undefined);
    },
  };
}

/** Only who is invited, has knocked or is in the room can leave it; who has left already would be none the wiser. */
function requireSomethingToLeave(snapshot: RoomSnapshot, userId: UserId): void {
  const membership = snapshot.membershipOf(userId);
  if (membership !== undefined && membership !== 'leave' && membership !== 'ban') return;
  throw new MatrixError('M_FORBIDDEN', 'The user is not in the room');
}

function requireVersion({ version }: RoomSnapshot, versions: readonly string[]): void {
  if (versions.includes(version.id)) return;
  throw new MatrixError('M_INCOMPATIBLE_ROOM_VERSION', 'Your server does not support the version of this room', {
    fields: { room_version: version.id },
  });
}

function draft(
  { serverName, clock }: ResidentHandshakesOptions,
  membership: Kind,
  { snapshot, userId }: { readonly snapshot: RoomSnapshot; readonly userId: UserId },
): JsonObject {
  const { version } = snapshot;
  if (membership === 'leave') requireSomethingToLeave(snapshot, userId);
  const template = { type: 'm.room.member', sender: userId, stateKey: userId, content: { membership } };
  const { body } = draftPdu(template, snapshot, { now: clock.now(), eventId: undefined });
  const verdict = checkAuth(createEvent(asIfSigned(body, serverName), version), snapshot, version);
  if (!verdict.allowed) throw new MatrixError('M_FORBIDDEN', verdict.reason);
  return { room_version: version.id, event: { ...body, origin: serverName } };
}

async function send(
  options: ResidentHandshakesOptions,
  membership: Kind,
  request: SendRequest & { readonly snapshot: RoomSnapshot },
): Promise<void> {
  const { origin, roomId, eventId, snapshot } = request;
  const { version } = snapshot;
  const { pdu } = readEvent(membership, request);
  await takeIn(options, { roomId, version, eventId, origin, pdu, isOutgoing: true });
}

/** The event that the body holds, if it is one of its kind, and the one that the path names. */
function readEvent(membership: Kind, request: SendRequest & { readonly snapshot: RoomSnapshot }): Event {
  const { version, roomId } = request.snapshot;
  const format = checkPduFormat(request.body, version, request.oddNumbers);
  if (!format.valid) throw new MatrixError('M_BAD_JSON', format.reason);
  const event = createEvent(format.pdu, version);
  if (event.roomId !== roomId) throw invalid('it belongs to another room');
  if (event.eventId !== request.eventId) throw invalid('it has another event id');
  if (event.type !== 'm.room.member' || event.content['membership'] !== membership)
    throw invalid('it is no such event');
  if (event.stateKey !== event.sender) throw invalid('its sender does it to somebody else');
  requireOwn(event.sender, request.origin);
  return event;
}

function requireOwn(userId: UserId, origin: ServerName): void {
  if (serverNameOf(userId) !== origin) throw new MatrixError('M_FORBIDDEN', 'The user is not of your server');
}

function invalid(reason: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', `This event cannot be taken in: ${reason}`);
}
