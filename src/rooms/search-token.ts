/**
 * The tokens of search results: where a page ended and, for a page of one group, which. Whatever a client makes of one
 * leads to a place in what it may see, or is refused.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
 */
import { parseJsonText } from '../lib/parse-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { SearchPlace } from '../storage/search.ts';
import type { SearchGroup } from './search.ts';

export interface SearchToken {
  readonly after: SearchPlace;
  readonly group: SearchGroup | undefined;
}

/** Room and user ids have 255 bytes; base64 and the rest fit in with a margin. */
const MAX_TOKEN_LENGTH = 1_000;

export function formatSearchToken({ after, group }: SearchToken): string {
  const fields = [after.rank, after.position, ...(group === undefined ? [] : [group.key, group.value])];
  return Buffer.from(JSON.stringify(fields)).toString('base64url');
}

export function parseSearchToken(text: string): SearchToken {
  const fields = text.length > MAX_TOKEN_LENGTH ? undefined : readFields(text);
  const [rank, position, key, value] = fields ?? [];
  if (!isRank(rank) || !Number.isSafeInteger(position) || typeof position !== 'number') throw invalid();
  const after = { rank, position };
  if (key === undefined) return { after, group: undefined };
  if ((key !== 'room_id' && key !== 'sender') || typeof value !== 'string' || value.includes('\0')) throw invalid();
  return { after, group: { key, value } };
}

function readFields(text: string): readonly unknown[] | undefined {
  try {
    const fields: unknown = parseJsonText(Buffer.from(text, 'base64url').toString());
    return Array.isArray(fields) ? fields : undefined;
  } catch {
    return undefined;
  }
}

/** A number that PostgreSQL reads as a `real`: it refuses those that are too small as well as too large ones. */
function isRank(rank: unknown): rank is string {
  if (typeof rank !== 'string' || !/^\d{1,4}(\.\d{1,12})?(e-\d{1,2})?$/.test(rank)) return false;
  const value = Number(rank);
  return value === 0 || value > 1e-37;
}

function invalid(): MatrixError {
  return new MatrixError('M_INVALID_PARAM', 'next_batch is not a token that this server gave');
}
