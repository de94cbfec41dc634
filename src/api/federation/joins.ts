/**
 * Joins by way of this server. The state of the room goes out page by page, in the words in which it is stored.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 */
import { Type } from 'typebox';
import { longJson } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import type { ServerName } from '../../protocol/ids.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import type { OddNumbers } from '../../protocol/strict-json.ts';
import type { AcceptedJoin, ResidentJoins } from '../../rooms/resident-joins.ts';
import { MAX_EVENT_BODY_BYTES, readEventId, readRoomId, readUserId } from './handshake-params.ts';

export interface JoinEndpointsOptions {
  readonly residentJoins: ResidentJoins;
  readonly serverName: ServerName;
}

/** What a server that names no versions knows. */
const FIRST_VERSION = ['1'];

export function joinEndpoints({ residentJoins, serverName }: JoinEndpointsOptions): readonly Endpoint[] {
  async function sendJoin(request: SendJoin): Promise<AsyncGenerator<string>> {
    const { requester: origin, params, body, oddNumbers } = request;
    const roomId = readRoomId(params.roomId);
    const eventId = readEventId(params.eventId);
    const omitMembers = request.query.omit_members === true;
    const join = { origin, roomId, eventId, body, oddNumbers, omitMembers };
    return write(await residentJoins.sendJoin(join), { serverName, omitMembers });
  }

  const sending = {
    method: 'PUT',
    auth: 'server',
    query: Type.Object({ omit_members: Type.Optional(Type.Boolean()) }),
    body: AnyObject,
    bodyLimit: MAX_EVENT_BODY_BYTES,
  } as const;
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/federation/v1/make_join/{roomId}/{userId}',
      auth: 'server',
      query: Type.Object({ ver: Type.Optional(Type.Array(Type.String())) }),
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid',
      handle: ({ requester: origin, params, query }) =>
        residentJoins.makeJoin({
          origin,
          roomId: readRoomId(params.roomId),
          userId: readUserId(params.userId),
          versions: query.ver ?? FIRST_VERSION,
        }),
    }),
    defineEndpoint({
      ...sending,
      path: '/_matrix/federation/v2/send_join/{roomId}/{eventId}',
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid',
      handle: async (request) => longJson(await sendJoin(request)),
    }),
    defineEndpoint({
      ...sending,
      path: '/_matrix/federation/v1/send_join/{roomId}/{eventId}',
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_joinroomideventid',
      handle: async (request) => longJson(inPair(await sendJoin(request))),
    }),
  ];
}

interface SendJoin {
  readonly requester: ServerName;
  readonly params: { readonly roomId: string; readonly eventId: string };
  readonly query: { readonly omit_members?: boolean };
  readonly body: JsonObject;
  readonly oddNumbers: OddNumbers;
}

interface Writing {
  readonly serverName: ServerName;
  readonly omitMembers: boolean;
}

async function* write(join: AcceptedJoin, { serverName, omitMembers }: Writing): AsyncGenerator<string> {
  const { event, servers } = join;
  const head = {
    event,
    origin: serverName,
    members_omitted: omitMembers,
    ...(omitMembers && { servers_in_room: [...servers] }),
  };
  yield `${JSON.stringify(head).slice(0, -1)},"auth_chain":[`;
  yield* list(join.authChain);
  yield '],"state":[';
  yield* list(join.state);
  yield ']}';
}

async function* list(pages: AsyncIterable<readonly string[]>): AsyncGenerator<string> {
  let separator = '';
  for await (const texts of pages) {
    if (texts.length === 0) continue;
    yield separator + texts.join();
    separator = ',';
  }
}

/** Version 1 answers a status and a body. */
async function* inPair(body: AsyncIterable<string>): AsyncGenerator<string> {
  yield '[200,';
  yield* body;
  yield ']';
}
