/**
 * The filters that clients keep here, compiled once and remembered: they never change.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
 */

import { hash } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { Lru } from '../lib/lru.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import { MAX_FILTER_BYTES } from '../protocol/filter-reader.ts';
import type { UserId } from '../protocol/ids.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import type { Transaction } from '../storage/database.ts';
import { countFilters, insertFilter, loadFilter } from '../storage/filters.ts';
import { type CompiledFilter, compileFilter } from './compiled-filter.ts';

/** Filters of the devices that sync now; each takes a few KB. */
const MAX_CACHED_FILTERS = 2_000;
/** A client has a handful; this bounds what one that makes a new one each time can store. */
const MAX_FILTERS_PER_USER = 1_000;
/** 132 bits of the hash: no two filters of a user get the same id by chance or design. */
const FILTER_ID_CHARACTERS = 22;

export interface SyncFilters {
  /** Stores a filter and returns its id; M_BAD_JSON where it is none. */
  store(userId: UserId, definition: JsonObject): Promise<string>;
  loadDefinition(userId: UserId, filterId: string): Promise<JsonObject | undefined>;
  /** The filter of a request: none, the JSON itself, or an id. */
  load(userId: UserId, filter: string | undefined): Promise<CompiledFilter>;
}

export interface SyncFiltersOptions {
  readonly database: Transaction;
  readonly clock: Clock;
}

export function createSyncFilters({ database, clock }: SyncFiltersOptions): SyncFilters {
  const cache = new Lru<string, CompiledFilter>({ maxCost: MAX_CACHED_FILTERS });
  const none = compileFilter({});

  async function loadStored(userId: UserId, filterId: string): Promise<CompiledFilter> {
    const key = `${userId} ${filterId}`;
    const known = cache.get(key);
    if (known !== undefined) return known;
    const definition = await loadFilter(database, userId, filterId);
    if (definition === undefined) throw new MatrixError('M_INVALID_PARAM', 'There is no such filter');
    const compiled = compileFilter(definition);
    cache.set(key, compiled);
    return compiled;
  }

  return {
    async store(userId, definition) {
      compileFilter(definition);
      const filterId = hash('sha256', JSON.stringify(definition), 'base64url').slice(0, FILTER_ID_CHARACTERS);
      if ((await loadFilter(database, userId, filterId)) !== undefined) return filterId;
      if ((await countFilters(database, userId)) >= MAX_FILTERS_PER_USER) {
        throw new MatrixError('M_TOO_LARGE', `A user may store ${MAX_FILTERS_PER_USER} filters`);
      }
      await insertFilter(database, { userId, filterId, definition, createdAt: clock.now() });
      return filterId;
    },
    loadDefinition: (userId, filterId) => loadFilter(database, userId, filterId),
    async load(userId, filter) {
      if (filter === undefined || filter === '') return none;
      return filter.startsWith('{') ? compileFilter(parseInline(filter)) : loadStored(userId, filter);
    },
  };
}

function parseInline(text: string): JsonValue {
  if (text.length > MAX_FILTER_BYTES) throw new MatrixError('M_TOO_LARGE', 'The filter is too large');
  try {
    return parseJsonText(text) as JsonValue;
  } catch (cause) {
    throw new MatrixError('M_NOT_JSON', 'The filter is not JSON', { cause });
  }
}
