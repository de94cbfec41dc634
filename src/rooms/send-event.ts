/**
 * Sending message events and redactions. In a room that is in memory a message asks the database nothing: everything it
 * is judged by lies in the room's snapshot.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
 */
import { otherServers } from '../engine/local-members.ts';
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import { type EventId, isEventId, type RoomId, serverNameOf } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { canRedact } from '../protocol/power-levels.ts';
import type { ClientTransaction, TimelineEvent } from '../storage/events.ts';
import { type Actor, notInRoom, requireJoined, requireNotSuspended } from './actor.ts';

export interface MessageRequest {
  readonly roomId: RoomId;
  readonly type: string;
  readonly txnId: string;
  readonly content: JsonObject;
}

export interface RedactionRequest {
  readonly roomId: RoomId;
  readonly redacts: EventId;
  readonly txnId: string;
  readonly content: JsonObject;
}

export interface EventSender {
  send(actor: Actor, request: MessageRequest): Promise<EventId>;
  redact(actor: Actor, request: RedactionRequest): Promise<EventId>;
}

type Engine = Pick<RoomEngine, 'send' | 'getSnapshot' | 'loadSnapshot' | 'loadEvent'>;

export function createEventSender(engine: Engine): EventSender {
  return {
    async send(actor, request) {
      const { roomId, type, content } = request;
      if (type === 'm.room.redaction') return sendRedactionEvent(engine, actor, request);
      requireNotSuspended(actor);
      if (type === 'm.room.create' || type === 'm.room.member') {
        throw new MatrixError('M_BAD_JSON', `${type} is a state event and cannot be sent as a message`);
      }
      await requireKnown(engine, roomId);
      const { userId } = actor;
      const [sent] = await engine.send({
        roomId,
        transaction: transactionOf(actor, `/rooms/${roomId}/send/${type}`, request.txnId),
        decide(snapshot) {
          requireJoined(snapshot, userId);
          return [{ type, sender: userId, content }];
        },
      });
      return idOf(sent);
    },

    redact(actor, request) {
      return redact(engine, actor, { ...request, path: `/rooms/${request.roomId}/redact/${request.redacts}` });
    },
  };
}

/** In every room version clients may name the redacted event in the content; the engine puts it where it belongs. */
function sendRedactionEvent(engine: Engine, actor: Actor, request: MessageRequest): Promise<EventId> {
  const { redacts, ...content } = request.content;
  if (typeof redacts !== 'string' || !isEventId(redacts)) {
    throw new MatrixError('M_BAD_JSON', 'redacts has to be the id of an event');
  }
  return redact(engine, actor, { ...request, redacts, content, path: `/rooms/${request.roomId}/send/${request.type}` });
}

async function redact(
  engine: Engine,
  actor: Actor,
  request: RedactionRequest & { readonly path: string },
): Promise<EventId> {
  const { roomId, redacts, content } = request;
  const { userId } = actor;
  await requireKnown(engine, roomId);
  const target = await engine.loadEvent(roomId, redacts);
  const [sent] = await engine.send({
    roomId,
    redacts,
    transaction: transactionOf(actor, request.path, request.txnId),
    decide(snapshot) {
      requireJoined(snapshot, userId);
      requireRedactable(actor, target, snapshot);
      return [{ type: 'm.room.redaction', sender: userId, content, redacts }];
    },
  });
  return idOf(sent);
}

/** Among servers, a user of the same server may redact; among people, only the sender and who has the power to. */
function requireRedactable(actor: Actor, target: TimelineEvent | undefined, snapshot: RoomSnapshot): void {
  const { userId } = actor;
  const isOwn = target?.event.sender === userId;
  if (!isOwn) requireNotSuspended(actor);
  if (!isOwn && !canRedact(snapshot, userId, snapshot.version)) {
    throw new MatrixError('M_FORBIDDEN', 'You may redact only your own events');
  }
  if (target === undefined) {
    // Of a room of several servers we may lack events that others have.
    const isOursAlone = otherServers(snapshot, new Set([serverNameOf(userId)]), 1).length === 0;
    if (isOursAlone) throw new MatrixError('M_NOT_FOUND', 'The event is not in this room');
    return;
  }
  if (target.event.type === 'm.room.create' || target.event.type === 'm.room.server_acl') {
    // Without their contents the room would change its rules for servers that apply the redaction.
    throw new MatrixError('M_FORBIDDEN', `${target.event.type} cannot be redacted`);
  }
}

function transactionOf({ userId, deviceId }: Actor, path: string, txnId: string): ClientTransaction {
  return { userId, deviceId, path, txnId };
}

async function requireKnown(engine: Engine, roomId: RoomId): Promise<void> {
  if (engine.getSnapshot(roomId) === undefined && (await engine.loadSnapshot(roomId)) === undefined) throw notInRoom();
}

function idOf(sent: { readonly eventId: EventId } | undefined): EventId {
  if (sent === undefined) throw new Error('an event was decided and none was sent');
  return sent.eventId;
}
