import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { boundaryOf, MultipartError, readContentPart } from './multipart.ts';

const HEAD = '--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\nX-A:  b \r\n\r\n';

async function* inPieces(text: string, size: number): AsyncGenerator<Buffer> {
  const whole = Buffer.from(text, 'latin1');
  for (let start = 0; start < whole.length; start += size) yield whole.subarray(start, start + size);
}

async function contentOf(text: string, size = 1_000_000): Promise<string> {
  const { chunks } = await readContentPart(inPieces(text, size), 'b');
  const found: Buffer[] = [];
  for await (const chunk of chunks) found.push(chunk);
  return Buffer.concat(found).toString('latin1');
}

describe('multipart', () => {
  test('the content is what lies between its headers and the boundary, however it comes', async () => {
    for (const content of ['', 'hello', 'ends with\r\n', '\r\n--', '\r\n--a\r\n', 'x'.repeat(5_000), '\u00ff\u0000']) {
      for (const size of [1, 2, 7, 1_000_000]) {
        assert.equal(await contentOf(`${HEAD}${content}\r\n--b--\r\n`, size), content);
      }
    }
  });

  test('the headers of the second part count', async () => {
    const { headers } = await readContentPart(inPieces(`${HEAD}x\r\n--b--`, 3), 'b');
    assert.deepEqual(
      [...headers],
      [
        ['content-type', 'text/plain'],
        ['x-a', 'b'],
      ],
    );
  });

  test('what ends early, or begins with too much, is no answer', async () => {
    await assert.rejects(contentOf('--b\r\n\r\n{}'), MultipartError);
    await assert.rejects(contentOf('nothing'), MultipartError);
    await assert.rejects(contentOf(`${HEAD}cut off`), MultipartError);
    await assert.rejects(contentOf(`--b\r\n\r\n${' '.repeat(100_000)}`), MultipartError);
    await assert.rejects(contentOf(`--b\r\n\r\n{}\r\n--b\r\n${'a: b\r\n'.repeat(10_000)}\r\n`), MultipartError);
  });

  test('the boundary is read from the content type', () => {
    assert.equal(boundaryOf('multipart/mixed; boundary=abc'), 'abc');
    assert.equal(boundaryOf('Multipart/Mixed;charset=x; boundary="a b;c"'), undefined);
    assert.equal(boundaryOf('Multipart/Mixed; boundary="a b:c"'), 'a b:c');
    assert.equal(boundaryOf('multipart/form-data; boundary=abc'), undefined);
    assert.equal(boundaryOf(`multipart/mixed; boundary=${'x'.repeat(71)}`), undefined);
    assert.equal(boundaryOf(undefined), undefined);
  });
});
