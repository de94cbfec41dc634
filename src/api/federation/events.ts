/**
 * Single events, the state at one, its auth chain, and the event nearest to a time. A server that is not in the room gets
 * M_FORBIDDEN whether or not there is such a room; an event of another room is one that does not exist.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
 */
import { Type } from 'typebox';
import type { PeerReader, RoomEvent } from '../../engine/serve-peers.ts';
import { longJson } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { RoomId, ServerName } from '../../protocol/ids.ts';
import type { JsonObject, Pdu } from '../../protocol/pdu.ts';
import { readEventId, readRoomId } from '../client/room-requests.ts';

export interface ReadingEndpointsOptions {
  readonly peers: PeerReader;
  readonly serverName: ServerName;
  readonly clock: { now(): number };
}

const AtEvent = Type.Object({ event_id: Type.String() });

export function eventsEndpoints(options: ReadingEndpointsOptions): readonly Endpoint[] {
  return [
    eventEndpoint(options),
    stateEndpoint(options),
    stateIdsEndpoint(options),
    eventAuthEndpoint(options),
    timestampEndpoint(options),
  ];
}

/** Throws what a server that is not in the room is told. */
export async function requireReadable(
  peers: Pick<PeerReader, 'isReadable'>,
  serverName: ServerName,
  roomId: RoomId,
): Promise<void> {
  if (await peers.isReadable(serverName, roomId)) return;
  throw new MatrixError('M_FORBIDDEN', 'Your server is not in this room');
}

/** PDUs in the frame of a transaction. */
export function toTransaction(
  { serverName, clock }: Omit<ReadingEndpointsOptions, 'peers'>,
  pdus: readonly Pdu[],
): JsonObject {
  return { origin: serverName, origin_server_ts: clock.now(), pdus };
}

function eventEndpoint(options: ReadingEndpointsOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/event/{eventId}',
    auth: 'server',
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid',
    async handle({ requester, params }) {
      const found = await options.peers.loadEvent(requester, readEventId(params.eventId));
      if (found === undefined) throw notFound();
      return toTransaction(options, [found.pdu]);
    },
  });
}

function stateEndpoint({ peers }: ReadingEndpointsOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/state/{roomId}',
    auth: 'server',
    query: AtEvent,
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid',
    async handle({ requester, params, query }) {
      const at = await readPlace(peers, requester, { ...params, eventId: query.event_id });
      const state = await peers.openState(at);
      if (state === undefined) throw notFound();
      return longJson(frame(state));
    },
  });
}

async function* frame({ pdus, authChain }: { pdus: AsyncIterable<string>; authChain: AsyncIterable<string> }) {
  yield '{"auth_chain":[';
  yield* authChain;
  yield '],"pdus":[';
  yield* pdus;
  yield ']}';
}

function stateIdsEndpoint({ peers }: ReadingEndpointsOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/state_ids/{roomId}',
    auth: 'server',
    query: AtEvent,
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid',
    async handle({ requester, params, query }) {
      const at = await readPlace(peers, requester, { ...params, eventId: query.event_id });
      const ids = await peers.loadStateIds(at);
      if (ids === undefined) throw notFound();
      return { pdu_ids: ids.stateIds, auth_chain_ids: ids.authChainIds };
    },
  });
}

function eventAuthEndpoint({ peers }: ReadingEndpointsOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/event_auth/{roomId}/{eventId}',
    auth: 'server',
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid',
    async handle({ requester, params }) {
      const at = await readPlace(peers, requester, params);
      const authChain = await peers.loadAuthChain(at);
      if (authChain === undefined) throw notFound();
      return { auth_chain: authChain };
    },
  });
}

function timestampEndpoint({ peers }: ReadingEndpointsOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/timestamp_to_event/{roomId}',
    auth: 'server',
    query: Type.Object({ ts: Type.Integer(), dir: Type.Union([Type.Literal('b'), Type.Literal('f')]) }),
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid',
    async handle({ requester: serverName, params, query }) {
      const roomId = readRoomId(params.roomId);
      await requireReadable(peers, serverName, roomId);
      const direction = query.dir === 'f' ? 'forward' : 'backward';
      const found = await peers.loadEventAtTime({ serverName, roomId, at: query.ts, direction });
      if (found === undefined) throw notFound();
      return { event_id: found.eventId, origin_server_ts: found.originServerTs };
    },
  });
}

async function readPlace(
  peers: PeerReader,
  serverName: ServerName,
  params: { readonly roomId: string; readonly eventId: string },
): Promise<RoomEvent> {
  const roomId = readRoomId(params.roomId);
  await requireReadable(peers, serverName, roomId);
  return { serverName, roomId, eventId: readEventId(params.eventId) };
}

function notFound(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'The event was not found');
}
