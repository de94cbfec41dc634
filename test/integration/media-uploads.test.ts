/**
 * Uploads, downloads and their headers, over HTTP.
 */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { rm, truncate } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { at, textAt } from '../support/json.ts';
import { type MediaAnswer, SERVER, startMediaServer } from '../support/media-server.ts';

const CREATE = '/_matrix/media/v1/create';
const fillPath = (mediaId: string): string => `/_matrix/media/v3/upload/${SERVER}/${mediaId}`;
const oldPath = (mediaId: string): string => `/_matrix/media/v3/download/${SERVER}/${mediaId}`;
const codeOf = (answer: MediaAnswer): unknown => at(answer.json, 'errcode');
const mediaIdOf = (answer: MediaAnswer): string => textAt(answer.json, 'content_uri').replace(`mxc://${SERVER}/`, '');

describe('uploads and downloads', () => {
  test('what was uploaded comes back with its type and name, and equal files are stored once', async () => {
    await using server = await startMediaServer();
    const options = { fileName: 'a;b "c" ☕.txt', headers: { 'content-type': 'Text/Plain; charset=utf-8' } };
    const first = await server.upload('hello', options);
    assert.match(first, /^[A-Za-z0-9]{24}$/);
    const second = await server.upload('hello');
    assert.notEqual(first, second);
    assert.deepEqual(server.files(), [hash('sha256', 'hello')]);
    assert.deepEqual(server.staged(), []);
    const answer = await server.download(first);
    assert.equal(answer.status, 200);
    assert.equal(answer.bytes.toString(), 'hello');
    assert.equal(answer.headers.get('content-type'), 'Text/Plain; charset=utf-8');
    assert.equal(answer.headers.get('content-length'), '5');
    assert.equal(
      answer.headers.get('content-disposition'),
      `inline; filename="a;b \\"c\\" _.txt"; filename*=utf-8''a%3Bb%20%22c%22%20%E2%98%95.txt`,
    );
    const plain = await server.download(second);
    assert.equal(plain.headers.get('content-type'), 'text/plain;charset=UTF-8');
    const named = await server.request('GET', `/_matrix/client/v1/media/download/${SERVER}/${second}/file.png`);
    assert.equal(named.headers.get('content-disposition'), 'inline; filename="file.png"');
  });

  test('a token is needed, and an unknown id is not found', async () => {
    await using server = await startMediaServer();
    const mediaId = await server.upload('x');
    assert.equal(codeOf(await server.download(mediaId, { token: '' })), 'M_MISSING_TOKEN');
    assert.equal(codeOf(await server.download('nosuchid')), 'M_NOT_FOUND');
    const remote = await server.request('GET', '/_matrix/client/v1/media/download/elsewhere.example/abc');
    assert.equal(codeOf(remote), 'M_NOT_FOUND');
    const upload = await server.request('POST', '/_matrix/media/v3/upload', { body: 'x', token: '' });
    assert.equal(upload.status, 401);
  });

  test('the configuration tells the largest upload on all paths', async () => {
    await using server = await startMediaServer();
    for (const path of ['/_matrix/client/v1/media/config', '/_matrix/media/v3/config', '/_matrix/media/r0/config']) {
      assert.deepEqual((await server.request('GET', path)).json, { 'm.upload.size': 1_000_000 });
    }
  });

  test('suspended users upload nothing', async () => {
    await using server = await startMediaServer();
    server.suspended.add('alice');
    const upload = await server.request('POST', '/_matrix/media/v3/upload', { body: 'x' });
    assert.equal(codeOf(upload), 'M_USER_SUSPENDED');
    assert.equal(codeOf(await server.request('POST', CREATE)), 'M_USER_SUSPENDED');
  });

  test('C9: a file name of any length but a sensible one is refused', async () => {
    await using server = await startMediaServer();
    const path = `/_matrix/media/v3/upload?filename=${'x'.repeat(256)}`;
    const answer = await server.request('POST', path, { body: 'x' });
    assert.deepEqual([answer.status, codeOf(answer)], [400, 'M_INVALID_PARAM']);
    await server.upload('x', { fileName: 'x'.repeat(255) });
  });

  test('D1: ids and server names outside of their grammar are refused, whatever they are encoded as', async () => {
    await using server = await startMediaServer();
    const bad = ['..', '%2e%2e', '..%2f..%2fetc%2fpasswd', 'a%00b', 'a.b', 'ä', 'a%20b', '%2fetc%2fpasswd'];
    for (const part of bad) {
      for (const [origin, mediaId] of [
        [SERVER, part],
        [part, 'abc'],
      ]) {
        for (const root of ['/_matrix/client/v1/media', '/_matrix/media/v3']) {
          const answer = await server.request('GET', `${root}/download/${origin}/${mediaId}`);
          assert.ok(answer.status === 400 || answer.status === 404, `${origin} ${mediaId}: ${answer.status}`);
        }
      }
    }
    assert.deepEqual(server.faults, []);
  });
});

describe('limits of uploads', () => {
  test('too large is refused by the announced length, and while it streams, and leaves nothing', async () => {
    await using server = await startMediaServer({ limits: { maxUploadSize: 100_000 } });
    const announced = await server.request('POST', '/_matrix/media/v3/upload', { body: 'x'.repeat(100_001) });
    assert.deepEqual([announced.status, codeOf(announced)], [413, 'M_TOO_LARGE']);
    const chunk = new Uint8Array(50_000);
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1;
        if (sent > 20) controller.close();
        else controller.enqueue(chunk);
      },
    });
    const streamed = await server.request('POST', '/_matrix/media/v3/upload', { body });
    assert.deepEqual([streamed.status, codeOf(streamed)], [413, 'M_TOO_LARGE']);
    assert.deepEqual(server.files(), []);
    assert.deepEqual(server.staged(), []);
    await server.upload('x'.repeat(100_000));
  });

  test('an upload that ends early leaves nothing, and is no fault of the server', async () => {
    await using server = await startMediaServer();
    const headers = { authorization: 'Bearer alice', 'content-length': '500000' };
    const upload = httpRequest(`${server.url}/_matrix/media/v3/upload`, { method: 'POST', headers });
    const failed = once(upload, 'error');
    upload.write(Buffer.alloc(10_000));
    while (server.staged().length === 0) await sleep(5);
    upload.destroy(new Error('gone'));
    await failed;
    while (server.staged().length > 0) await sleep(5);
    assert.deepEqual(server.files(), []);
    assert.deepEqual(server.faults, []);
  });

  test('quotas of files and bytes count per user', async () => {
    await using server = await startMediaServer({ limits: { maxUserFiles: 2, maxUserBytes: 1_000 } });
    await server.upload('x'.repeat(600));
    const tooMuch = await server.request('POST', '/_matrix/media/v3/upload', { body: 'x'.repeat(401) });
    assert.deepEqual([tooMuch.status, codeOf(tooMuch)], [403, 'M_FORBIDDEN']);
    await server.upload('x'.repeat(400));
    const tooMany = await server.request('POST', '/_matrix/media/v3/upload', { body: '' });
    assert.deepEqual([tooMany.status, codeOf(tooMany)], [403, 'M_FORBIDDEN']);
    await server.upload('x'.repeat(600), { token: 'bob' });
    // However many come at once, no more than allowed are stored.
    const racing = Array.from({ length: 6 }, (_, index) =>
      server.request('POST', '/_matrix/media/v3/upload', { body: `${index}`, token: 'carol' }),
    );
    const statuses = (await Promise.all(racing)).map(({ status }) => status).sort();
    assert.deepEqual(statuses, [200, 200, 403, 403, 403, 403]);
  });

  test('item 38: an upload in two steps is for its owner, once, until it expires', async () => {
    await using server = await startMediaServer();
    const created = await server.request('POST', CREATE);
    assert.equal(typeof at(created.json, 'unused_expires_at'), 'number');
    const mediaId = mediaIdOf(created);
    const put = (id: string, token = 'alice') => server.request('PUT', fillPath(id), { body: 'later', token });
    assert.deepEqual(codeOf(await put(mediaId, 'bob')), 'M_FORBIDDEN');
    assert.deepEqual(codeOf(await put('nosuchid')), 'M_NOT_FOUND');
    const early = await server.request('GET', `${oldPath(mediaId).replace('v3', 'v3')}?timeout_ms=0`);
    assert.equal(codeOf(early), 'M_NOT_FOUND', 'unauthenticated clients learn nothing of new media');
    const pending = await server.request('GET', `/_matrix/client/v1/media/download/${SERVER}/${mediaId}?timeout_ms=10`);
    assert.deepEqual([pending.status, codeOf(pending)], [504, 'M_NOT_YET_UPLOADED']);

    const waiting = server.download(mediaId);
    await sleep(50);
    assert.deepEqual((await put(mediaId)).json, {});
    assert.equal((await waiting).bytes.toString(), 'later');
    const again = await put(mediaId);
    assert.deepEqual([again.status, codeOf(again)], [409, 'M_CANNOT_OVERWRITE_MEDIA']);
    const direct = await put(await server.upload('x'));
    assert.deepEqual([direct.status, codeOf(direct)], [409, 'M_CANNOT_OVERWRITE_MEDIA']);

    const unused = mediaIdOf(await server.request('POST', CREATE));
    server.clock.advance(61_000);
    assert.equal(codeOf(await put(unused)), 'M_NOT_FOUND');
    assert.equal(codeOf(await server.download(unused)), 'M_NOT_FOUND');
    server.clock.advance(3_600_000);
    await server.media.cleaner.clean();
    const rows = await server.db.database.query({ name: 'left', text: 'select media_id from media', values: [] });
    assert.equal(rows.length, 2);
  });

  test('one user has a few ids without content at a time', async () => {
    await using server = await startMediaServer();
    const answers = await Promise.all(Array.from({ length: 5 }, () => server.request('POST', CREATE)));
    const refused = answers.filter(({ status }) => status !== 200);
    assert.deepEqual(
      refused.map((answer) => [answer.status, codeOf(answer)]),
      [
        [429, 'M_LIMIT_EXCEEDED'],
        [429, 'M_LIMIT_EXCEEDED'],
      ],
    );
    const [first] = answers.filter(({ status }) => status === 200);
    assert.ok(first !== undefined);
    await server.request('PUT', fillPath(mediaIdOf(first)), { body: 'x' });
    assert.equal((await server.request('POST', CREATE)).status, 200);
  });
});

describe('headers of downloads', () => {
  test('item 38: everything is sandboxed, and inline only where the list has it', async () => {
    await using server = await startMediaServer();
    for (const [type, disposition] of [
      ['image/png', 'inline'],
      ['audio/x-pn-wav', 'inline'],
      ['image/svg+xml', 'attachment'],
      ['text/html', 'attachment'],
      ['application/pdf', 'attachment'],
    ] as const) {
      const { headers } = await server.download(await server.upload('x', { headers: { 'content-type': type } }));
      assert.equal(headers.get('content-disposition'), disposition, type);
      assert.equal(headers.get('content-type'), type);
      assert.match(headers.get('content-security-policy') ?? '', /^sandbox; default-src 'none'; script-src 'none';/);
      assert.equal(headers.get('cross-origin-resource-policy'), 'cross-origin');
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
    }
  });

  test('D9: a type is judged by its essence, however it is written', async () => {
    await using server = await startMediaServer();
    for (const [type, shown, disposition] of [
      ['Text/HTML', 'Text/HTML', 'attachment'],
      ['IMAGE/PNG;x=y', 'IMAGE/PNG;x=y', 'inline'],
      ['text/html;text/plain', 'text/html;text/plain', 'attachment'],
      ['img/png', 'img/png', 'attachment'],
    ] as const) {
      const { headers } = await server.download(await server.upload('x', { headers: { 'content-type': type } }));
      assert.deepEqual([headers.get('content-type'), headers.get('content-disposition')], [shown, disposition], type);
    }
    const { headers } = await server.download(await server.upload(new Uint8Array([1])));
    assert.equal(headers.get('content-type'), 'application/octet-stream');
    assert.equal(headers.get('content-disposition'), 'attachment');
  });

  test('item 38: one range, an ETag and conditions work as HTTP has them', async () => {
    await using server = await startMediaServer();
    const mediaId = await server.upload('0123456789');
    const get = (headers: Record<string, string>) => server.download(mediaId, { headers });
    const whole = await get({});
    const etag = whole.headers.get('etag') ?? '';
    assert.equal(etag, `"${hash('sha256', '0123456789')}"`);
    for (const [range, status, bytes, contentRange] of [
      ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
      ['bytes=7-', 206, '789', 'bytes 7-9/10'],
      ['bytes=-3', 206, '789', 'bytes 7-9/10'],
      ['bytes=0-99', 206, '0123456789', 'bytes 0-9/10'],
      ['bytes=1-2,4-5', 200, '0123456789', null],
      ['lines=1-2', 200, '0123456789', null],
      ['bytes=5-2', 200, '0123456789', null],
    ] as const) {
      const answer = await get({ range });
      assert.deepEqual(
        [answer.status, answer.bytes.toString(), answer.headers.get('content-range')],
        [status, bytes, contentRange],
        range,
      );
    }
    const outside = await get({ range: 'bytes=10-' });
    assert.deepEqual([outside.status, outside.headers.get('content-range')], [416, 'bytes */10']);
    assert.equal((await get({ range: 'bytes=2-4', 'if-range': '"other"' })).status, 200);
    assert.equal((await get({ range: 'bytes=2-4', 'if-range': etag })).status, 206);
    const unchanged = await get({ 'if-none-match': `"x", W/${etag}` });
    assert.deepEqual([unchanged.status, unchanged.bytes.length, unchanged.headers.get('etag')], [304, 0, etag]);
    assert.equal((await get({ 'if-none-match': '"x"' })).status, 200);
    const head = await server.request('HEAD', `/_matrix/client/v1/media/download/${SERVER}/${mediaId}`);
    assert.deepEqual([head.status, head.headers.get('content-length'), head.bytes.length], [200, '10', 0]);
    const empty = await server.upload('');
    assert.equal((await server.download(empty, { headers: { range: 'bytes=0-' } })).status, 416);
    assert.equal((await server.download(empty)).status, 200);
  });
});

describe('content that may be hostile, or broken', () => {
  test('D10: a page with scripts is a download that no browser runs here', async () => {
    await using server = await startMediaServer();
    const script = '<script>alert(document.domain)</script>';
    const given = { fileName: `${script}.html`, headers: { 'content-type': 'text/html' } };
    const { headers } = await server.download(await server.upload(script, given));
    assert.match(headers.get('content-disposition') ?? '', /^attachment; /);
    assert.match(headers.get('content-security-policy') ?? '', /^sandbox; default-src 'none'; script-src 'none'/);
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    const wrong = await server.request('GET', `/_matrix/client/v1/media/download/${SERVER}/${script}`);
    assert.deepEqual([wrong.status, wrong.headers.get('content-type')], [400, 'application/json']);
  });

  test('L15: a file that is missing or cut short is one fault, and the others are served', async () => {
    await using server = await startMediaServer();
    const ids = [await server.upload('missing'), await server.upload('cut short'), await server.upload('whole')];
    const pathOf = (content: string): string => {
      const sha256 = hash('sha256', content);
      return join(server.rootPath, sha256.slice(0, 2), sha256.slice(2, 4), sha256);
    };
    await rm(pathOf('missing'));
    await truncate(pathOf('cut short'), 3);
    const answers = await Promise.all(ids.map((id) => server.download(id)));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [404, 500, 200],
    );
    assert.equal(server.faults.length, 2);
  });
});

describe('old paths without authentication', () => {
  test('D2: after the switch new media is for authenticated clients only', async () => {
    let access: 'allowed' | 'frozen' | 'denied' = 'frozen';
    await using server = await startMediaServer({ media: { unauthenticatedAccess: () => access } });
    const mediaId = await server.upload('new');
    const get = async (): Promise<number> => (await server.request('GET', oldPath(mediaId), { token: '' })).status;
    assert.equal(await get(), 404);
    access = 'allowed';
    assert.equal(await get(), 200);
    for (const version of ['r0', 'v1']) {
      assert.equal((await server.request('GET', oldPath(mediaId).replace('v3', version), { token: '' })).status, 200);
    }
    access = 'frozen';
    await server.db.database.query({
      name: 'age',
      text: 'update media set stored_at = stored_at - 86400000',
      values: [],
    });
    assert.equal(await get(), 200);
    access = 'denied';
    assert.equal(await get(), 404);
  });

  test('D2: nobody makes us fetch and keep media of others without a token, or with allow_remote=false', async () => {
    const asked: string[] = [];
    await using server = await startMediaServer({
      media: {
        fetchRemoteFile: async ({ origin, mediaId }) => {
          asked.push(`${origin}/${mediaId}`);
          await sleep(20);
          return { contentType: 'image/png', fileName: 'r.png', chunks: chunksOf('remote') };
        },
      },
    });
    const path = '/_matrix/client/v1/media/download/other.example/abc';
    assert.equal((await server.request('GET', '/_matrix/media/v3/download/other.example/abc')).status, 404);
    assert.equal((await server.request('GET', `${path}?allow_remote=false`)).status, 404);
    assert.deepEqual(asked, []);
    const answers = await Promise.all([server.request('GET', path), server.request('GET', path)]);
    for (const { bytes, headers } of answers) {
      assert.equal(bytes.toString(), 'remote');
      assert.equal(headers.get('content-disposition'), 'inline; filename="r.png"');
    }
    assert.equal((await server.request('GET', path)).status, 200);
    assert.deepEqual(asked, ['other.example/abc']);
  });

  test('D12: media of others that is larger than allowed is 502, whatever its server said before', async () => {
    const fetchRemoteFile = async () => ({
      contentType: undefined,
      fileName: undefined,
      chunks: chunksOf('x'.repeat(99)),
    });
    await using server = await startMediaServer({ limits: { maxUploadSize: 50 }, media: { fetchRemoteFile } });
    const answer = await server.request('GET', '/_matrix/client/v1/media/download/other.example/abc');
    assert.deepEqual([answer.status, codeOf(answer)], [502, 'M_TOO_LARGE']);
    assert.deepEqual([server.files(), server.staged()], [[], []]);
  });
});

async function* chunksOf(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}
