/**
 * Searching the text of the rooms that a user is or was in: what they may see of them, nothing redacted, nothing of users
 * whom they ignore, and no encrypted room. A search sees all that was committed before it.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#server-side-search
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility, VisibleEvent } from '../engine/visible-events.ts';
import { MatrixError } from '../protocol/errors.ts';
import { compileEventFilter, compileRoomSelection } from '../protocol/filter-match.ts';
import type { RoomEventFilter } from '../protocol/filters.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import {
  type FoundEvent,
  listFoundWords,
  listSearchableRooms,
  listVisibilityChanges,
  type SearchPlace,
  searchEvents,
} from '../storage/search.ts';
import { SEARCHABLE_TYPES } from '../storage/search-index.ts';
import type { IgnoredUsers } from './ignored-users.ts';
import type { Reader } from './load-page.ts';
import { loadRelated } from './load-related.ts';
import { type ContextSize, loadSearchContexts, type SearchContext } from './search-context.ts';
import { type SearchIndex, TEXT_KEYS } from './search-index.ts';
import { toSearchText } from './search-text.ts';
import { visibleStretches } from './visible-stretches.ts';

export interface SearchRequest {
  readonly term: string;
  /** What the search looks into; undefined for all that it can. */
  readonly keys: readonly string[] | undefined;
  readonly filter: RoomEventFilter;
  readonly limit: number;
  readonly order: 'rank' | 'recent';
  readonly context: ContextSize | undefined;
  /** Where an earlier page ended, and the group that it was about. */
  readonly after: SearchPlace | undefined;
  readonly group: SearchGroup | undefined;
}

export interface SearchGroup {
  readonly key: 'room_id' | 'sender';
  readonly value: string;
}

export interface SearchResult {
  readonly event: VisibleEvent;
  readonly rank: number;
  readonly context: SearchContext | undefined;
}

export interface SearchResults {
  readonly count: number;
  readonly results: readonly SearchResult[];
  /** Where the next page begins; undefined where nothing is left. */
  readonly end: SearchPlace | undefined;
  readonly highlights: readonly string[];
}

export type SearchRooms = (reader: Reader, request: SearchRequest) => Promise<SearchResults>;

export interface SearchOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshots' | 'loadStateEntries'>;
  readonly database: Transaction;
  readonly visibility: Visibility;
  readonly index: SearchIndex;
  readonly ignoredUsers: IgnoredUsers;
}

/** PostgreSQL refuses words of 2 KB; nobody types a longer search. */
const MAX_TERM_BYTES = 1_000;
/** Bounds the text that is looked through for words to highlight. */
const MAX_HIGHLIGHTED_LENGTH = 4_000;

const NOTHING: SearchResults = { count: 0, results: [], end: undefined, highlights: [] };

export function createSearch(options: SearchOptions): SearchRooms {
  const { database, index } = options;
  return async (reader, request) => {
    const term = toSearchText(request.term);
    if (Buffer.byteLength(term) > MAX_TERM_BYTES) {
      throw new MatrixError('M_INVALID_PARAM', `A search term has ${MAX_TERM_BYTES} bytes at most`);
    }
    const [searchable, ignored] = await Promise.all([
      listSearchableRooms(database, reader.userId),
      options.ignoredUsers.load(reader.userId),
      index.catchUp(),
    ]);
    const isSelected = compileRoomSelection(request.filter);
    const inGroup = groupOf(request.group, 'room_id');
    const roomIds = searchable.filter((id) => isSelected(id) && (inGroup === undefined || inGroup === id));
    if (roomIds.length === 0) return NOTHING;
    const stretches = visibleStretches(await listVisibilityChanges(database, roomIds, reader.userId), reader.userId);
    if (stretches.length === 0) return NOTHING;
    const { count, events: found } = await searchEvents(database, {
      ...request,
      term,
      types: typesOf(request),
      stretches,
      senders: sendersOf(request),
      notSenders: [...request.filter.notSenders, ...ignored],
      hasUrl: request.filter.containsUrl,
    });
    const results = await loadResults(options, { reader, ignored, context: request.context }, found);
    return {
      count,
      results,
      // Whether there is more is for the next page to say: a full one may be the last.
      end: found.length === request.limit ? found.at(-1) : undefined,
      highlights: results.length === 0 ? [] : await loadHighlights(database, term, results),
    };
  };
}

function typesOf({ filter, keys }: SearchRequest): readonly string[] {
  const isType = compileEventFilter({ ...filter, senders: undefined, notSenders: [], containsUrl: undefined });
  return SEARCHABLE_TYPES.filter(
    (type) => isType({ type }) && (keys === undefined || keys.includes(`content.${TEXT_KEYS[type]}`)),
  );
}

function groupOf(group: SearchGroup | undefined, key: SearchGroup['key']): string | undefined {
  return group?.key === key ? group.value : undefined;
}

function sendersOf({ filter: { senders }, group }: SearchRequest): readonly string[] | undefined {
  const sender = groupOf(group, 'sender');
  if (sender === undefined) return senders;
  return senders === undefined || senders.includes(sender) ? [sender] : [];
}

export interface SearchView {
  readonly reader: Reader;
  readonly ignored: ReadonlySet<string>;
  readonly context: ContextSize | undefined;
}

async function loadResults(
  options: SearchOptions,
  view: SearchView,
  found: readonly FoundEvent[],
): Promise<readonly SearchResult[]> {
  if (found.length === 0) return [];
  const byRoom = Map.groupBy(found, ({ roomId }) => roomId);
  const snapshots = await options.engine.loadSnapshots([...byRoom.keys()]);
  const events = new Map<number, VisibleEvent>();
  await Promise.all(
    [...byRoom].map(async ([roomId, ofRoom]) => {
      const snapshot = snapshots.get(roomId);
      if (snapshot === undefined) return;
      const stored = await loadRelated(options.database, snapshot.version, ofRoom);
      for (const event of await options.visibility.filterVisible(stored, view.reader, snapshot)) {
        events.set(event.nid, event);
      }
    }),
  );
  const shown = found.flatMap(({ nid, rank }) => {
    const event = events.get(nid);
    // Redacted since it was found.
    return event === undefined || event.redactedBecause !== undefined ? [] : [{ event, rank: Number(rank) }];
  });
  const contexts = await loadContexts(options, { ...view, snapshots }, shown);
  return shown.map((result) => ({ ...result, context: contexts.get(result.event.nid) }));
}

async function loadContexts(
  options: SearchOptions,
  { context, ...view }: SearchView & { readonly snapshots: ReadonlyMap<RoomId, RoomSnapshot> },
  shown: readonly { readonly event: VisibleEvent }[],
): Promise<ReadonlyMap<number, SearchContext>> {
  if (context === undefined || shown.length === 0) return new Map();
  const events = shown.map(({ event }) => event);
  return loadSearchContexts(options, view, { events, size: context });
}

async function loadHighlights(
  database: Transaction,
  term: string,
  results: readonly SearchResult[],
): Promise<readonly string[]> {
  const texts = results.flatMap(({ event: { event } }) => {
    const { body, name, topic } = event.content;
    const text = [body, name, topic].find((value) => typeof value === 'string');
    return typeof text === 'string' ? [toSearchText(text.slice(0, MAX_HIGHLIGHTED_LENGTH))] : [];
  });
  return [...(await listFoundWords(database, term, texts))];
}
