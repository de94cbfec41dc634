/**
 * https://spec.matrix.org/v1.19/client-server-api/#server-side-search
 */
import { type Static, Type } from 'typebox';
import { renderStateEvent } from '../../engine/client-events.ts';
import { rawJson } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint, type Requester } from '../../http/endpoint.ts';
import { AnyObject, optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { parseRoomEventFilter } from '../../protocol/filters.ts';
import type { EventId, RoomId } from '../../protocol/ids.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import type { Aggregation } from '../../rooms/aggregations.ts';
import { formatPosition } from '../../rooms/pagination-token.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import type { SearchGroup, SearchRequest, SearchResult, SearchResults } from '../../rooms/search.ts';
import { formatSearchToken, parseSearchToken } from '../../rooms/search-token.ts';
import { type BundledRendering, renderBundledEvent } from './bundled-events.ts';
import { clientPaths, readLimit } from './room-requests.ts';

const RESULTS_LIMIT = { default: 10, max: 100 } as const;
/** Events on each side of a result: with the limit of results, what bounds an answer. */
const CONTEXT_LIMIT = { default: 5, max: 20 } as const;

const Count = optional(Type.Integer({ minimum: 0 }));
const Key = Type.Union([Type.Literal('content.body'), Type.Literal('content.name'), Type.Literal('content.topic')]);
const GroupKey = Type.Union([Type.Literal('room_id'), Type.Literal('sender')]);
const Criteria = Type.Object({
  search_term: Type.String(),
  keys: optional(Type.Array(Key)),
  filter: optional(AnyObject),
  order_by: optional(Type.Union([Type.Literal('rank'), Type.Literal('recent')])),
  event_context: optional(
    Type.Object({ before_limit: Count, after_limit: Count, include_profile: optional(Type.Boolean()) }),
  ),
  include_state: optional(Type.Boolean()),
  groupings: optional(Type.Object({ group_by: optional(Type.Array(Type.Object({ key: GroupKey }))) })),
});
type Criteria = Static<typeof Criteria>;

type Ports = Pick<Rooms, 'search' | 'access' | 'aggregations' | 'clock' | 'writerId'>;

export function searchEndpoints(rooms: Ports): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/search'),
      auth: 'user',
      rateLimit: 'search',
      query: Type.Object({ next_batch: Type.Optional(Type.String()) }),
      body: Type.Object({ search_categories: Type.Object({ room_events: optional(Criteria) }) }),
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search',
      async handle({ requester, query, body }) {
        const criteria = body.search_categories.room_events ?? undefined;
        if (criteria === undefined) return { search_categories: {} };
        const found = await rooms.search(requester, toRequest(criteria, query.next_batch));
        const rendering = await loadRendering(rooms, requester, found.results);
        const states = criteria.include_state === true ? await loadStates(rooms, requester, found.results) : undefined;
        const groupKeys = (criteria.groupings?.group_by ?? []).map(({ key }) => key);
        const fields = [
          `"count":${found.count}`,
          `"highlights":${JSON.stringify(found.highlights)}`,
          `"results":[${found.results.map((result) => renderResult(rooms.writerId, result, rendering)).join()}]`,
          ...(states === undefined ? [] : [`"state":${JSON.stringify(states)}`]),
          ...(groupKeys.length === 0 ? [] : [`"groups":${JSON.stringify(toGroups(groupKeys, found))}`]),
          ...(found.end === undefined ? [] : [`"next_batch":${JSON.stringify(toToken(found, query.next_batch))}`]),
        ];
        return rawJson(`{"search_categories":{"room_events":{${fields.join()}}}}`);
      },
    }),
  ];
}

function toRequest(criteria: Criteria, nextBatch: string | undefined): SearchRequest {
  const filter = parseRoomEventFilter(criteria.filter ?? {});
  if ('error' in filter) throw new MatrixError('M_BAD_JSON', filter.error);
  const { event_context: context, keys } = criteria;
  const token = nextBatch === undefined ? undefined : parseSearchToken(nextBatch);
  return {
    term: criteria.search_term,
    keys: keys ?? undefined,
    filter,
    limit: Math.max(readLimit(filter.limit, RESULTS_LIMIT), 1),
    order: criteria.order_by ?? 'rank',
    context:
      context === undefined || context === null
        ? undefined
        : {
            before: readLimit(context.before_limit ?? undefined, CONTEXT_LIMIT),
            after: readLimit(context.after_limit ?? undefined, CONTEXT_LIMIT),
            includeProfile: context.include_profile === true,
          },
    after: token?.after,
    group: token?.group,
  };
}

/** A page of one group is followed by another of the same. */
function toToken({ end }: SearchResults, nextBatch: string | undefined): string | undefined {
  const group = nextBatch === undefined ? undefined : parseSearchToken(nextBatch).group;
  return end === undefined ? undefined : formatSearchToken({ after: end, group });
}

function toGroups(keys: readonly SearchGroup['key'][], { results, end }: SearchResults): JsonObject {
  const groups = [...new Set(keys)].map((key): [string, JsonObject] => {
    const ofKey = Map.groupBy(results, ({ event: { event } }) => (key === 'room_id' ? event.roomId : event.sender));
    const entries = [...ofKey].map(([value, ofGroup], index): [string, JsonObject] => [
      value,
      {
        order: index + 1,
        results: ofGroup.map(({ event: { event } }) => event.eventId),
        // All of the group that came before the end of this page is in it.
        ...(end !== undefined && { next_batch: formatSearchToken({ after: end, group: { key, value } }) }),
      },
    ]);
    return [key, Object.fromEntries(entries)];
  });
  return Object.fromEntries(groups);
}

async function loadRendering(
  { aggregations, clock }: Ports,
  requester: Requester,
  results: readonly SearchResult[],
): Promise<BundledRendering> {
  const byRoom = Map.groupBy(results, ({ event }) => event.event.roomId);
  const loaded = await Promise.all(
    [...byRoom].map(([roomId, ofRoom]) =>
      aggregations.load(
        requester,
        roomId,
        ofRoom.map(({ event }) => event),
      ),
    ),
  );
  const all = new Map<EventId, Aggregation>(loaded.flatMap((ofRoom) => [...ofRoom]));
  return { aggregations: all, reader: requester, now: clock.now() };
}

/** The state that the reader may read of the results' rooms. */
async function loadStates(
  { access, clock }: Ports,
  { userId }: Requester,
  results: readonly SearchResult[],
): Promise<JsonObject> {
  const now = clock.now();
  const roomIds = [...new Set(results.map(({ event }) => event.event.roomId))];
  const states = await Promise.all(
    roomIds.map(async (roomId: RoomId): Promise<readonly [string, JsonObject[]][]> => {
      if (!(await access.isReadable(userId, roomId))) return [];
      const state = await access.loadState(await access.loadReadable(userId, roomId));
      return [[roomId, state.map((entry) => renderStateEvent(entry, roomId, now))]];
    }),
  );
  return Object.fromEntries(states.flat());
}

function renderResult(writerId: number, { event, rank, context }: SearchResult, rendering: BundledRendering): string {
  const fields = [`"rank":${rank}`, `"result":${renderBundledEvent(event, rendering)}`];
  if (context === undefined) return `{${fields.join()}}`;
  const render = (events: readonly SearchResult['event'][]): string =>
    `[${events.map((around) => renderBundledEvent(around, rendering)).join()}]`;
  const around = [
    `"start":${JSON.stringify(formatPosition(writerId, context.start))}`,
    `"end":${JSON.stringify(formatPosition(writerId, context.end))}`,
    `"events_before":${render(context.before)}`,
    `"events_after":${render(context.after)}`,
    ...(context.profiles === undefined ? [] : [`"profile_info":${JSON.stringify(context.profiles)}`]),
  ];
  return `{${[...fields, `"context":{${around.join()}}`].join()}}`;
}
