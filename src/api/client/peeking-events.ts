/**
 * Reading rooms that one is not in: the endpoints that came before `/sync` and live on for this.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-previews
 */
import { Type } from 'typebox';
import { renderStateEvent } from '../../engine/client-events.ts';
import { rawJson } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { formatPosition, parsePosition } from '../../rooms/pagination-token.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { renderBundledEvent } from './bundled-events.ts';
import { clientPaths, readLimit, readRoomId } from './room-requests.ts';

const LIMIT = { default: 10, max: 100 } as const;
/** As long as other servers hold the line. */
const MAX_TIMEOUT_MS = 60_000;

export function peekingEndpoints(rooms: Rooms): readonly Endpoint[] {
  return [initialSyncEndpoint(rooms), eventsEndpoint(rooms)];
}

function eventsEndpoint({ peek, aggregations: loader, clock, writerId }: Rooms): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: clientPaths('/events'),
    auth: 'user',
    guests: true,
    query: Type.Object({
      room_id: Type.String(),
      from: Type.Optional(Type.String()),
      timeout: Type.Optional(Type.Integer()),
    }),
    spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events',
    async handle({ requester, query, signal }) {
      const roomId = readRoomId(query.room_id);
      const { start, end, events } = await peek(requester, roomId, {
        from: query.from === undefined ? undefined : parsePosition(writerId, 'from', query.from),
        timeout: Math.min(Math.max(query.timeout ?? 0, 0), MAX_TIMEOUT_MS),
        signal,
      });
      const aggregations = await loader.load(requester, roomId, events);
      const rendering = { aggregations, reader: requester, now: clock.now() };
      return rawJson(
        `{"start":${JSON.stringify(formatPosition(writerId, start))}` +
          `,"end":${JSON.stringify(formatPosition(writerId, end))}` +
          `,"chunk":[${events.map((event) => renderBundledEvent(event, rendering)).join()}]}`,
      );
    },
  });
}

function initialSyncEndpoint(rooms: Rooms): Endpoint {
  const { access, aliases, history, aggregations: loader, clock, writerId } = rooms;
  return defineEndpoint({
    method: 'GET',
    path: clientPaths('/rooms/{roomId}/initialSync'),
    auth: 'user',
    guests: true,
    query: Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 0 })) }),
    spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync',
    async handle({ requester, params, query }) {
      const roomId = readRoomId(params.roomId);
      const { userId } = requester;
      const room = await access.loadReadable(userId, roomId);
      const limit = Math.max(readLimit(query.limit, LIMIT), 1);
      const [page, state, isPublished, accountData] = await Promise.all([
        history.loadMessages(requester, roomId, { direction: 'backward', limit, passes: () => true }),
        access.loadState(room),
        aliases.isPublished(roomId),
        rooms.loadRoomAccountData(userId, roomId),
      ]);
      const aggregations = await loader.load(requester, roomId, page.events);
      const now = clock.now();
      const rendering = { aggregations, reader: requester, now };
      const events = page.events.toReversed().map((event) => renderBundledEvent(event, rendering));
      const start = page.end === undefined ? '' : `"start":${JSON.stringify(formatPosition(writerId, page.end))},`;
      const fields = {
        room_id: roomId,
        membership: room.snapshot.membershipOf(userId) ?? 'leave',
        visibility: isPublished ? 'public' : 'private',
        state: state.map((entry) => renderStateEvent(entry, roomId, now)),
        account_data: accountData,
      };
      return rawJson(
        `${JSON.stringify(fields).slice(0, -1)},"messages":{${start}` +
          `"end":${JSON.stringify(formatPosition(writerId, page.start))},"chunk":[${events.join()}]}}`,
      );
    },
  });
}
