/**
 * The Range header: one range of bytes. Several, other units and what is no range at all are ignored, as HTTP allows.
 *
 * https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
 */
import type { ByteRange } from './store.ts';

/** Undefined for the whole content, 'unsatisfiable' for a range that lies outside of it. */
export function parseRange(header: string | undefined, size: number): ByteRange | 'unsatisfiable' | undefined {
  const match = header === undefined ? null : /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/i.exec(header);
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '') {
    if (last === '') return undefined;
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== '' && Number(last) < start) return undefined;
  return start >= size ? 'unsatisfiable' : { start, end };
}
