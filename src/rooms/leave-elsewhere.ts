/**
 * Rejecting invites to rooms that this server is not in, and taking back knocks on them: a server in the room is told where
 * one can be reached. Where none can, the user is rid of it all the same: nobody has to keep an invite because the server it
 * came from is gone. A job goes on trying to tell it (later-leaves.ts).
 *
 * https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
 */
import { newEventId } from '../engine/build-pdu.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { RemoteHandshakes } from '../federation/remote-handshakes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import type { EventId, RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { JsonObject, Pdu } from '../protocol/pdu.ts';
import { MAX_DEPTH } from '../protocol/pdu-format.ts';
import { hashAndSignEvent } from '../protocol/sign-event.ts';
import type { SigningKey } from '../protocol/signing.ts';
import { type Actor, notInRoom } from './actor.ts';
import { addLaterLeave } from './later-leaves.ts';
import type { OutsideStandings, Standing } from './outside-standing.ts';

export interface LeaveElsewhereOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly standings: OutsideStandings;
  readonly handshakes: RemoteHandshakes;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly random: Random;
  readonly clock: Clock;
}

interface LeaveRequest {
  readonly roomId: RoomId;
  readonly content: JsonObject;
}

/** Undefined where the user is to leave here. */
export type LeaveElsewhere = (actor: Pick<Actor, 'userId'>, request: LeaveRequest) => Promise<EventId | undefined>;

export function createLeaveElsewhere(options: LeaveElsewhereOptions): LeaveElsewhere {
  const { engine, standings, handshakes, serverName, clock } = options;
  const leave = async (userId: UserId, { roomId, content }: LeaveRequest): Promise<EventId | undefined> => {
    const snapshot = await engine.loadSnapshot(roomId);
    if (!standings.isElsewhere(snapshot)) return undefined;
    const standing = await standings.load({ userId, roomId }, snapshot);
    if (standing === undefined || standing.membership === 'ban') throw notInRoom();
    if (standing.membership === 'leave') return standing.eventId;
    const { version, servers } = standing;
    const told = await handshakes.leave({ roomId, userId, content, servers, version });
    const { pdu, eventId } = told ?? buildUntold(options, standing, { userId, roomId, content });
    const row = {
      userId,
      roomId,
      membership: 'leave',
      version,
      sender: userId,
      via: told?.via ?? serverName,
      eventId,
      pduText: encodeCanonicalJson(pdu),
      strippedState: '[]',
    } as const;
    const untold = { userId, roomId, eventId, content, servers, version };
    await standings.write([row], told === undefined ? (tx) => addLaterLeave(tx, untold, clock.now()) : undefined);
    return eventId;
  };
  return async ({ userId }, request) => {
    if (!standings.isElsewhere(await engine.loadSnapshot(request.roomId))) return undefined;
    return standings.exclusive(request.roomId, () => leave(userId, request));
  };
}

/** The event that clients are shown; no other server ever sees this one. */
function buildUntold(
  { serverName, signingKey: key, random, clock }: LeaveElsewhereOptions,
  { version, eventId, referenceHash: sha256, depth }: Standing,
  { userId, roomId, content }: LeaveRequest & { readonly userId: UserId },
): { readonly pdu: Pdu; readonly eventId: EventId } {
  const left = version.eventIds === 'server' ? [eventId, sha256 === undefined ? {} : { sha256 }] : eventId;
  const body = {
    auth_events: [left],
    content: { ...content, membership: 'leave' },
    depth: Math.min(depth + 1, MAX_DEPTH),
    ...(version.eventIds === 'server' && { event_id: newEventId({ random, serverName }) }),
    origin_server_ts: clock.now(),
    prev_events: [left],
    room_id: roomId,
    sender: userId,
    state_key: userId,
    type: 'm.room.member',
  };
  return hashAndSignEvent(body, version, { serverName, key });
}
