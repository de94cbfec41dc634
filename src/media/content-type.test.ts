import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseRange } from './byte-range.ts';
import { formatDisposition } from './content-disposition.ts';
import { cleanContentType, isInlineType } from './content-type.ts';

describe('content types', () => {
  test('D9: malformed ones are stored as unknown', () => {
    for (const claimed of [
      undefined,
      '',
      'nonsense',
      'a/b, c/d',
      'text/html\r\nx: y',
      'text/ä',
      'a/b;\0',
      `a/${'b'.repeat(255)}`,
    ]) {
      assert.equal(cleanContentType(claimed), 'application/octet-stream');
    }
    assert.equal(cleanContentType(' image/png '), 'image/png');
    assert.equal(cleanContentType('Text/Plain; charset="utf-8"'), 'Text/Plain; charset="utf-8"');
  });

  test('D9: only the essence decides what is shown inline', () => {
    assert.ok(isInlineType(' Image/PNG ; a=b'));
    for (const type of ['text/html', 'image/svg+xml', 'image/png+xml', 'xtext/plain', 'text/html;image/png']) {
      assert.ok(!isInlineType(type), type);
    }
  });
});

test('item 38: no file name breaks out of Content-Disposition, and each comes back from it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (fileName) => {
      const header = formatDisposition('text/html', fileName);
      assert.match(
        header,
        /^attachment(; filename="(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"(; filename\*=utf-8''[\w.~!#$&+^`|%-]*)?)?$/,
      );
      const extended = /filename\*=utf-8''(.*)$/.exec(header)?.[1];
      const quoted = /filename="((?:[^"\\]|\\.)*)"/.exec(header)?.[1]?.replaceAll(/\\(.)/g, '$1');
      const shown = extended === undefined ? (quoted ?? '') : decodeURIComponent(extended);
      assert.equal(shown, fileName.toWellFormed());
    }),
  );
});

test('item 38: a range lies within the content, whatever was asked for', () => {
  fc.assert(
    fc.property(fc.string(), fc.nat(100), (tail, size) => {
      const range = parseRange(`bytes=${tail}`, size);
      if (typeof range === 'object') assert.ok(0 <= range.start && range.start <= range.end && range.end < size);
    }),
  );
  fc.assert(
    fc.property(fc.nat(20), fc.nat(20), fc.nat(20), (start, end, size) => {
      const range = parseRange(`bytes=${start}-${end}`, size);
      if (end < start) assert.equal(range, undefined);
      else if (start >= size) assert.equal(range, 'unsatisfiable');
      else assert.deepEqual(range, { start, end: Math.min(end, size - 1) });
    }),
  );
});
