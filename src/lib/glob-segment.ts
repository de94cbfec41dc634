/**
 * The pieces of a glob between its stars, and how each finds itself in a text: one pass, whatever the pattern repeats.
 * Short literals use the engine's own search, long ones Knuth-Morris-Pratt, and pieces with `?` a bit-parallel search
 * (shift-and) that handles 32 characters of the piece at a time.
 */
export interface Segment<Text> {
  readonly length: number;
  matchesAt(text: Text, start: number): boolean;
  /** The first start at or after `from` that `accept` agrees with, or -1. */
  find(text: Text, from: number, accept: (start: number) => boolean): number;
}

/** Up to here the engine's search is fastest, and its worst case still a small constant per character. */
const LONGEST_NATIVE_SEARCH = 32;
const QUESTION_MARK = 0x3f;
const WORD_BITS = 32;

/** A piece without `?`, over the units of a string. */
export function literalSegment(piece: string): Segment<string> {
  const matchesAt = (text: string, start: number): boolean => text.startsWith(piece, start);
  if (piece.length > LONGEST_NATIVE_SEARCH) return { length: piece.length, matchesAt, find: knuthMorrisPratt(piece) };
  return {
    length: piece.length,
    matchesAt,
    find(text, from, accept) {
      let start = text.indexOf(piece, from);
      while (start !== -1 && !accept(start)) start = text.indexOf(piece, start + 1);
      return start;
    },
  };
}

/** A piece in which `?` stands for any one character, over code points. */
export function wildcardSegment(piece: readonly number[]): Segment<readonly number[]> {
  return {
    length: piece.length,
    matchesAt: (text, start) =>
      start + piece.length <= text.length &&
      piece.every((code, index) => code === QUESTION_MARK || code === text[start + index]),
    find: shiftAnd(piece),
  };
}

function knuthMorrisPratt(piece: string): Segment<string>['find'] {
  const borders = bordersOf(piece);
  return (text, from, accept) => {
    let matched = 0;
    for (let index = from; index < text.length; index++) {
      const code = text.charCodeAt(index);
      while (matched > 0 && piece.charCodeAt(matched) !== code) matched = borders[matched - 1] ?? 0;
      if (piece.charCodeAt(matched) === code) matched++;
      if (matched < piece.length) continue;
      const start = index + 1 - piece.length;
      if (accept(start)) return start;
      matched = borders[matched - 1] ?? 0;
    }
    return -1;
  };
}

/** For each prefix of `piece`, the length of the longest proper prefix of it that is also its suffix. */
function bordersOf(piece: string): Int32Array {
  const borders = new Int32Array(piece.length);
  let border = 0;
  for (let index = 1; index < piece.length; index++) {
    const code = piece.charCodeAt(index);
    while (border > 0 && piece.charCodeAt(border) !== code) border = borders[border - 1] ?? 0;
    if (piece.charCodeAt(border) === code) border++;
    borders[index] = border;
  }
  return borders;
}

function shiftAnd(piece: readonly number[]): Segment<readonly number[]>['find'] {
  if (piece.length === 0) return (text, from, accept) => (from <= text.length && accept(from) ? from : -1);
  const masks = masksOf(piece);
  const words = masks.other.length;
  const lastWord = words - 1;
  const lastBit = 1 << ((piece.length - 1) % WORD_BITS);
  return (text, from, accept) => {
    // Bit i of `state` says that the characters read last match the first i + 1 of the piece.
    const state = new Uint32Array(words);
    for (let index = from; index < text.length; index++) {
      const mask = masks.byCode.get(text[index] ?? 0) ?? masks.other;
      let carry = 1;
      for (let word = 0; word < words; word++) {
        const bits = state[word] ?? 0;
        state[word] = ((bits << 1) | carry) & (mask[word] ?? 0);
        carry = bits >>> (WORD_BITS - 1);
      }
      const start = index + 1 - piece.length;
      if (((state[lastWord] ?? 0) & lastBit) !== 0 && accept(start)) return start;
    }
    return -1;
  };
}

interface Masks {
  /** For a character of the piece: the positions that it fits. */
  readonly byCode: ReadonlyMap<number, Uint32Array>;
  /** For every other character: the positions of `?`. */
  readonly other: Uint32Array;
}

function masksOf(piece: readonly number[]): Masks {
  const other = new Uint32Array(Math.ceil(piece.length / WORD_BITS));
  for (const [index, code] of piece.entries()) if (code === QUESTION_MARK) setBit(other, index);
  const byCode = new Map<number, Uint32Array>();
  for (const [index, code] of piece.entries()) {
    if (code === QUESTION_MARK) continue;
    const mask = byCode.get(code) ?? other.slice();
    setBit(mask, index);
    byCode.set(code, mask);
  }
  return { byCode, other };
}

function setBit(mask: Uint32Array, index: number): void {
  const word = Math.floor(index / WORD_BITS);
  mask[word] = (mask[word] ?? 0) | (1 << (index % WORD_BITS));
}
