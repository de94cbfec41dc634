/**
 * A large upload and its download pass through a real server process without growing it: 150 MB always, 1 GB with --long.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { request } from 'undici';
import { createRequester } from '../support/accounts-server.ts';
import { textAt } from '../support/json.ts';
import { getMemory } from '../support/processes.ts';
import { startServer } from '../support/server-process.ts';

const MB = 1024 * 1024;
const SIZE = (process.env['HAMMERHEAD_LONG_TESTS'] === undefined ? 150 : 1024) * MB;
/** For buffers under way and the collector's laziness; the content itself is twice that at the least. */
const MAX_GROWTH = 80 * MB;
const SAMPLE_MS = 10;

describe('memory', () => {
  test(`item 38: ${SIZE / MB} MB go in and out with at most ${MAX_GROWTH / MB} MB more`, async () => {
    await using server = await startServer({ config: { media_repo: { max_upload_size: '2GB' } } });
    const body = { username: 'alice', password: 'correct horse battery', auth: { type: 'm.login.dummy' } };
    const registered = await createRequester(server.url)('POST', '/_matrix/client/v3/register', { body });
    const authorization = `Bearer ${textAt(registered.body, 'access_token')}`;
    const upload = async (size: number): Promise<{ uri: string; sha256: string }> => {
      const hash = createHash('sha256');
      const answer = await request(`${server.url}/_matrix/media/v3/upload`, {
        method: 'POST',
        headers: { authorization },
        body: Readable.from(generate(size, (chunk) => hash.update(chunk))),
      });
      const text = await answer.body.text();
      assert.equal(answer.statusCode, 200, text);
      return { uri: textAt(JSON.parse(text), 'content_uri'), sha256: hash.digest('hex') };
    };
    // Code that runs first costs memory once.
    await upload(MB);
    const { pid = 0 } = server;
    const before = getMemory(pid, 'VmRSS');
    let peak = before;
    const sampler = setInterval(() => {
      peak = Math.max(peak, getMemory(pid, 'VmRSS'));
    }, SAMPLE_MS);
    try {
      const { uri, sha256 } = await upload(SIZE);
      const path = uri.replace('mxc://', '/_matrix/client/v1/media/download/');
      const answer = await request(server.url + path, { headers: { authorization } });
      const hash = createHash('sha256');
      for await (const chunk of answer.body) hash.update(chunk);
      assert.equal(hash.digest('hex'), sha256);
    } finally {
      clearInterval(sampler);
    }
    const growth = peak - before;
    console.log(`${SIZE / MB} MB in and out: ${Math.round(growth / MB)} MB more than ${Math.round(before / MB)} MB`);
    assert.ok(growth < MAX_GROWTH, `${Math.round(growth / MB)} MB more`);
  });
});

/** Chunks that differ, so that nothing can be left out. */
function* generate(size: number, onChunk: (chunk: Buffer) => void): Generator<Buffer> {
  for (let sent = 0; sent < size; sent += 64 * 1024) {
    const chunk = Buffer.alloc(Math.min(64 * 1024, size - sent));
    chunk.writeUInt32BE(sent / 1024, 0);
    onChunk(chunk);
    yield chunk;
  }
}
