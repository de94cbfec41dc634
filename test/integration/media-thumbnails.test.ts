/**
 * Thumbnails, over HTTP, of real images and of what only claims to be one.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { updateMediaQuarantine } from '../../src/storage/media.ts';
import { at } from '../support/json.ts';
import { type MediaAnswer, type MediaServer, SERVER, startMediaServer } from '../support/media-server.ts';

const codeOf = (answer: MediaAnswer): unknown => at(answer.json, 'errcode');
const thumbnailPath = (mediaId: string, query: string, origin: string = SERVER): string =>
  `/_matrix/client/v1/media/thumbnail/${origin}/${mediaId}?${query}`;

async function draw(width: number, height: number, format: 'png' | 'jpeg' | 'webp' | 'gif' = 'png') {
  const background = { r: 200, g: 30, b: 30, alpha: 1 };
  const image = sharp({ create: { width, height, channels: 4, background } });
  return new Uint8Array(await image.toFormat(format).toBuffer());
}

/** Frames of different gray, so that none is dropped as a repetition. */
async function drawFrames(size: number, count: number): Promise<Uint8Array<ArrayBuffer>> {
  const frames = Array.from({ length: count }, (_, index) =>
    sharp({ create: { width: size, height: size, channels: 3, background: { r: index * 9, g: index * 9, b: 99 } } })
      .png()
      .toBuffer(),
  );
  const gif = sharp(await Promise.all(frames), { join: { animated: true } }).gif({ loop: 0 });
  return new Uint8Array(await gif.toBuffer());
}

async function measure(server: MediaServer, mediaId: string, query: string) {
  const answer = await server.request('GET', thumbnailPath(mediaId, query));
  if (answer.status !== 200) return { status: answer.status, code: codeOf(answer) };
  const { width, height, pages = 1 } = await sharp(answer.bytes).metadata();
  return { type: answer.headers.get('content-type'), width, height, pages };
}

describe('thumbnails', () => {
  test('item 38: come from a fixed set of sizes, cropped or scaled, and never larger than the image', async () => {
    await using server = await startMediaServer();
    const mediaId = await server.upload(await draw(1000, 500));
    const png = { type: 'image/png', pages: 1 };
    for (const [query, width, height] of [
      ['width=32&height=32&method=crop', 32, 32],
      ['width=33&height=1&method=crop', 96, 96],
      ['width=96&height=96&method=crop', 96, 96],
      ['width=320&height=240&method=scale', 320, 160],
      ['width=1&height=1', 320, 160],
      ['width=640&height=480&method=scale', 640, 320],
      ['width=800&height=600&method=scale', 800, 400],
      ['width=5000&height=5000&method=scale', 1000, 500],
      ['width=5000&height=5000&method=crop', 1000, 500],
      ['width=640&height=480&method=crop', 640, 480],
      // The box is 800 by 800, of which the image is too low: its shape is kept.
      ['width=700&height=700&method=crop', 500, 500],
    ] as const) {
      assert.deepEqual(await measure(server, mediaId, query), { ...png, width, height }, query);
    }
    const small = await server.upload(await draw(20, 10));
    assert.deepEqual(await measure(server, small, 'width=320&height=240'), { ...png, width: 20, height: 10 });
    assert.deepEqual(server.faults, []);
  });

  test('carry the headers of downloads, and are stored once for equal content', async () => {
    await using server = await startMediaServer();
    const picture = await draw(400, 400, 'jpeg');
    const ids = [await server.upload(picture), await server.upload(picture)];
    const query = 'width=96&height=96&method=crop';
    const answers = await Promise.all(
      [...ids, ...ids, ...ids].map((id) => server.request('GET', thumbnailPath(id, query))),
    );
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    const [first] = answers;
    assert.equal(first?.headers.get('content-type'), 'image/jpeg');
    assert.equal(first?.headers.get('content-disposition'), 'inline; filename="thumbnail.jpeg"');
    assert.match(first?.headers.get('content-security-policy') ?? '', /^sandbox;/);
    assert.equal(first?.headers.get('cross-origin-resource-policy'), 'cross-origin');
    assert.equal(server.files().length, 2);
    const [one = '', two = ''] = ids;
    await server.media.admin.deleteOne('_', one);
    assert.equal(server.files().length, 2, 'the other still shows it');
    await server.media.admin.deleteOne('_', two);
    assert.deepEqual(server.files(), []);
  });

  test('stand upright and say nothing of where a picture was taken', async () => {
    await using server = await startMediaServer();
    const jpeg = await sharp({ create: { width: 600, height: 300, channels: 3, background: 'blue' } })
      .withMetadata({ orientation: 6, exif: { IFD0: { Copyright: 'somebody' }, IFD3: { GPSLatitudeRef: 'N' } } })
      .jpeg()
      .toBuffer();
    const mediaId = await server.upload(new Uint8Array(jpeg));
    const answer = await server.request('GET', thumbnailPath(mediaId, 'width=320&height=240'));
    const { width, height, exif } = await sharp(answer.bytes).metadata();
    assert.deepEqual([width, height, exif], [120, 240, undefined]);
  });

  test('move where that is asked for, and only then', async () => {
    await using server = await startMediaServer();
    const gif = await server.upload(await drawFrames(400, 5));
    const query = 'width=96&height=96&method=crop';
    const size = { width: 96, height: 96 };
    assert.deepEqual(await measure(server, gif, query), { type: 'image/png', ...size, pages: 1 });
    assert.deepEqual(await measure(server, gif, `${query}&animated=false`), { type: 'image/png', ...size, pages: 1 });
    assert.deepEqual(await measure(server, gif, `${query}&animated=true`), { type: 'image/webp', ...size, pages: 5 });
    const still = await server.upload(await draw(400, 400));
    assert.deepEqual(await measure(server, still, `${query}&animated=true`), { type: 'image/png', ...size, pages: 1 });
    const tiny = await server.upload(await drawFrames(16, 3));
    assert.deepEqual(await measure(server, tiny, query), { type: 'image/png', width: 16, height: 16, pages: 1 });
    assert.deepEqual((await measure(server, tiny, `${query}&animated=true`)).type, 'image/gif');
  });

  test('wrong parameters are refused, unknown media is not found', async () => {
    await using server = await startMediaServer();
    const mediaId = await server.upload(await draw(10, 10));
    for (const query of [
      '',
      'width=10',
      'width=0&height=5',
      'width=-1&height=5',
      'width=a&height=5',
      'width=1e9&height=5',
      'width=5&height=5&method=zoom',
      'width=5&height=5&animated=maybe',
    ]) {
      assert.equal((await server.request('GET', thumbnailPath(mediaId, query))).status, 400, query);
    }
    assert.equal(codeOf(await server.request('GET', thumbnailPath('none', 'width=5&height=5'))), 'M_NOT_FOUND');
    const path = thumbnailPath(mediaId, 'width=5&height=5');
    assert.equal((await server.request('GET', path, { token: '' })).status, 401);
    const old = path.replace('/_matrix/client/v1/media', '/_matrix/media/v3');
    assert.equal((await server.request('GET', old, { token: '' })).status, 404, 'new media is frozen');
  });

  test('item 31: quarantined media has none, those made before included', async () => {
    await using server = await startMediaServer();
    const mediaId = await server.upload(await draw(200, 200));
    const query = 'width=96&height=96&method=crop';
    assert.equal((await server.request('GET', thumbnailPath(mediaId, query))).status, 200);
    await updateMediaQuarantine(server.db.database, { origin: SERVER, mediaId }, '@admin:hs1');
    assert.equal((await server.request('GET', thumbnailPath(mediaId, query))).status, 404);
    assert.equal((await server.download(mediaId)).status, 404);
    await updateMediaQuarantine(server.db.database, { origin: SERVER, mediaId }, null);
    assert.equal((await server.request('GET', thumbnailPath(mediaId, query))).status, 200);
  });
});

const SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="200"><rect width="9" height="9"/></svg>';
const POSTSCRIPT = '%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\nshowpage\n%%EOF\n';

describe('what only claims to be an image', () => {
  test('D3: nothing but JPEG, PNG, WebP and GIF is decoded, whatever its type says', async () => {
    await using server = await startMediaServer();
    const base = sharp({ create: { width: 200, height: 200, channels: 3, background: 'red' } });
    const others: readonly [string, string | Uint8Array<ArrayBuffer>][] = [
      ['SVG', SVG],
      ['SVG with a declaration', `<?xml version="1.0"?>\n${SVG}`],
      ['PostScript', POSTSCRIPT],
      ['PDF', '%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF'],
      ['TIFF', new Uint8Array(await base.clone().tiff().toBuffer())],
      ['AVIF', new Uint8Array(await base.clone().avif({ effort: 0 }).toBuffer())],
      ['netpbm', `P3 2 2 255 ${'255 0 0 '.repeat(4)}`],
      ['Radiance', '#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 2 +X 2\n0000000000000000'],
      ['ImageMagick', 'push graphic-context\nviewbox 0 0 200 200\nimage over 0,0 0,0 "https://example.org/"\n'],
      ['text', 'hello'],
      ['nothing', ''],
    ];
    for (const [name, content] of others) {
      const mediaId = await server.upload(content, { headers: { 'content-type': 'image/png' } });
      const answer = await server.request('GET', thumbnailPath(mediaId, 'width=96&height=96'));
      assert.deepEqual([answer.status, codeOf(answer)], [400, 'M_UNKNOWN'], name);
    }
    for (const format of ['png', 'jpeg', 'webp', 'gif'] as const) {
      const mediaId = await server.upload(await draw(200, 200, format), {
        headers: { 'content-type': 'application/pdf' },
      });
      const answer = await server.request('GET', thumbnailPath(mediaId, 'width=96&height=96&method=crop'));
      assert.equal(answer.status, 200, `${format} is what it is`);
    }
    assert.deepEqual(server.faults, []);
  });

  test('D3: no decoder but those four is reached behind the first bytes of a picture', async () => {
    await using server = await startMediaServer();
    const heads = ['\x89PNG\r\n\x1a\n', '\xff\xd8\xff\xe0', 'GIF89a', 'RIFF\x00\x01\x00\x00WEBP'];
    for (const head of heads) {
      for (const body of [SVG, POSTSCRIPT, '', '\0'.repeat(5_000)]) {
        const content = new Uint8Array(Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body)]));
        const answer = await server.request('GET', thumbnailPath(await server.upload(content), 'width=96&height=96'));
        assert.equal(answer.status, 400);
      }
    }
    assert.deepEqual(server.faults, []);
  });

  test('D4: an image of too many pixels is refused before any is decoded: 413 of ours, 502 of others', async () => {
    const bomb = createPng(50_000, 50_000);
    await using server = await startMediaServer({
      media: {
        fetchRemoteFile: async () => ({ contentType: 'image/png', fileName: undefined, chunks: chunksOf(bomb) }),
      },
    });
    const before = process.memoryUsage().rss;
    const mediaId = await server.upload(bomb);
    for (const query of ['width=96&height=96', 'width=96&height=96&method=crop', 'width=9999&height=9999']) {
      const answer = await server.request('GET', thumbnailPath(mediaId, query));
      assert.deepEqual([answer.status, codeOf(answer)], [413, 'M_TOO_LARGE'], query);
    }
    const remote = await server.request('GET', thumbnailPath('abc', 'width=96&height=96', 'other.example'));
    assert.deepEqual([remote.status, codeOf(remote)], [502, 'M_TOO_LARGE']);
    assert.ok(process.memoryUsage().rss - before < 500_000_000, '2.5 gigapixels would be 10 GB');
    assert.deepEqual(server.faults, []);
  });

  test('D4: a lie about the size, and a stream that swells, end in a refusal', async () => {
    await using server = await startMediaServer();
    for (const [name, content] of [
      ['more data than the header says', createPng(10, 10, 4_000_000)],
      ['no data', createPng(1_000, 1_000, 0)],
      ['zero by zero', createPng(0, 0)],
    ] as const) {
      const answer = await server.request('GET', thumbnailPath(await server.upload(content), 'width=5&height=5'));
      assert.ok(answer.status === 400 || answer.status === 200, `${name}: ${answer.status}`);
    }
    assert.deepEqual(server.faults, []);
  });

  test('D4: animations of too many frames, or too many pixels together, show as their first frame', async () => {
    await using server = await startMediaServer({ media: { images: { maxPixels: 400_000, maxFrames: 4 } } });
    const query = 'width=96&height=96&method=crop&animated=true';
    const many = await server.upload(await drawFrames(200, 5));
    assert.deepEqual(await measure(server, many, query), { type: 'image/png', width: 96, height: 96, pages: 1 });
    const large = await server.upload(await drawFrames(400, 4));
    assert.deepEqual(await measure(server, large, query), { type: 'image/png', width: 96, height: 96, pages: 1 });
    const fine = await server.upload(await drawFrames(300, 4));
    assert.deepEqual(await measure(server, fine, query), { type: 'image/webp', width: 96, height: 96, pages: 4 });
  });
});

/** A PNG whose header says whatever it likes, with `dataBytes` of pixels that compress to nothing. */
function createPng(width: number, height: number, dataBytes = 1_000): Uint8Array<ArrayBuffer> {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const chunk = (type: string, data: Buffer): Buffer => {
    const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    checksum.writeUInt32BE(crc32(typed));
    return Buffer.concat([length, typed, checksum]);
  };
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  const pixels = deflateSync(Buffer.alloc(dataBytes));
  return new Uint8Array(
    Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))]),
  );
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Buffer> {
  yield Buffer.from(bytes);
}
