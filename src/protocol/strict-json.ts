/**
 * JSON from the network: valid UTF-8 or nothing, bounded in depth before anything recursive walks it. Duplicate keys: the
 * last one counts, as everywhere in the field. `__proto__` arrives as an ordinary own key; copies are made by spreading,
 * which keeps it one.
 *
 * A parsed number no longer shows how it was written, and canonical JSON forbids `1.0`, `1e2`, `-0` and what lies beyond
 * 2^53 - 1. Such numbers are called odd here and found in the text, where the room version cares.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#api-standards
 * https://spec.matrix.org/v1.19/appendices/#canonical-json
 */
import { type NoteNumber, parseJsonText } from '../lib/parse-json.ts';
import { MAX_JSON_DEPTH } from './canonical-json.ts';
import { MatrixError } from './errors.ts';
import type { JsonValue } from './pdu.ts';

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The value that the bytes hold; throws M_NOT_JSON where they hold none, M_BAD_JSON where it is nested too deeply. */
export function parseJson(bytes: Uint8Array, maxDepth = MAX_JSON_DEPTH): JsonValue {
  return parseText(decode(bytes, maxDepth));
}

/** The objects and arrays of a parsed value that hold an odd number directly. */
export type OddNumbers = ReadonlySet<JsonValue>;

/**
 * As `parseJson`, for bodies that carry events of several room versions: which parts hold odd numbers is found out here,
 * what to do about it is decided per event.
 */
export function parseJsonWithOddNumbers(
  bytes: Uint8Array,
  maxDepth = MAX_JSON_DEPTH,
): { readonly value: JsonValue; readonly oddNumbers: OddNumbers } {
  const text = decode(bytes, maxDepth);
  const oddNumbers = new Set<JsonValue>();
  // Hearing of numbers makes parsing several times slower, so only texts that have such numbers are read so.
  if (!hasOddNumbers(bytes)) return { value: parseText(text), oddNumbers };
  const noteOdd: NoteNumber = (source, holder) => {
    if (isOddNumber(source)) oddNumbers.add(holder as JsonValue);
  };
  return { value: parseText(text, noteOdd), oddNumbers };
}

/** Whether the value or anything inside it holds an odd number. */
export function holdsOddNumber(value: JsonValue | undefined, oddNumbers: OddNumbers): boolean {
  if (oddNumbers.size === 0 || typeof value !== 'object' || value === null) return false;
  return oddNumbers.has(value) || Object.values(value).some((inner) => holdsOddNumber(inner, oddNumbers));
}

/** Whether any number in the JSON text is odd; one pass that never looks into strings. */
export function hasOddNumbers(bytes: Uint8Array): boolean {
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] ?? 0;
    if (byte === QUOTE) {
      index = endOfString(bytes, index);
    } else if (byte === MINUS || isDigit(byte)) {
      const end = endOfNumber(bytes, index);
      if (isOddAt(bytes, index, end)) return true;
      index = end - 1;
    }
  }
  return false;
}

function parseText(text: string, noteNumber?: NoteNumber): JsonValue {
  try {
    return parseJsonText(text, noteNumber) as JsonValue;
  } catch (cause) {
    throw new MatrixError('M_NOT_JSON', 'The body is not JSON', { cause });
  }
}

function decode(bytes: Uint8Array, maxDepth: number): string {
  const text = decodeUtf8(bytes);
  if (isDeeperThan(bytes, maxDepth)) throw new MatrixError('M_BAD_JSON', 'The JSON is nested too deeply');
  return text;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new MatrixError('M_NOT_JSON', 'The body is not UTF-8', { cause });
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const ZERO = 0x30;

/** Counts brackets outside strings; needs no stack of its own, so the input cannot exhaust one. */
function isDeeperThan(bytes: Uint8Array, maxDepth: number): boolean {
  let depth = 0;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index];
    if (byte === QUOTE) {
      index = endOfString(bytes, index);
    } else if (byte === 0x7b || byte === 0x5b) {
      depth++;
      if (depth > maxDepth) return true;
    } else if (byte === 0x7d || byte === 0x5d) {
      depth--;
    }
  }
  return false;
}

/** Where the quote is that ends the string which begins at `start`, or the end of the text. */
function endOfString(bytes: Uint8Array, start: number): number {
  let index = start + 1;
  while (index < bytes.length && bytes[index] !== QUOTE) index += bytes[index] === BACKSLASH ? 2 : 1;
  return index;
}

function endOfNumber(bytes: Uint8Array, start: number): number {
  let index = start + 1;
  while (isInNumber(bytes[index])) index++;
  return index;
}

/** Digits, `.`, `e`, `E` and signs. That they stand in the right order is for the parser to say. */
function isInNumber(byte = 0): boolean {
  return isDigit(byte) || byte === 0x2e || byte === 0x65 || byte === 0x45 || byte === 0x2b || byte === MINUS;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= 0x39;
}

/** Below 16 characters an integer is safe; whatever is longer is rare enough to be read as text. */
const SAFE_LENGTH = 15;

function isOddAt(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start > SAFE_LENGTH) return isOddNumber(decoder.decode(bytes.subarray(start, end)));
  for (let index = start + 1; index < end; index++) {
    if (!isDigit(bytes[index] ?? 0)) return true;
  }
  return bytes[start] === MINUS && bytes[start + 1] === ZERO;
}

/** An integer's text that is neither negative zero nor out of range is what canonical JSON writes for it. */
function isOddNumber(source: string): boolean {
  if (!/^-?\d+$/.test(source) || source === '-0') return true;
  return !Number.isSafeInteger(Number(source));
}
