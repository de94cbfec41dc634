/**
 * Reading a room: events, history, members.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
 */
import { type Static, Type } from 'typebox';
import { renderStateEvent } from '../../engine/client-events.ts';
import type { StateEntry } from '../../engine/room-snapshot.ts';
import { rawJson } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import { formatPosition, parsePosition } from '../../rooms/pagination-token.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { renderBundledEvent } from './bundled-events.ts';
import { clientPaths, readEventId, readLimit, readRoomEventFilter, readRoomId } from './room-requests.ts';

const MESSAGES_LIMIT = { default: 10, max: 1_000 } as const;

const MembershipQuery = Type.Union(
  (['join', 'invite', 'knock', 'leave', 'ban'] as const).map((membership) => Type.Literal(membership)),
);
const MembersQuery = Type.Object({
  at: Type.Optional(Type.String()),
  membership: Type.Optional(MembershipQuery),
  not_membership: Type.Optional(MembershipQuery),
});
const MessagesQuery = Type.Object({
  from: Type.Optional(Type.String()),
  to: Type.Optional(Type.String()),
  // Required by the spec; other servers read forward without it.
  dir: Type.Optional(Type.Union([Type.Literal('b'), Type.Literal('f')])),
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  filter: Type.Optional(Type.String()),
});

export function roomReadingEndpoints(rooms: Rooms): readonly Endpoint[] {
  return [eventEndpoint(rooms), messagesEndpoint(rooms), membersEndpoint(rooms), joinedMembersEndpoint(rooms)];
}

function eventEndpoint({ events, aggregations: loader, clock }: Rooms): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: clientPaths('/rooms/{roomId}/event/{eventId}'),
    auth: 'user',
    guests: true,
    spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid',
    async handle({ requester, params }) {
      const roomId = readRoomId(params.roomId);
      const event = await events.loadEvent(requester, roomId, readEventId(params.eventId));
      const aggregations = await loader.load(requester, roomId, [event]);
      return rawJson(renderBundledEvent(event, { aggregations, reader: requester, now: clock.now() }));
    },
  });
}

function messagesEndpoint(rooms: Rooms): Endpoint {
  const { history, aggregations: loader, clock, writerId } = rooms;
  return defineEndpoint({
    method: 'GET',
    path: clientPaths('/rooms/{roomId}/messages'),
    auth: 'user',
    guests: true,
    query: MessagesQuery,
    spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages',
    async handle({ requester, params, query }) {
      const roomId = readRoomId(params.roomId);
      const { filter, passes } = readRoomEventFilter(query.filter);
      const page = await history.loadMessages(requester, roomId, {
        ...readPage(writerId, query, filter.limit),
        passes,
      });
      const senders = filter.lazyLoadMembers ? await history.loadSenders(roomId, page.events) : undefined;
      const aggregations = await loader.load(requester, roomId, page.events);
      const now = clock.now();
      const rendering = { aggregations, reader: requester, now };
      const fields = [
        `"chunk":[${page.events.map((event) => renderBundledEvent(event, rendering)).join()}]`,
        `"start":${JSON.stringify(formatPosition(writerId, page.start))}`,
        ...(page.end === undefined ? [] : [`"end":${JSON.stringify(formatPosition(writerId, page.end))}`]),
        ...(senders === undefined
          ? []
          : [`"state":${JSON.stringify(senders.map((entry) => renderStateEvent(entry, roomId, now)))}`]),
      ];
      return rawJson(`{${fields.join()}}`);
    },
  });
}

function readPage(writerId: number, query: Static<typeof MessagesQuery>, filterLimit: number | undefined) {
  return {
    direction: query.dir === 'b' ? ('backward' as const) : ('forward' as const),
    from: query.from === undefined ? undefined : parsePosition(writerId, 'from', query.from),
    to: query.to === undefined ? undefined : parsePosition(writerId, 'to', query.to),
    limit: Math.max(readLimit(query.limit ?? filterLimit, MESSAGES_LIMIT), 1),
  };
}

function membersEndpoint({ members, clock, writerId }: Rooms): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: clientPaths('/rooms/{roomId}/members'),
    auth: 'user',
    guests: true,
    query: MembersQuery,
    spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers',
    async handle({ requester, params, query }) {
      const roomId = readRoomId(params.roomId);
      const entries = await members.loadMembers(requester.userId, roomId, {
        at: query.at === undefined ? undefined : parsePosition(writerId, 'at', query.at),
        membership: query.membership,
        notMembership: query.not_membership,
      });
      const now = clock.now();
      return { chunk: entries.map((entry) => renderStateEvent(entry, roomId, now)) };
    },
  });
}

function joinedMembersEndpoint({ members }: Rooms): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: clientPaths('/rooms/{roomId}/joined_members'),
    auth: 'user',
    spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members',
    async handle({ requester, params }) {
      const entries = await members.loadJoined(requester.userId, readRoomId(params.roomId));
      return { joined: Object.fromEntries(entries.map((entry) => [entry.stateKey, toJoinedMember(entry)])) };
    },
  });
}

/** NOTSPEC: clients expect both keys, null where there is nothing, as every server answers. */
function toJoinedMember({ content }: StateEntry): JsonObject {
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  return { display_name: text(content['displayname']), avatar_url: text(content['avatar_url']) };
}
