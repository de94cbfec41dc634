/**
 * Knocking on rooms that this server is not in: by way of a server that is. What that shows of the room is kept for the
 * user's clients, until the room lets them in, turns them away, or they think better of it.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms
 */
import type { PduVerifier } from '../engine/ports.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { RemoteHandshakes } from '../federation/remote-handshakes.ts';
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { createEvent } from '../protocol/event.ts';
import type { EventId, RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Actor } from './actor.ts';
import { readKnockState } from './invite-state.ts';
import { serverInId } from './join-elsewhere.ts';
import type { OutsideStandings } from './outside-standing.ts';

export interface KnockElsewhereOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly standings: OutsideStandings;
  readonly handshakes: RemoteHandshakes;
  readonly verifier: PduVerifier;
}

interface KnockRequest {
  readonly roomId: RoomId;
  readonly content: JsonObject;
  /** As the client or the room's alias names them. */
  readonly servers: readonly ServerName[];
}

/** Undefined where the user is to knock here. */
export type KnockElsewhere = (actor: Actor, request: KnockRequest) => Promise<EventId | undefined>;

export function createKnockElsewhere(options: KnockElsewhereOptions): KnockElsewhere {
  const { engine, standings, handshakes, verifier } = options;
  const knock = async (userId: UserId, request: KnockRequest): Promise<EventId | undefined> => {
    const { roomId, content } = request;
    const snapshot = await engine.loadSnapshot(roomId);
    if (!standings.isElsewhere(snapshot)) return undefined;
    const before = await standings.load({ userId, roomId }, snapshot);
    const servers = [...request.servers, ...(before?.servers ?? []), ...serverInId(roomId)];
    // A room that nobody knows is not found.
    if (servers.length === 0) return undefined;
    const { pdu, eventId, version, via, answer } = await handshakes.knock({ roomId, userId, content, servers });
    const knockState = answer['knock_room_state'];
    const strippedState = await readKnockState(verifier, createEvent(pdu, version), { roomId, version, knockState });
    const row = {
      userId,
      roomId,
      membership: 'knock',
      version,
      sender: userId,
      via,
      eventId,
      pduText: encodeCanonicalJson(pdu),
      strippedState,
    } as const;
    await standings.write([row]);
    return eventId;
  };
  return async ({ userId }, request) => {
    if (!standings.isElsewhere(await engine.loadSnapshot(request.roomId))) return undefined;
    return standings.exclusive(request.roomId, () => knock(userId, request));
  };
}
