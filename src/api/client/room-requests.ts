/**
 * What the room endpoints share: their paths, and reading ids, tokens and filters out of requests.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#pagination
 */
import { MatrixError } from '../../protocol/errors.ts';
import { compileEventFilter } from '../../protocol/filter-match.ts';
import { parseRoomEventFilter, type RoomEventFilter } from '../../protocol/filters.ts';
import {
  type EventId,
  parseEventId,
  parseRoomAlias,
  parseRoomId,
  parseUserId,
  type RoomAlias,
  type RoomId,
  type UserId,
} from '../../protocol/ids.ts';
import { parseJson } from '../../protocol/strict-json.ts';
import type { EventPredicate } from '../../rooms/load-page.ts';

/** The path in the current version of the API and in the one that older clients still ask. */
export function clientPaths<P extends string>(path: P): readonly [`/_matrix/client/v3${P}`, `/_matrix/client/r0${P}`] {
  return [`/_matrix/client/v3${path}`, `/_matrix/client/r0${path}`];
}

export function readRoomId(text: string): RoomId {
  const roomId = parseRoomId(text);
  if (roomId === undefined) throw new MatrixError('M_INVALID_PARAM', 'The room id is not valid');
  return roomId;
}

/** What cannot be an event id names no event. */
export function readEventId(text: string): EventId {
  const eventId = parseEventId(text);
  if (eventId === undefined) throw new MatrixError('M_NOT_FOUND', 'The event was not found');
  return eventId;
}

export function readUserId(text: string): UserId {
  const userId = parseUserId(text);
  if (userId === undefined) throw new MatrixError('M_INVALID_PARAM', 'The user id is not valid');
  return userId;
}

export function readAlias(text: string): RoomAlias {
  const alias = parseRoomAlias(text);
  if (alias === undefined) throw new MatrixError('M_INVALID_PARAM', 'The room alias is not valid');
  return alias;
}

export interface ReadFilter {
  readonly filter: RoomEventFilter;
  readonly passes: EventPredicate;
}

/** The JSON of a `RoomEventFilter` in a query parameter; everything passes without one. */
export function readRoomEventFilter(text: string | undefined): ReadFilter {
  const filter = parseRoomEventFilter(text === undefined ? {} : parseJson(Buffer.from(text)));
  if ('error' in filter) throw new MatrixError('M_BAD_JSON', filter.error);
  if (text === undefined) return { filter, passes: () => true };
  const matches = compileEventFilter(filter);
  return { filter, passes: ({ event }) => matches(event) };
}

/** A page's size: what was asked for within what one answer may hold. */
export function readLimit(
  asked: number | undefined,
  bounds: { readonly default: number; readonly max: number },
): number {
  return Math.min(asked ?? bounds.default, bounds.max);
}
