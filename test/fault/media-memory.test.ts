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
import { installS3Server, startS3Server } from '../support/s3-server.ts';
import { startServer } from '../support/server-process.ts';

const MB = 1024 * 1024;
const SIZE = (process.env['HAMMERHEAD_LONG_TESTS'] === undefined ? 150 : 1024) * MB;
/** For buffers under way, and what waits for the collector; the content itself is twice that at the least. */
const MAX_UPLOAD_GROWTH = 80 * MB;
/** V8 collects buffers when there are 64 MB of them: a fast download leaves that much, on top of an upload's. */
const MAX_GROWTH = 128 * MB;
const SAMPLE_MS = 10;

const installed = await installS3Server();

describe('memory', () => {
  test(`item 38: ${SIZE / MB} MB go in with at most ${MAX_UPLOAD_GROWTH / MB} MB more, and out again`, () =>
    weigh({ type: 'file' }));

  test('the same through an S3-compatible store', {
    skip: 'reason' in installed ? installed.reason : false,
  }, async () => {
    await using s3 = await startS3Server('path' in installed ? installed.path : '');
    const { endpoint, bucket, credentials } = s3.settings;
    const key = { access_key: credentials?.accessKeyId, secret_key: credentials?.secretAccessKey };
    await weigh({ type: 's3', s3: { endpoint, bucket, ...key } });
  });
});

async function weigh(storage: Readonly<Record<string, unknown>>): Promise<void> {
  await using server = await startServer({ config: { media_repo: { max_upload_size: '2GB', storage } } });
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
  const growth = (): number => peak - before;
  let uploadGrowth = 0;
  const sampler = setInterval(() => {
    peak = Math.max(peak, getMemory(pid, 'VmRSS'));
  }, SAMPLE_MS);
  try {
    const { uri, sha256 } = await upload(SIZE);
    uploadGrowth = growth();
    const path = uri.replace('mxc://', '/_matrix/client/v1/media/download/');
    const answer = await request(server.url + path, { headers: { authorization } });
    const hash = createHash('sha256');
    for await (const chunk of answer.body) hash.update(chunk);
    assert.equal(hash.digest('hex'), sha256);
  } finally {
    clearInterval(sampler);
  }
  const figures = `${storage['type']}: ${toMb(uploadGrowth)} MB more for the upload, ${toMb(growth())} MB with the download`;
  console.log(`${toMb(SIZE)} MB, ${figures}, on top of ${toMb(before)} MB`);
  assert.ok(uploadGrowth < MAX_UPLOAD_GROWTH, figures);
  assert.ok(growth() < MAX_GROWTH, figures);
}

const toMb = (bytes: number): number => Math.round(bytes / MB);

/** Chunks that differ, so that nothing can be left out. */
function* generate(size: number, onChunk: (chunk: Buffer) => void): Generator<Buffer> {
  for (let sent = 0; sent < size; sent += 64 * 1024) {
    const chunk = Buffer.alloc(Math.min(64 * 1024, size - sent));
    chunk.writeUInt32BE(sent / 1024, 0);
    onChunk(chunk);
    yield chunk;
  }
}
