/**
 * A client's filter ready for a sync: predicates for each section, limits, and how events are written.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#filtering
 */

import {
  type EventReader,
  type RenderableEvent,
  renderClientEvent,
  renderSyncEventText,
  renderSyncStateText,
} from '../engine/client-events.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import {
  compileEventFilter,
  compileProjection,
  compileRoomSelection,
  type FilterableEvent,
  passesAll,
} from '../protocol/filter-match.ts';
import { type Filter, parseFilter, type RoomEventFilter } from '../protocol/filters.ts';
import type { JsonObject, JsonValue, StateEvent } from '../protocol/pdu.ts';

/** What clients get that ask for no number: the spec leaves it to us. */
const DEFAULT_TIMELINE_LIMIT = 10;
/** Bounds what one room adds to an answer. */
const MAX_TIMELINE_LIMIT = 1000;

type Predicate = (event: FilterableEvent) => boolean;

export interface CompiledFilter {
  readonly includesRoom: (roomId: string) => boolean;
  readonly includeLeave: boolean;
  readonly timeline: Predicate;
  readonly timelineLimit: number;
  /** Counts of threads for themselves, and that of the room without them. */
  readonly unreadThreads: boolean;
  readonly state: Predicate;
  /** Whether all state is wanted, as it is. */
  readonly isStatePlain: boolean;
  readonly ephemeral: Predicate;
  readonly roomAccountData: Predicate;
  readonly accountData: Predicate;
  readonly presence: Predicate;
  readonly presenceLimit: number;
  readonly lazyLoadMembers: boolean;
  readonly includeRedundantMembers: boolean;
  renderEvent(event: RenderableEvent, reader: EventReader, now: number): string;
  renderState(state: StateEvent): string;
}

/** Compiles the JSON of a filter; M_BAD_JSON where it is none. */
export function compileFilter(json: JsonValue): CompiledFilter {
  const filter = parseFilter(json);
  if ('error' in filter) throw new MatrixError('M_BAD_JSON', `Invalid filter: ${filter.error}`);
  const { room } = filter;
  return {
    includesRoom: compileRoomSelection(room),
    includeLeave: room.includeLeave,
    timeline: compileEventFilter(room.timeline),
    timelineLimit: Math.min(room.timeline.limit ?? DEFAULT_TIMELINE_LIMIT, MAX_TIMELINE_LIMIT),
    unreadThreads: room.timeline.unreadThreadNotifications,
    state: compileEventFilter(room.state),
    isStatePlain: filter.eventFields === undefined && passesAll(room.state),
    ephemeral: withRooms(room.ephemeral),
    roomAccountData: withRooms(room.accountData),
    accountData: compileEventFilter(filter.accountData),
    presence: compileEventFilter(filter.presence),
    presenceLimit: filter.presence.limit ?? Number.POSITIVE_INFINITY,
    lazyLoadMembers: room.state.lazyLoadMembers,
    includeRedundantMembers: room.state.includeRedundantMembers,
    ...createRenderer(filter),
  };
}

/** Ephemeral events and account data have no `url`, so only what they have is filtered by. */
function withRooms(filter: RoomEventFilter): Predicate {
  return compileEventFilter({ ...filter, containsUrl: undefined });
}

function createRenderer({ eventFields, eventFormat }: Filter): Pick<CompiledFilter, 'renderEvent' | 'renderState'> {
  if (eventFormat === 'federation') {
    return {
      renderEvent: ({ event }) => JSON.stringify({ ...event.pdu, event_id: event.eventId }),
      renderState: renderSyncStateText,
    };
  }
  if (eventFields === undefined) return { renderEvent: renderSyncEventText, renderState: renderSyncStateText };
  const project = compileProjection(eventFields);
  return {
    renderEvent: (event, reader, now) => JSON.stringify(project(renderClientEvent(event, reader, now))),
    renderState: (state) => JSON.stringify(project(parseJsonText(renderSyncStateText(state)) as JsonObject)),
  };
}
