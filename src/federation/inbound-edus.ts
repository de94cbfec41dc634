/**
 * Ephemeral data of other servers: each EDU judged alone. A server speaks for its own users only, and only about rooms that
 * they are in and that let it take part; whatever is anything else, or of a kind that we do not know, is ignored.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#edus
 */
import type { RoomAcls } from '../engine/room-acls.ts';
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import {
  MAX_ID_BYTES,
  parseRoomId,
  parseUserId,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import type { PresenceStatus } from '../protocol/presence.ts';

export interface RemoteReceipt {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly eventId: string;
  readonly threadId: string | undefined;
  /** Unix milliseconds. */
  readonly ts: number;
}

/** Who takes in what; a `MatrixError` of theirs means that the EDU was not right. */
export interface RemotePresence extends PresenceStatus {
  readonly userId: UserId;
}

export interface EduPorts {
  /** Of users of the server that says so; whether they are in a room with ours is for the port to find out. */
  setPresence(statuses: readonly RemotePresence[]): Promise<void>;
  setTyping(roomId: RoomId, userId: UserId, isTyping: boolean): void;
  moveReceipt(receipt: RemoteReceipt): Promise<void>;
  /** Something of ours failed: the EDU is lost, the others go on. */
  onFailed(cause: unknown, eduType: string): void;
}

/** Receipts of one EDU: what a server may have gathered for a room or two. */
const MAX_RECEIPTS = 1_000;

/** Of those, how many may wait for their events: of a server that is in step there are few. */
const MAX_RETRIES = 50;
/** Users of one presence EDU. */
const MAX_STATUSES = 500;
const MAX_STATUS_MESSAGE = 1_000;

export interface EduParts {
  readonly clock: Pick<Clock, 'now'>;
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly ports: EduPorts;
  readonly isAllowed: RoomAcls;
  /** Runs the work when the events of the room that wait just now have been taken in; nobody waits for it. */
  readonly afterEvents: (roomId: RoomId, work: () => Promise<void>) => void;
}

export async function dispatchEdus(parts: EduParts, origin: ServerName, edus: readonly JsonValue[]): Promise<void> {
  for (const edu of edus) {
    const { edu_type: type, content } = isJsonObject(edu) ? edu : {};
    if (typeof type !== 'string' || !isJsonObject(content)) continue;
    try {
      await dispatch(parts, origin, { type, content });
    } catch (cause) {
      if (!(cause instanceof MatrixError)) parts.ports.onFailed(cause, type);
    }
  }
}

interface Edu {
  readonly type: string;
  readonly content: JsonObject;
}

async function dispatch(parts: EduParts, origin: ServerName, { type, content }: Edu): Promise<void> {
  switch (type) {
    case 'm.typing':
      return takeTyping(parts, origin, content);
    case 'm.receipt':
      return takeReceipts(parts, origin, content);
    case 'm.presence':
      return takePresence(parts, origin, content);
    default:
      return undefined;
  }
}

async function takeTyping(parts: EduParts, origin: ServerName, content: JsonObject): Promise<void> {
  const { room_id: room, user_id: user, typing } = content;
  const roomId = typeof room === 'string' ? parseRoomId(room) : undefined;
  const userId = typeof user === 'string' ? parseUserId(user) : undefined;
  if (roomId === undefined || userId === undefined || typeof typing !== 'boolean') return;
  if (await maySpeak(parts, origin, { roomId, userId })) parts.ports.setTyping(roomId, userId, typing);
}

async function takeReceipts(parts: EduParts, origin: ServerName, content: JsonObject): Promise<void> {
  const receipts = [...receiptsIn(content, parts.clock.now())].slice(0, MAX_RECEIPTS);
  let retries = 0;
  for (const receipt of receipts) {
    if (!(await maySpeak(parts, origin, receipt))) continue;
    try {
      await parts.ports.moveReceipt(receipt);
    } catch (cause) {
      // One that names an event of another room, say: the others may be right.
      if (!(cause instanceof MatrixError)) throw cause;
      // Or the event came with it, and is being taken in just now.
      if (retries < MAX_RETRIES) parts.afterEvents(receipt.roomId, () => parts.ports.moveReceipt(receipt));
      retries += 1;
    }
  }
}

async function takePresence({ ports, clock }: EduParts, origin: ServerName, content: JsonObject): Promise<void> {
  const { push } = content;
  const now = clock.now();
  const statuses = (isJsonArray(push) ? push : []).slice(0, MAX_STATUSES).flatMap((value) => {
    const status = isJsonObject(value) ? readStatus(value, now) : undefined;
    return status === undefined || serverNameOf(status.userId) !== origin ? [] : [status];
  });
  if (statuses.length > 0) await ports.setPresence(statuses);
}

function readStatus(value: JsonObject, now: number): RemotePresence | undefined {
  const { user_id: user, presence: state, status_msg: message, last_active_ago: ago } = value;
  const userId = typeof user === 'string' ? parseUserId(user) : undefined;
  if (userId === undefined || (state !== 'online' && state !== 'unavailable' && state !== 'offline')) return undefined;
  const isText = typeof message === 'string' && !message.includes('\0');
  return {
    userId,
    state,
    statusMessage: isText ? message.slice(0, MAX_STATUS_MESSAGE).toWellFormed() : undefined,
    lastActiveAt: typeof ago === 'number' && ago >= 0 ? Math.max(now - Math.floor(ago), 0) : now,
  };
}

/** `{ room: { "m.read": { user: { event_ids: [id], data: { ts, thread_id } } } } }` */
function* receiptsIn(content: JsonObject, now: number): IterableIterator<RemoteReceipt> {
  for (const [room, byType] of Object.entries(content)) {
    const roomId = parseRoomId(room);
    const read = isJsonObject(byType) ? byType['m.read'] : undefined;
    if (roomId === undefined || !isJsonObject(read)) continue;
    for (const [user, receipt] of Object.entries(read)) {
      const userId = parseUserId(user);
      if (userId === undefined || !isJsonObject(receipt)) continue;
      const { event_ids: eventIds, data } = receipt;
      const [eventId] = isJsonArray(eventIds) ? eventIds : [];
      const { thread_id: threadId, ts } = isJsonObject(data) ? data : {};
      if (typeof eventId !== 'string' || !isStorable(eventId)) continue;
      const isPast = typeof ts === 'number' && Number.isSafeInteger(ts) && ts >= 0 && ts <= now;
      yield {
        roomId,
        userId,
        eventId,
        threadId: typeof threadId === 'string' ? threadId : undefined,
        ts: isPast ? ts : now,
      };
    }
  }
}

/** Of a room that lacks members, anyone whose server is in it may be one. */
function mayBeMember(snapshot: RoomSnapshot, userId: UserId): boolean {
  const membership = snapshot.membershipOf(userId);
  if (membership !== undefined) return membership === 'join';
  return snapshot.parts.partial?.has(serverNameOf(userId)) === true;
}

async function maySpeak(
  { engine, isAllowed }: EduParts,
  origin: ServerName,
  { roomId, userId }: { readonly roomId: RoomId; readonly userId: UserId },
): Promise<boolean> {
  if (serverNameOf(userId) !== origin) return false;
  const snapshot = await engine.loadSnapshot(roomId);
  return snapshot !== undefined && mayBeMember(snapshot, userId) && isAllowed(snapshot, origin);
}

/** An event that we do not know yet need not be one: only what the database cannot hold is left out. */
function isStorable(eventId: string): boolean {
  return eventId.length <= MAX_ID_BYTES && eventId.isWellFormed() && !eventId.includes('\0');
}
