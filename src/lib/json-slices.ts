/**
 * Large JSON answers in pieces: where the members of an object lie in its bytes, and of some of them the elements, so that
 * each can be parsed when it is needed and none blocks the event loop. What looks wrong here is wrong; what looks right
 * still has to be parsed.
 */
import type { Breathe } from './breather.ts';
import { parseJsonText } from './parse-json.ts';

export interface SlicedObject {
  /** The bytes of each member's value, by key; of several with one key the last. */
  readonly values: ReadonlyMap<string, Buffer>;
  /** The bytes of each element, for the lists that were asked for. */
  readonly lists: ReadonlyMap<string, readonly Buffer[]>;
}

export interface SliceOptions {
  readonly lists: ReadonlySet<string>;
  /** Of one element, or of one member that is not sliced: scanned without a pause. */
  readonly maxBytes: number;
  /** Of all lists together. */
  readonly maxElements: number;
  readonly breathe: Breathe;
}

export class SliceError extends Error {}

/** Slices the object that the bytes hold; throws a `SliceError` where they hold none. */
export async function sliceObject(bytes: Buffer, options: SliceOptions): Promise<SlicedObject> {
  const scanner = new Scanner(bytes, options.maxBytes);
  const values = new Map<string, Buffer>();
  const lists = new Map<string, readonly Buffer[]>();
  let elementsLeft = options.maxElements;
  scanner.expect(BRACE_OPEN);
  while (!scanner.takes(BRACE_CLOSE)) {
    if (values.size + lists.size > 0) scanner.expect(COMMA);
    const key = parseKey(scanner.value());
    scanner.expect(COLON);
    if (options.lists.has(key) && scanner.takes(BRACKET_OPEN)) {
      const elements: Buffer[] = [];
      while (!scanner.takes(BRACKET_CLOSE)) {
        if (elements.length > 0) scanner.expect(COMMA);
        elements.push(scanner.value());
        if (elements.length > elementsLeft) throw new SliceError('it has too many elements');
        const pause = options.breathe();
        if (pause !== undefined) await pause;
      }
      elementsLeft -= elements.length;
      lists.set(key, elements);
    } else {
      values.set(key, scanner.value());
      await options.breathe();
    }
    if (values.size > MAX_MEMBERS) throw new SliceError('it has too many members');
  }
  return { values, lists };
}

const MAX_MEMBERS = 100;

function parseKey(bytes: Buffer): string {
  if (bytes[0] !== QUOTE) throw new SliceError('a key is no string');
  try {
    return String(parseJsonText(bytes.toString()));
  } catch (cause) {
    throw new SliceError('a key is no string', { cause });
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const BRACE_OPEN = 0x7b;
const BRACE_CLOSE = 0x7d;
const BRACKET_OPEN = 0x5b;
const BRACKET_CLOSE = 0x5d;

class Scanner {
  readonly #bytes: Buffer;
  readonly #maxBytes: number;
  #at = 0;

  constructor(bytes: Buffer, maxBytes: number) {
    this.#bytes = bytes;
    this.#maxBytes = maxBytes;
  }

  /** Passes the byte, where it is what comes next. */
  takes(byte: number): boolean {
    while (isSpace(this.#bytes[this.#at])) this.#at++;
    if (this.#bytes[this.#at] !== byte) return false;
    this.#at++;
    return true;
  }

  expect(byte: number): void {
    if (!this.takes(byte)) throw new SliceError(`there is no ${String.fromCharCode(byte)} at ${this.#at}`);
  }

  /** Passes a value and gives its bytes. */
  value(): Buffer {
    while (isSpace(this.#bytes[this.#at])) this.#at++;
    const start = this.#at;
    const end = Math.min(this.#bytes.length, start + this.#maxBytes);
    this.#at = this.#endOfValue(start, end);
    if (this.#at > end || this.#at === start) throw new SliceError(`there is no value of a permitted size at ${start}`);
    return this.#bytes.subarray(start, this.#at);
  }

  #endOfValue(start: number, end: number): number {
    const first = this.#bytes[start];
    if (first === QUOTE) return this.#endOfString(start, end);
    if (first === BRACE_OPEN || first === BRACKET_OPEN) return this.#endOfNested(start, end);
    let index = start;
    while (index < end && !isDelimiter(this.#bytes[index])) index++;
    return index;
  }

  /** One past the end where nothing closes what was opened. */
  #endOfNested(start: number, end: number): number {
    let depth = 0;
    for (let index = start; index < end; index++) {
      const byte = this.#bytes[index];
      if (byte === QUOTE) index = this.#endOfString(index, end) - 1;
      else if (byte === BRACE_OPEN || byte === BRACKET_OPEN) depth++;
      else if ((byte === BRACE_CLOSE || byte === BRACKET_CLOSE) && --depth === 0) return index + 1;
    }
    return end + 1;
  }

  #endOfString(start: number, end: number): number {
    for (let index = start + 1; index < end; index++) {
      const byte = this.#bytes[index];
      if (byte === QUOTE) return index + 1;
      if (byte === BACKSLASH) index++;
    }
    return end + 1;
  }
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function isDelimiter(byte: number | undefined): boolean {
  return byte === COMMA || byte === BRACE_CLOSE || byte === BRACKET_CLOSE || isSpace(byte);
}
