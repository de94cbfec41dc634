/**
 * Media endpoints under random headers, names, parameters, pages and broken pictures: whatever comes, the answer is none
 * of 5xx but those that the spec has for media, and nothing is logged as a fault.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { createNetworkPolicy } from '../../src/lib/network-policy.ts';
import { type MediaServer, SERVER, startMediaServer } from '../support/media-server.ts';
import { type PageServer, startPageServer } from '../support/page-server.ts';

const RUNS = process.env['HAMMERHEAD_LONG_TESTS'] === undefined ? 60 : 2_000;
const HTML = 'text/html';

/** Every byte that a header's value may hold. */
const headerValue = (maxLength = 80) =>
  fc
    .array(fc.oneof(fc.integer({ min: 0x20, max: 0x7e }), fc.integer({ min: 0x80, max: 0xff }), fc.constant(9)), {
      maxLength,
    })
    .map((codes) => String.fromCharCode(...codes).trim());
const anyText = fc.string({ unit: 'binary', maxLength: 300 });
/** Mostly what is allowed, so that not every request fails at its first parameter. */
const mostly = (good: readonly string[], ...others: fc.Arbitrary<string>[]) =>
  fc.oneof({ arbitrary: fc.constantFrom(...good), weight: 12 }, ...others, anyText);
const number = mostly(
  ['1', '32', '96', '240', '320', '800', '5000'],
  fc.integer().map(String),
  fc.double().map(String),
  fc.constantFrom('', '0', '-0', '99999999999999999999', '1e3', '0x10', ' 5', '5 ', 'NaN'),
);
const flag = mostly(['true', 'false'], fc.constantFrom('', '1', 'TRUE'));

describe('fuzz', () => {
  let server: MediaServer;
  let pages: PageServer;
  let page: { type: string; body: string | Uint8Array } = { type: HTML, body: '' };
  before(async () => {
    pages = await startPageServer(() => new Proxy({}, { get: () => page }));
    server = await startMediaServer({
      previews: { allowedNetworks: ['127.0.0.1/32'] },
      limits: { maxUserFiles: 0, maxUploadSize: 5_000_000 },
      media: { images: { maxPixels: 4_000_000, maxFrames: 20 } },
    });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await pages[Symbol.asyncDispose]();
  });

  const send = async (
    method: string,
    path: string,
    given: { headers?: Record<string, string>; body?: Buffer } = {},
  ) => {
    const headers = { authorization: 'Bearer alice', ...given.headers };
    const request = httpRequest(server.url + path, { method, headers });
    request.end(given.body);
    const [response]: IncomingMessage[] = await once(request, 'response');
    assert.ok(response !== undefined);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(Buffer.from(chunk));
    const status = response.statusCode ?? 0;
    assert.deepEqual(server.faults, [], `${method} ${path}`);
    return { status, headers: response.headers, bytes: Buffer.concat(chunks) };
  };
  const upload = async (content: Uint8Array): Promise<string> => server.upload(new Uint8Array(content));

  test('item 38: types and names of uploads come back harmless', async () => {
    const property = fc.asyncProperty(headerValue(300), anyText, async (contentType, fileName) => {
      const path = `/_matrix/media/v3/upload?filename=${encodeURIComponent(fileName)}`;
      const body = Buffer.from('content');
      const answer = await send('POST', path, { headers: { 'content-type': contentType }, body });
      if (answer.status === 400) return;
      assert.equal(answer.status, 200);
      const uri = String(JSON.parse(answer.bytes.toString()).content_uri);
      const found = await send('GET', uri.replace('mxc://', '/_matrix/client/v1/media/download/'));
      assert.deepEqual([found.status, found.bytes], [200, body]);
      assert.match(found.headers['content-type'] ?? '', /^[\x21-\x7e]+\/[\x20-\x7e\t]*$/);
      assert.match(
        found.headers['content-disposition'] ?? '',
        /^(?:inline|attachment)(?:; filename="[\x20-\x7e]*".*)?$/,
      );
      assert.match(String(found.headers['content-security-policy']), /^sandbox;/);
    });
    await fc.assert(property, { numRuns: RUNS });
  });

  test('parameters and headers of downloads and thumbnails', async () => {
    const picture = await sharp({ create: { width: 99, height: 50, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    const mediaId = await upload(picture);
    const query = fc.record(
      {
        width: number,
        height: number,
        method: mostly(['crop', 'scale']),
        animated: flag,
        allow_remote: flag,
        allow_redirect: flag,
        timeout_ms: number,
      },
      { requiredKeys: ['width', 'height'] },
    );
    const headers = fc.record(
      {
        range: fc.oneof(
          headerValue(),
          fc.tuple(number, number).map(([a, b]) => `bytes=${clean(a)}-${clean(b)}`),
        ),
        'if-none-match': headerValue(),
        'if-range': headerValue(),
      },
      { requiredKeys: [] },
    );
    const kind = fc.constantFrom('download', 'thumbnail');
    const root = fc.constantFrom('/_matrix/client/v1/media', '/_matrix/media/v3', '/_matrix/media/r0');
    const property = fc.asyncProperty(kind, root, query, headers, async (kind, root, query, headers) => {
      const path = `${root}/${kind}/${SERVER}/${mediaId}?${new URLSearchParams(query)}`;
      const { status, bytes } = await send('GET', path, { headers });
      assert.ok([200, 206, 304, 400, 404, 416].includes(status), `${status} ${bytes}`);
    });
    await fc.assert(property, { numRuns: RUNS * 3 });
  });

  test('D1: paths', async () => {
    const part = fc.oneof(anyText, fc.constantFrom('..', '.', '%2e%2e', SERVER, 'abc', 'a/b', '\0', '\\..\\'));
    const method = fc.constantFrom('GET', 'PUT', 'HEAD');
    const kind = fc.constantFrom('download', 'thumbnail', 'upload', 'download/x');
    const property = fc.asyncProperty(method, kind, part, part, async (method, kind, origin, mediaId) => {
      const encoded = [origin, mediaId].map((text) => encodeURIComponent(text.toWellFormed())).join('/');
      for (const root of ['/_matrix/client/v1/media', '/_matrix/media/v3']) {
        const { status } = await send(method, `${root}/${kind}/${encoded}?width=5&height=5&timeout_ms=0`);
        assert.ok(status >= 400 && status < 500, `${method} ${kind}/${encoded}: ${status}`);
      }
    });
    await fc.assert(property, { numRuns: RUNS });
  });

  test('D3: real pictures with bytes changed, cut out, repeated or cut off', async () => {
    const base = sharp({
      create: { width: 120, height: 90, channels: 4, background: { r: 9, g: 99, b: 199, alpha: 0.5 } },
    });
    const frames = await Promise.all([0, 90].map((gray) => drawFrame(gray)));
    const pictures = [
      await base.clone().png().toBuffer(),
      await base.clone().png({ palette: true }).toBuffer(),
      await base.clone().jpeg().toBuffer(),
      await base.clone().jpeg({ progressive: true }).withMetadata({ orientation: 6 }).toBuffer(),
      await base.clone().webp().toBuffer(),
      await sharp(frames, { join: { animated: true } })
        .webp()
        .toBuffer(),
      await sharp(frames, { join: { animated: true } })
        .gif()
        .toBuffer(),
    ];
    const change = fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      // Headers are short, and where the most can go wrong.
      isInHead: fc.boolean(),
      bytes: fc.uint8Array({ maxLength: 8 }),
      cut: fc.nat(20),
    });
    const property = fc.asyncProperty(
      fc.constantFrom(...pictures),
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      fc.constantFrom('crop', 'scale'),
      async (picture, changes, animated, method) => {
        const mediaId = await upload(changes.reduce(applyChange, picture));
        const path = `/_matrix/client/v1/media/thumbnail/${SERVER}/${mediaId}`;
        const { status, bytes } = await send('GET', `${path}?width=32&height=32&method=${method}&animated=${animated}`);
        assert.ok([200, 400, 413].includes(status), `${status}: ${bytes}`);
      },
    );
    await fc.assert(property, { numRuns: RUNS * 3 });
  });

  test('D5: pages of any kind', async () => {
    const word = fc.constantFrom(
      '<title>',
      '</title>',
      '<meta property="og:title" content="',
      '">',
      '<meta name="description" content=',
      '<svg>',
      '<link rel="icon" href="',
      '<link rel=alternate type=application/json+oembed href=/',
      '<img src="',
      '<!--',
      '-->',
      '<![CDATA[',
      '&#0;',
      '&#xD800;',
      '&amp',
      '<script>',
      '</script>',
      '<h1>',
      '</h1>',
      '<p',
      '\0',
      '\ud800',
      'ä',
      '>',
      '<template>',
      '<style>',
      '<textarea>',
      '<plaintext>',
      '<?xml',
      '<meta property="og:image" content="',
      'http://[',
    );
    const body = fc.array(fc.oneof(word, anyText), { maxLength: 30 }).map((words) => words.join(''));
    const type = fc.oneof(
      fc.constantFrom(HTML, 'text/html; charset=utf-16', 'text/html;charset=nonsense', 'image/png', 'application/json'),
      headerValue(),
    );
    let count = 0;
    const property = fc.asyncProperty(body, type, async (body, type) => {
      page = { type, body };
      count += 1;
      const url = encodeURIComponent(`${pages.url}/${count}`);
      const { status, bytes } = await send('GET', `/_matrix/client/v1/media/preview_url?url=${url}`);
      assert.equal(status, 200, bytes.toString());
    });
    await fc.assert(property, { numRuns: RUNS * 2 });
  });

  test('D7: addresses of pages', async () => {
    page = { type: HTML, body: '<title>x</title>' };
    const url = fc.oneof(
      anyText,
      fc.webUrl({ validSchemes: ['ftp', 'file', 'data'] }),
      fc.tuple(fc.constantFrom('http:', 'http://', 'https://', 'HTTP:\\\\'), anyText).map((parts) => parts.join('')),
      fc.ipV6().map((address) => `http://[${address}]:1/`),
      fc.ipV4Extended().map((address) => `http://${address}:1/`),
    );
    const property = fc.asyncProperty(url, async (url) => {
      // Nothing outside of this machine is asked for.
      if (URL.canParse(url) && !isInside(new URL(url).hostname)) return;
      const path = `/_matrix/client/v1/media/preview_url?url=${encodeURIComponent(url.toWellFormed())}`;
      const { status } = await send('GET', path);
      assert.ok([200, 400, 502].includes(status), `${status} ${url}`);
    });
    await fc.assert(property, { numRuns: RUNS });
  });
});

const policy = createNetworkPolicy({});

/** An address that no preview may reach. */
function isInside(hostname: string): boolean {
  const address = hostname.replaceAll(/[[\]]/g, '');
  return hostname === '' || (isIP(address) !== 0 && !policy.admits(address));
}

const clean = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, '');

function drawFrame(gray: number): Promise<Buffer> {
  const background = { r: gray, g: gray, b: gray };
  return sharp({ create: { width: 60, height: 60, channels: 3, background } })
    .png()
    .toBuffer();
}

interface Change {
  readonly at: number;
  readonly isInHead: boolean;
  readonly bytes: Uint8Array;
  readonly cut: number;
}

function applyChange(picture: Buffer, { at, isInHead, bytes, cut }: Change): Buffer {
  const start = Math.floor(at * (isInHead ? Math.min(60, picture.length) : picture.length));
  return Buffer.concat([picture.subarray(0, start), bytes, picture.subarray(start + cut)]);
}
