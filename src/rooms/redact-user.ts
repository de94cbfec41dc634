/**
 * Redacts what a user ever sent, some events at a time: room by room, oldest first. Events that are redacted already are
 * passed over, so that a step can be repeated.
 *
 * In a room that the user is not in any more, a local member with the power to redact does it; where there is none, the
 * event is counted as failed.
 */
import { joinedMembers, type RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { forEachLimited } from '../lib/limited-concurrency.ts';
import { MatrixError } from '../protocol/errors.ts';
import { type EventId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { canRedact } from '../protocol/power-levels.ts';
import type { Database } from '../storage/database.ts';
import { listUnredactedEvents, loadNextRoom } from '../storage/user-removal.ts';

export interface UserRedactionOptions {
  readonly engine: Pick<RoomEngine, 'send'>;
  readonly database: Database;
  readonly serverName: ServerName;
}

export interface RedactedSome {
  /** Where to go on; undefined at the end. */
  readonly cursor: JsonObject | undefined;
  readonly redacted: number;
  readonly failed: number;
}

export type RedactSome = (userId: UserId, upTo: number, cursor: JsonObject | undefined) => Promise<RedactedSome>;

/** A step takes well under a second, so that stopping need not wait for long. */
const EVENTS_PER_STEP = 100;
const REDACTING_AT_ONCE = 8;
/** Before every position, those of backfilled history included. */
const FIRST = Number.MIN_SAFE_INTEGER;

export function createUserRedaction({ engine, database, serverName }: UserRedactionOptions): RedactSome {
  return async (userId, upTo, cursor) => {
    const given = cursor?.['room'];
    const roomId = typeof given === 'string' ? (given as RoomId) : await loadNextRoom(database, userId, '');
    if (roomId === undefined) return { cursor: undefined, redacted: 0, failed: 0 };
    const after = Number(cursor?.['position'] ?? FIRST);
    const events = await listUnredactedEvents(database, { roomId, userId, after, upTo, limit: EVENTS_PER_STEP });
    let failed = 0;
    await forEachLimited(events, REDACTING_AT_ONCE, async ({ eventId }) => {
      if (!(await redact(engine, { roomId, eventId, userId, serverName }))) failed += 1;
    });
    const redacted = events.length - failed;
    const last = events.at(-1);
    if (last !== undefined && events.length === EVENTS_PER_STEP) {
      return { cursor: { room: roomId, position: last.position }, redacted, failed };
    }
    const next = await loadNextRoom(database, userId, roomId);
    return { cursor: next === undefined ? undefined : { room: next }, redacted, failed };
  };
}

interface OneRedaction {
  readonly roomId: RoomId;
  readonly eventId: EventId;
  readonly userId: UserId;
  readonly serverName: ServerName;
}

/** Whether it could be redacted; what is no matter of permission is thrown. */
async function redact(engine: Pick<RoomEngine, 'send'>, one: OneRedaction): Promise<boolean> {
  const { roomId, eventId } = one;
  try {
    await engine.send({
      roomId,
      redacts: eventId,
      decide: (snapshot) => [
        { type: 'm.room.redaction', sender: selectRedactor(snapshot, one), content: {}, redacts: eventId },
      ],
    });
    return true;
  } catch (cause) {
    if (cause instanceof MatrixError) return false;
    throw cause;
  }
}

function selectRedactor(snapshot: RoomSnapshot, { userId, serverName }: OneRedaction): UserId {
  if (snapshot.membershipOf(userId) === 'join') return userId;
  for (const member of joinedMembers(snapshot)) {
    if (serverNameOf(member) === serverName && canRedact(snapshot, member, snapshot.version)) return member;
  }
  throw new MatrixError('M_FORBIDDEN', 'Nobody on this server may redact in this room');
}
