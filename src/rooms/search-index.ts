/**
 * Keeps the search index up with the stream of events: a follower with a durable position, so that a crash costs nothing
 * but repeated work and a new index reads the past by itself. It rests between rounds, since one statement for many
 * events is cheaper than one for each; a search does not wait for that.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#server-side-search
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Database } from '../storage/database.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import {
  deleteRedactedDocuments,
  type IndexableEvent,
  insertSearchDocuments,
  listIndexableEvents,
  loadIndexPosition,
  SEARCHABLE_TYPES,
  type SearchableType,
  type SearchDocument,
  saveIndexPosition,
} from '../storage/search-index.ts';
import type { Hub } from '../streams/hub.ts';
import { toSearchText } from './search-text.ts';

export interface SearchIndex {
  /** Resolves when all that is committed now is in the index, or after a while all the same: searching goes on then. */
  catchUp(): Promise<void>;
}

export interface SearchIndexOptions {
  readonly database: Database;
  readonly hub: Hub;
  readonly committer: { readonly writerId: number; readonly position: number };
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Events gather for this long; who searches does not wait for it. */
const REST_MS = 1_000;
/** After a failure, such as a database that is away. */
const RETRY_MS = 5_000;
/** Bounds one round: at most this many events of 64 KB in memory, some milliseconds of the database's time otherwise. */
const EVENTS_PER_ROUND = 200;
/** How long a search waits for an index that is far behind. */
const MAX_WAIT_MS = 3_000;

const CONCERNED: ReadonlySet<string> = new Set([...SEARCHABLE_TYPES, 'm.room.redaction']);

export function createSearchIndex(options: SearchIndexOptions): SearchIndex & AsyncDisposable {
  const { database, hub, committer, clock, logger } = options;
  const { writerId } = committer;
  let reached: number | undefined;
  /** The last position that holds something for the index, as far as is known. */
  let wanted = committer.position;
  let running: Promise<void> | undefined;
  let resting: Disposable | undefined;
  let isClosed = false;

  async function run(): Promise<void> {
    reached ??= await loadIndexPosition(database, writerId);
    while (reached < wanted && !isClosed) reached = await indexPart(reached, wanted);
  }

  async function indexPart(after: number, upTo: number): Promise<number> {
    const events = await listIndexableEvents(database, { writerId, after, upTo, limit: EVENTS_PER_ROUND });
    const position = events.length < EVENTS_PER_ROUND ? upTo : (events.at(-1)?.position ?? upTo);
    await database.transaction((tx) =>
      Promise.all([
        insertSearchDocuments(tx, events.flatMap(toDocument)),
        deleteRedactedDocuments(
          tx,
          events.flatMap(({ redacts }) => redacts ?? []),
        ),
        saveIndexPosition(tx, { writerId, position }),
      ]),
    );
    return position;
  }

  function start(): Promise<void> {
    running ??= run()
      .catch((cause: unknown) => {
        if (isClosed) return;
        logger.warn({ cause }, 'the search index could not be brought up to date; it will be tried again');
        rest(RETRY_MS);
      })
      .finally(() => {
        running = undefined;
        // Something came while the last part was written.
        if (reached !== undefined && reached < wanted) rest(REST_MS);
      });
    return running;
  }

  function rest(delay: number): void {
    if (isClosed) return;
    resting ??= clock.after(delay, () => {
      resting = undefined;
      void start();
    });
  }

  const following = hub.follow((batch) => {
    if (!batch.rowsOf(pduStream).some(({ row }) => CONCERNED.has(row.stored.event.type))) return;
    wanted = batch.to;
    rest(REST_MS);
  });
  rest(REST_MS);

  return {
    async catchUp() {
      const goal = wanted;
      const isBehind = (): boolean => reached === undefined || reached < goal;
      if (!isBehind()) return;
      const giveUpAt = clock.monotonic() + MAX_WAIT_MS;
      // A round that runs already may have begun before the goal.
      for (let round = 0; round < 2 && isBehind(); round++) {
        await within(clock, giveUpAt - clock.monotonic(), start());
      }
    },
    async [Symbol.asyncDispose]() {
      isClosed = true;
      following[Symbol.dispose]();
      resting?.[Symbol.dispose]();
      await running;
    },
  };
}

async function within(clock: Clock, delay: number, work: Promise<void>): Promise<void> {
  let timer: Disposable | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = clock.after(Math.max(delay, 0), resolve);
  });
  await Promise.race([work, timeout]);
  timer?.[Symbol.dispose]();
}

/** Where the text of an event stands in its content. */
export const TEXT_KEYS: Readonly<Record<SearchableType, 'body' | 'name' | 'topic'>> = {
  'm.room.message': 'body',
  'm.room.name': 'name',
  'm.room.topic': 'topic',
};

/** Nothing for events without text, and for those that were redacted before the index saw them. */
function toDocument({ content, isRedacted, redacts: _, ...event }: IndexableEvent): readonly SearchDocument[] {
  const type = SEARCHABLE_TYPES.find((searchable) => searchable === event.type);
  const text = type === undefined || isRedacted ? undefined : content[TEXT_KEYS[type]];
  if (typeof text !== 'string' || text === '') return [];
  return [{ ...event, hasUrl: Object.hasOwn(content, 'url'), text: toSearchText(text) }];
}
