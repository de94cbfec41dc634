/**
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
 */
import { Type } from 'typebox';
import { renderStateEvent } from '../../engine/client-events.ts';
import type { StateEntry } from '../../engine/room-snapshot.ts';
import { rawJson } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { compileEventFilter } from '../../protocol/filter-match.ts';
import type { RoomEventFilter } from '../../protocol/filters.ts';
import type { EventContext } from '../../rooms/event-context.ts';
import { formatPosition } from '../../rooms/pagination-token.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { renderBundledEvent } from './bundled-events.ts';
import { clientPaths, readEventId, readLimit, readRoomEventFilter, readRoomId } from './room-requests.ts';

const CONTEXT_LIMIT = { default: 10, max: 100 } as const;

const Query = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  filter: Type.Optional(Type.String()),
});

export function eventContextEndpoints({ events, aggregations: loader, clock, writerId }: Rooms): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/rooms/{roomId}/context/{eventId}'),
      auth: 'user',
      guests: true,
      query: Query,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid',
      async handle({ requester, params, query }) {
        const roomId = readRoomId(params.roomId);
        const { filter, passes } = readRoomEventFilter(query.filter);
        const limit = readLimit(query.limit ?? filter.limit, CONTEXT_LIMIT);
        const context = await events.loadContext(requester, roomId, {
          eventId: readEventId(params.eventId),
          limit,
          passes,
        });
        const shown = [context.event, ...context.before, ...context.after];
        const aggregations = await loader.load(requester, roomId, shown);
        const now = clock.now();
        const rendering = { aggregations, reader: requester, now };
        const render = (event: EventContext['event']): string => renderBundledEvent(event, rendering);
        const state = selectState(context, filter).map((entry) => renderStateEvent(entry, roomId, now));
        return rawJson(
          `{"event":${render(context.event)}` +
            `,"events_before":[${context.before.map(render).join()}]` +
            `,"events_after":[${context.after.map(render).join()}]` +
            `,"start":${JSON.stringify(formatPosition(writerId, context.start))}` +
            `,"end":${JSON.stringify(formatPosition(writerId, context.end))}` +
            `,"state":${JSON.stringify(state)}}`,
        );
      },
    }),
  ];
}

/** What the filter lets through; with lazy loading, of the members only those who sent the events. */
function selectState(context: EventContext, filter: RoomEventFilter): readonly StateEntry[] {
  const matches = compileEventFilter(filter);
  const shown = [context.event, ...context.before, ...context.after];
  const senders = new Set<string>(shown.map(({ event }) => event.sender));
  const isNeeded = ({ type, stateKey }: StateEntry): boolean =>
    !filter.lazyLoadMembers || type !== 'm.room.member' || senders.has(stateKey);
  return context.state.filter((entry) => isNeeded(entry) && matches(entry));
}
