import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { compileGlob, containsWord, type GlobOptions } from './glob.ts';

/** [pattern, text, matches] */
type Row = readonly [string, string, boolean];

function check(rows: readonly Row[], options?: GlobOptions): void {
  for (const [pattern, text, matches] of rows) {
    assert.equal(compileGlob(pattern, options)(text), matches, `${JSON.stringify(pattern)} on ${JSON.stringify(text)}`);
  }
}

/** The textbook definition, by a table of prefixes: slow and plainly right. */
function reference(pattern: string, text: string): boolean {
  const characters = Array.from(text);
  let row = [true, ...characters.map(() => false)];
  for (const symbol of Array.from(pattern)) {
    const next = [symbol === '*' && row[0] === true];
    for (const [index, character] of characters.entries()) {
      next.push(
        symbol === '*'
          ? next[index] === true || row[index + 1] === true
          : row[index] === true && (symbol === '?' || symbol === character),
      );
    }
    row = next;
  }
  return row.at(-1) === true;
}

const fewCharacters = (alphabet: string[], maxLength: number) =>
  fc.array(fc.constantFrom(...alphabet), { maxLength }).map((parts) => parts.join(''));

describe('compileGlob', () => {
  test('matches whole texts', () => {
    check([
      ['', '', true],
      ['', 'a', false],
      ['*', '', true],
      ['*', 'anything\n', true],
      ['?', '', false],
      ['?', 'a', true],
      ['?', 'ab', false],
      ['m.room.*', 'm.room.message', true],
      ['m.room.*', 'm.roommessage', false],
      ['*.example', 'evil.example', true],
      ['*.example', 'example', false],
      ['a*a', 'a', false],
      ['a*a', 'aa', true],
      ['lunc?*', 'lunch plans', true],
      ['lunc?*', 'lunc', false],
      ['a**b', 'ab', true],
      ['[a-z]', 'b', false],
      ['a.c', 'abc', false],
      ['A', 'a', false],
    ]);
  });

  test('takes a character beyond the BMP for one', () => {
    check([
      ['?', '😀', true],
      ['??', '😀', false],
      ['*?b', '😀b', true],
      ['😀*', '😀x', true],
    ]);
  });

  test('ignores case where asked to', () => {
    check(
      [
        ['lunc?*', 'LUNCH', true],
        ['ÄPFEL', 'äpfel', true],
        ['a', 'b', false],
      ],
      { caseInsensitive: true },
    );
  });

  test('takes a question mark literally where a star is the only wildcard', () => {
    check(
      [
        ['a?', 'a?', true],
        ['a?', 'ab', false],
        ['?*', '?b', true],
        ['?*', 'ab', false],
      ],
      { starOnly: true },
    );
  });

  test('finds words', () => {
    check(
      [
        ['cake', 'cake', true],
        ['cake', 'a cake, please', true],
        ['cake', 'cakes', false],
        ['cake', 'pancake', false],
        ['cake', 'pancake cake', true],
        ['cake', 'cake_tin', false],
        ['cake', 'é-cake', true],
        ['ex*ple', 'An example event.', true],
        ['ex*ple', 'exple', true],
        ['ex*ple', 'An exciting triple-whammy', true],
        ['ex*ple', 'an exciting triples', false],
        ['cak?', 'some cakes', false],
        ['cak?', 'some cake', true],
        ['*cake', 'pancake', true],
        ['*cake', 'pancakes', false],
        ['cake*', 'cakes', true],
        ['@room', 'mail@room', true],
        ['', 'something', false],
        ['*', '', true],
        ['a a', 'a a a', true],
      ],
      { wholeWord: true },
    );
  });

  test('goes on to a later place where the first one is inside a word', () => {
    const long = 'word'.repeat(20);
    for (const pattern of [long, `${long}?`, 'word']) {
      const word = pattern.replace('?', '!');
      assert.equal(compileGlob(pattern, { wholeWord: true })(`x${word}x ${word}x ${word}`), true);
      assert.equal(compileGlob(pattern, { wholeWord: true })(`x${word}`), false);
    }
  });

  test('agrees with the definition', () => {
    fc.assert(
      fc.property(fewCharacters(['a', 'b', '*', '?'], 10), fewCharacters(['a', 'b', '😀'], 12), (pattern, text) => {
        assert.equal(compileGlob(pattern)(text), reference(pattern, text));
      }),
      { numRuns: 2000 },
    );
  });

  test('agrees with the definition for long pieces', () => {
    const piece = fewCharacters(['a', 'b'], 60).map((text) => `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa${text}`);
    fc.assert(
      fc.property(piece, fc.boolean(), fewCharacters(['a', 'b'], 40), (long, hasAny, around) => {
        const pattern = `*${hasAny ? long.replace('ab', '??') : long}*`;
        const text = `${around}${long}${around}`;
        assert.equal(compileGlob(pattern)(text), reference(pattern, text));
        assert.equal(compileGlob(pattern)(text.slice(1)), reference(pattern, text.slice(1)));
        assert.equal(compileGlob(pattern)(around), reference(pattern, around));
      }),
      { numRuns: 500 },
    );
  });

  // Each of these takes a backtracking matcher years; here a failure would be a test that does not end.
  test('is not slowed down by hostile patterns', () => {
    const text = 'a'.repeat(60_000);
    const half = 'a'.repeat(30_000);
    check([
      [`${'*a'.repeat(20)}*b`, text, false],
      [`${'*a'.repeat(20_000)}*b`, text, false],
      [`${'*?'.repeat(20_000)}*b`, text, false],
      [`${'*?*'.repeat(10_000)}`, text, true],
      [`*b${half}*`, text, false],
      [`*${half}b*`, text, false],
      [`*?${half}b*`, text, false],
    ]);
    check([[`${half}b`, text, false]], { wholeWord: true });
    check([['a', `${'aa '.repeat(20_000)}a`, true]], { wholeWord: true });
  });
});

describe('containsWord', () => {
  test('takes wildcards literally', () => {
    assert.equal(containsWord('say a*b now', 'a*b'), true);
    assert.equal(containsWord('say axb now', 'a*b'), false);
    assert.equal(containsWord('annabel', 'anna'), false);
    assert.equal(containsWord('hi anna!', 'anna'), true);
  });
});
