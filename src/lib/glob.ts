/**
 * Matrix globs: `*` stands for any run of characters, `?` for exactly one, everything else for itself. A glob is cut at
 * its stars into segments that are found one after another, leftmost first and without backtracking, so the cost is
 * that of one pass over the text whoever wrote the pattern. No RegExp is ever built from a pattern: those backtrack.
 *
 * https://spec.matrix.org/v1.19/appendices/#glob-style-matching
 */
import { literalSegment, type Segment, wildcardSegment } from './glob-segment.ts';

export interface GlobOptions {
  readonly caseInsensitive?: boolean;
  /** Match any substring that starts and ends at a word boundary, as push rules do with `content.body`. */
  readonly wholeWord?: boolean;
  /** `*` is the only wildcard and `?` stands for itself, as in filters. */
  readonly starOnly?: boolean;
}

export type GlobMatcher = (text: string) => boolean;

/** Compiles `pattern` once, into a predicate over texts. */
export function compileGlob(pattern: string, options: GlobOptions = {}): GlobMatcher {
  if (!options.caseInsensitive) return compileFolded(pattern, options);
  const match = compileFolded(foldCase(pattern), options);
  return (text) => match(foldCase(text));
}

/** What "case-insensitive" means here; a caller that folds its texts once can match them against a folded pattern. */
export function foldCase(text: string): string {
  return text.toLowerCase();
}

/** Whether `text` has `word`, taken literally, between two word boundaries. */
export function containsWord(text: string, word: string): boolean {
  const segments = [literalSegment(word)];
  return matchSegments({ segments, text, at: (string, index) => string.charCodeAt(index), wholeWord: true });
}

function compileFolded(pattern: string, { wholeWord = false, starOnly = false }: GlobOptions): GlobMatcher {
  const hasAny = !starOnly && pattern.includes('?');
  if (/^\*+$/.test(pattern)) return () => true;
  if (pattern === '' || (!wholeWord && !hasAny && !pattern.includes('*'))) return (text) => text === pattern;
  const parts = pattern.split(/\*+/);
  if (!hasAny) {
    const segments = parts.map(literalSegment);
    const at = (text: string, index: number) => text.charCodeAt(index);
    return (text) => matchSegments({ segments, text, at, wholeWord });
  }
  // `?` stands for one character, which may be two units of UTF-16: these patterns run over code points.
  const segments = parts.map((part) => wildcardSegment(codePoints(part)));
  const at = (text: readonly number[], index: number) => text[index] ?? 0;
  return (text) => matchSegments({ segments, text: codePoints(text), at, wholeWord });
}

interface Match<Text extends { readonly length: number }> {
  readonly segments: readonly Segment<Text>[];
  readonly text: Text;
  readonly at: (text: Text, index: number) => number;
  readonly wholeWord: boolean;
}

function matchSegments<Text extends { readonly length: number }>(match: Match<Text>): boolean {
  const last = match.segments.length - 1;
  let position = 0;
  for (const [index, segment] of match.segments.entries()) {
    const place = { isFirst: index === 0, isLast: index === last, position };
    const start = match.wholeWord ? findAtWords(match, segment, place) : findAtEnds(match, segment, place);
    if (start === -1) return false;
    position = start + segment.length;
  }
  return true;
}

interface Place {
  readonly isFirst: boolean;
  readonly isLast: boolean;
  /** Where the segment before ended. */
  readonly position: number;
}

/** The first segment must begin the text and the last one end it. */
function findAtEnds<Text extends { readonly length: number }>(
  { text }: Match<Text>,
  segment: Segment<Text>,
  { isFirst, isLast, position }: Place,
): number {
  if (!isFirst && !isLast) return segment.find(text, position, () => true);
  const start = isLast ? text.length - segment.length : 0;
  if (start < position || (isFirst && start !== 0)) return -1;
  return segment.matchesAt(text, start) ? start : -1;
}

/** The first segment must begin at a word boundary and the last one end at one. */
function findAtWords<Text extends { readonly length: number }>(
  { text, at }: Match<Text>,
  segment: Segment<Text>,
  { isFirst, isLast, position }: Place,
): number {
  // A star at either end of the pattern reaches to that end of the text, which is a boundary.
  if (segment.length === 0) return position;
  const isBoundary = (index: number): boolean =>
    index === 0 || index === text.length || !isWordCharacter(at(text, index - 1)) || !isWordCharacter(at(text, index));
  return segment.find(
    text,
    position,
    (start) => (!isFirst || isBoundary(start)) && (!isLast || isBoundary(start + segment.length)),
  );
}

/** [A-Za-z0-9_] */
function isWordCharacter(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || (code >= 0x30 && code <= 0x39) || code === 0x5f
  );
}

function codePoints(text: string): readonly number[] {
  return Array.from(text, (character) => character.codePointAt(0) ?? 0);
}
