/**
 * Where a page of a list ended: the values that its last entry is sorted by, as one opaque text. Entries that are added
 * or taken away between two pages move no other entry, as counting would.
 */

import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { parseJsonText } from '../../lib/parse-json.ts';
import { MatrixError } from '../../protocol/errors.ts';

export interface Cursor<Values> {
  write(values: Values): string;
  /** Undefined for the first page; throws M_INVALID_PARAM for what is none of ours. */
  read(text: string | undefined): Values | undefined;
}

/** Two ids and a room's name, with room for escapes and base64. */
const MAX_CURSOR_LENGTH = 8_192;

export function createCursor<T extends TSchema>(schema: T): Cursor<Static<T>> {
  const validator = Compile(schema);
  return {
    write: (values) => Buffer.from(JSON.stringify(values)).toString('base64url'),
    read(text) {
      if (text === undefined) return undefined;
      const values = text.length > MAX_CURSOR_LENGTH ? undefined : parse(text);
      if (validator.Check(values) && isStorable(values)) return values;
      throw new MatrixError('M_INVALID_PARAM', 'since has to be the next_batch of a page of this list');
    },
  };
}

function parse(text: string): unknown {
  try {
    return parseJsonText(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    // Somebody else's token.
    return undefined;
  }
}

/** PostgreSQL's text holds neither NUL nor halves of surrogate pairs. */
function isStorable(values: unknown): boolean {
  if (!Array.isArray(values)) return false;
  return values.every((value) => typeof value !== 'string' || (value.isWellFormed() && !value.includes('\0')));
}
