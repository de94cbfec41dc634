/**
 * URL previews of pages on a real web server, good and hostile ones.
 */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import type { PreviewSettings } from '../../src/media/previews.ts';
import { at, entriesAt, textAt } from '../support/json.ts';
import { type MediaAnswer, type MediaServer, SERVER, startMediaServer } from '../support/media-server.ts';
import { type Page, startPageServer } from '../support/page-server.ts';

const HTML = 'text/html; charset=utf-8';
const LOCAL: Partial<PreviewSettings> = { allowedNetworks: ['127.0.0.1/32'] };
const png = await sharp({ create: { width: 60, height: 40, channels: 3, background: 'red' } })
  .png()
  .toBuffer();
const PICTURE: Page = { type: 'image/png', body: png };

const preview = (server: MediaServer, url: string, root = '/_matrix/client/v1/media'): Promise<MediaAnswer> =>
  server.request('GET', `${root}/preview_url?url=${encodeURIComponent(url)}`);
const html = (head: string, body = ''): Page => ({
  type: HTML,
  body: `<!doctype html><html><head>${head}</head><body>${body}</body></html>`,
});
const og = (name: string, content: string): string => `<meta property="og:${name}" content="${content}">`;

describe('previews', () => {
  test('give what OpenGraph says, with the picture as media of ours, on every path', async () => {
    await using pages = await startPageServer((url) => ({
      '/page': html(
        og('title', 'A &amp; B ☕') +
          og('title', 'second') +
          og('description', 'About') +
          og('type', 'article') +
          og('image', '/picture.png') +
          og('image:width', '9999'),
        '<h1>Not this</h1>',
      ),
      '/picture.png': PICTURE,
      '/moved': { redirect: `${url}/page` },
    }));
    await using server = await startMediaServer({ previews: LOCAL });
    const { status, json } = await preview(server, `${pages.url}/moved#fragment`);
    const uri = textAt(json, 'og:image');
    assert.equal(status, 200);
    assert.deepEqual(json, {
      'og:title': 'A & B ☕',
      'og:description': 'About',
      'og:type': 'article',
      'og:image': uri,
      'og:image:type': 'image/png',
      'og:image:width': 60,
      'og:image:height': 40,
      'matrix:image:size': png.length,
    });
    const picture = await server.download(uri.replace(`mxc://${SERVER}/`, ''));
    assert.deepEqual([picture.status, picture.bytes], [200, png]);
    assert.deepEqual(pages.asked, ['/moved', '/page', '/picture.png']);
    for (const root of ['/_matrix/media/v3', '/_matrix/media/v1', '/_matrix/media/r0']) {
      assert.deepEqual((await preview(server, `${pages.url}/moved`, root)).json, json);
    }
    assert.equal(pages.asked.length, 3, 'kept for a while');
    assert.deepEqual(pages.userAgents, new Set(['Hammerhead test']));
    const path = `/_matrix/client/v1/media/preview_url?url=${pages.url}`;
    assert.equal((await server.request('GET', path, { token: '' })).status, 401);
    server.clock.advance(2 * 3_600_000);
    await preview(server, `${pages.url}/moved`);
    assert.equal(pages.asked.length, 6, 'looked at again later');
  });

  test('fetch a page once for all who ask at the same time', async () => {
    await using pages = await startPageServer(() => ({ '/': html('<title>Once</title>') }));
    await using server = await startMediaServer({ previews: LOCAL });
    const answers = await Promise.all(Array.from({ length: 8 }, () => preview(server, pages.url)));
    for (const { json } of answers) assert.deepEqual(json, { 'og:title': 'Once' });
    assert.deepEqual(pages.asked, ['/']);
  });

  test('fall back to what plain HTML says, in its own encoding', async () => {
    const latin = Buffer.concat([
      Buffer.from('<html><head><meta charset="iso-8859-1"><title>Caf'),
      Buffer.from([0xe9]),
      Buffer.from('</title></head></html>'),
    ]);
    await using pages = await startPageServer(() => ({
      '/title': html(
        '<title> The\n  title </title>',
        '<nav>Menu</nav><p>Some <b>text</b> here</p><script>no()</script>',
      ),
      '/heading': html('', '<svg><title>Icon</title></svg><h1>The heading</h1><img src="picture.png">'),
      '/description': html('<title>T</title><meta name="Description" content="Described">'),
      '/twitter': html('<title>T</title><meta name="twitter:title" content="Birds">'),
      '/latin': { type: 'text/html', body: latin },
      '/empty': html(''),
      '/compressed': {
        type: HTML,
        body: gzipSync('<title>Small</title>'),
        headers: { 'content-encoding': 'gzip' },
      },
      '/picture.png': PICTURE,
    }));
    await using server = await startMediaServer({ previews: LOCAL });
    const read = async (path: string) => (await preview(server, pages.url + path)).json;
    assert.deepEqual(await read('/title'), { 'og:title': 'The title', 'og:description': 'Some text here' });
    const heading = await read('/heading');
    assert.deepEqual([at(heading, 'og:title'), at(heading, 'og:image:width')], ['The heading', 60]);
    assert.deepEqual(await read('/description'), { 'og:title': 'T', 'og:description': 'Described' });
    assert.deepEqual(await read('/twitter'), { 'og:title': 'Birds' });
    assert.deepEqual(await read('/latin'), { 'og:title': 'Café' });
    assert.deepEqual(await read('/empty'), {});
    assert.deepEqual(await read('/compressed'), { 'og:title': 'Small' });
    assert.deepEqual(await read('/picture.png'), {
      'og:title': 'picture.png',
      'og:image': textAt(await read('/picture.png'), 'og:image'),
      'og:image:type': 'image/png',
      'og:image:width': 60,
      'og:image:height': 40,
      'matrix:image:size': png.length,
    });
  });

  test('ask for the oEmbed description that a page links to', async () => {
    const link = (path: string): string => `<link rel="alternate" type="application/json+oembed" href="${path}">`;
    await using pages = await startPageServer(() => ({
      '/video': html(`<title>Generic</title>${link('/oembed?v=1')}`),
      '/oembed?v=1': {
        type: 'application/json',
        body: JSON.stringify({ type: 'video', title: 'The video', provider_name: 'Site', thumbnail_url: '/t.png' }),
      },
      '/photo': html(link('/oembed?p=1')),
      '/oembed?p=1': { type: 'application/json', body: JSON.stringify({ type: 'photo', url: '/t.png' }) },
      '/broken': html(`<title>Still here</title>${link('/oembed?b=1')}`),
      '/oembed?b=1': { type: 'application/json', body: '{"title": ["no text"]' },
      '/t.png': PICTURE,
    }));
    await using server = await startMediaServer({ previews: LOCAL });
    const video = (await preview(server, `${pages.url}/video`)).json;
    assert.deepEqual(
      [at(video, 'og:title'), at(video, 'og:site_name'), at(video, 'og:image:width')],
      ['The video', 'Site', 60],
    );
    assert.equal(at((await preview(server, `${pages.url}/photo`)).json, 'og:image:width'), 60);
    assert.deepEqual((await preview(server, `${pages.url}/broken`)).json, { 'og:title': 'Still here' });
  });

  test('leave a picture out that is none, is too large, or is drawn by a script', async () => {
    await using pages = await startPageServer(() => ({
      '/svg': html(`<title>T</title>${og('image', '/a.svg')}`),
      '/a.svg': { type: 'image/svg+xml', body: '<svg xmlns="http://www.w3.org/2000/svg"/>' },
      '/fake': html(`<title>T</title>${og('image', '/b.png')}`),
      '/b.png': { type: 'image/png', body: '<svg xmlns="http://www.w3.org/2000/svg"/>' },
      '/large': html(`<title>T</title>${og('image', '/c.png')}`),
      '/c.png': { type: 'image/png', body: Buffer.concat([png, Buffer.alloc(1_000_000)]) },
      '/missing': html(`<title>T</title>${og('image', '/none.png')}<link rel="icon" href="/icon.png">`),
      '/icon.png': PICTURE,
      '/nowhere': html(`<title>T</title>${og('image', 'http://')}`),
    }));
    await using server = await startMediaServer({ previews: LOCAL });
    for (const path of ['/svg', '/fake', '/large', '/nowhere']) {
      assert.deepEqual((await preview(server, pages.url + path)).json, { 'og:title': 'T' }, path);
    }
    assert.equal(at((await preview(server, `${pages.url}/missing`)).json, 'og:image:width'), 60);
    assert.equal(server.files().length, 1);
    assert.deepEqual(server.faults, []);
  });

  test('say the same of everything that cannot be had', async () => {
    await using pages = await startPageServer(() => ({ '/loop': { redirect: '/loop' } }));
    await using server = await startMediaServer({ previews: LOCAL });
    const answers = [];
    for (const url of [`${pages.url}/none`, `${pages.url}/loop`, 'http://127.0.0.1:9/', 'http://127.0.0.2/']) {
      answers.push(await preview(server, url));
    }
    for (const { status, json } of answers) {
      assert.deepEqual([status, json], [502, { errcode: 'M_UNKNOWN', error: 'The page could not be previewed' }]);
    }
    assert.equal(pages.asked.filter((path) => path === '/loop').length, 6);
    for (const url of [
      '',
      'no address',
      'ftp://example.org/',
      'javascript:alert(1)',
      `http://e.org/${'x'.repeat(5_000)}`,
    ]) {
      assert.equal((await preview(server, url)).status, 400, url.slice(0, 50));
    }
    assert.deepEqual(server.faults, []);
  });

  test('are not there where they are switched off', async () => {
    await using server = await startMediaServer();
    assert.equal((await preview(server, 'http://example.org/')).status, 404);
  });

  test('go with the caches when an administrator purges those', async () => {
    await using pages = await startPageServer(() => ({ '/p.png': PICTURE }));
    await using server = await startMediaServer({ previews: LOCAL });
    const mediaId = await server.upload('local');
    await preview(server, `${pages.url}/p.png`);
    assert.deepEqual(await server.media.admin.purge({ allCaches: true }), { ok: 1, fail: 0 });
    assert.equal(server.files().length, 1);
    assert.equal((await server.download(mediaId)).status, 200);
    const again = await preview(server, `${pages.url}/p.png`);
    assert.equal(at(again.json, 'og:image:width'), 60, 'made anew');
  });
});

describe('hostile pages', () => {
  test('D5: nesting, endless streams, huge texts and floods of properties cost little and end', async () => {
    let sent = 0;
    const endless = (type: string) => (response: ServerResponse) => {
      response.writeHead(200, { 'content-type': type });
      const chunk = Buffer.alloc(64 * 1024, 'x');
      const write = (): void => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length;
        sent += chunk.length;
      };
      response.on('drain', write);
      write();
    };
    await using pages = await startPageServer(() => ({
      '/deep': html('<title>Deep</title>', '<div>'.repeat(100_000)),
      '/audio': endless('audio/mpeg'),
      '/text': endless('text/plain'),
      '/page': endless('text/html'),
      '/picture': endless('image/png'),
      '/bomb': {
        type: HTML,
        body: gzipSync(Buffer.alloc(200_000_000, ' ')),
        headers: { 'content-encoding': 'gzip' },
      },
      '/flood': html(Array.from({ length: 5_000 }, (_, index) => og(`p${index}`, 'v'.repeat(5_000))).join('')),
    }));
    await using server = await startMediaServer({ previews: LOCAL });
    assert.deepEqual((await preview(server, `${pages.url}/deep`)).json, { 'og:title': 'Deep' });
    for (const [path, status] of [
      ['/audio', 200],
      ['/text', 200],
      ['/page', 200],
      ['/picture', 200],
      ['/bomb', 200],
    ] as const) {
      // The least of three: the memory of a process moves by itself too, and what costs memory costs it each time.
      const growths: number[] = [];
      for (const attempt of [1, 2, 3]) {
        const before = process.memoryUsage().rss;
        sent = 0;
        assert.equal((await preview(server, `${pages.url}${path}?${attempt}`)).status, status, path);
        assert.ok(sent < 30_000_000, `${path} sent ${sent}`);
        growths.push(process.memoryUsage().rss - before);
      }
      assert.ok(Math.min(...growths) < 150_000_000, path);
    }
    const flood = entriesAt((await preview(server, `${pages.url}/flood`)).json);
    assert.equal(flood.length, 50);
    for (const [, value] of flood) assert.equal(String(value).length, 1_000);
    assert.deepEqual(server.faults, []);
  });

  test('D6: every hop is judged: redirects, oEmbed, pictures and icons', async () => {
    await using secret = await startPageServer(
      () => ({ '/s.png': PICTURE, '/o': { type: 'application/json', body: '{"title":"secret"}' } }),
      '127.0.0.2',
    );
    await using pages = await startPageServer(() => ({
      '/redirect': { redirect: `${secret.url}/s.png` },
      '/twice': { redirect: '/redirect' },
      '/oembed': html(`<link rel="alternate" type="application/json+oembed" href="${secret.url}/o"><title>T</title>`),
      '/image': html(`<title>T</title>${og('image', `${secret.url}/s.png`)}`),
      '/icon': html(`<title>T</title><link rel="icon" href="${secret.url}/s.png">`),
      '/img': html('<title>T</title>', `<img src="${secret.url}/s.png">`),
      '/jump': html(`<title>T</title>${og('image', '/redirect')}`),
      '/file': html(`<title>T</title>${og('image', 'file:///etc/passwd')}`),
    }));
    await using server = await startMediaServer({ previews: LOCAL });
    for (const path of ['/redirect', '/twice']) assert.equal((await preview(server, pages.url + path)).status, 502);
    for (const path of ['/oembed', '/image', '/icon', '/img', '/jump', '/file']) {
      assert.deepEqual((await preview(server, pages.url + path)).json, { 'og:title': 'T' }, path);
    }
    assert.deepEqual([secret.asked, server.files(), server.faults], [[], [], []]);
  });

  test('D7: no way of writing a private address leads there', async () => {
    await using pages = await startPageServer(() => ({ '/': html('<title>Inside</title>') }));
    await using server = await startMediaServer({ previews: {} });
    const hosts = [
      '127.0.0.1',
      '127.1',
      '0x7f.1',
      '0x7f000001',
      '2130706433',
      '0177.0.0.1',
      '0.0.0.0',
      '0',
      'localhost',
      'LOCALHOST',
      'localhost.',
      '[::1]',
      '[::]',
      '[::ffff:127.0.0.1]',
      '[::ffff:7f00:1]',
      '[::127.0.0.1]',
      '[64:ff9b::7f00:1]',
      '[2002:7f00:1::]',
      '[fe80::1]',
      '[fd00::1]',
      '169.254.169.254',
      '10.0.0.1',
      '192.168.0.1',
      '①②⑦.⓪.⓪.①',
    ];
    for (const host of hosts) {
      assert.equal((await preview(server, `http://${host}:${pages.port}/`)).status, 502, host);
    }
    assert.equal((await preview(server, `http://user:pw@127.0.0.1:${pages.port}/`)).status, 502);
    assert.deepEqual([pages.asked, server.faults], [[], []]);
  });

  test('D8: each list allows what it should and denies what it should', async () => {
    await using pages = await startPageServer(() => ({ '/': html('<title>Inside</title>') }));
    const statusWith = async (previews: Partial<PreviewSettings>): Promise<number> => {
      await using server = await startMediaServer({ previews });
      return (await preview(server, pages.url)).status;
    };
    assert.equal(await statusWith({}), 502);
    assert.equal(await statusWith({ allowedNetworks: ['127.0.0.0/8'] }), 200);
    assert.equal(await statusWith({ allowedNetworks: ['127.0.0.2/32', '10.0.0.0/8'] }), 502);
    assert.equal(await statusWith({ ...LOCAL, blockedHosts: ['127.0.*'] }), 502);
    assert.equal(await statusWith({ ...LOCAL, blockedHosts: ['*.example.org', '127.0.0.2'] }), 200);
    assert.equal(await statusWith({ ...LOCAL, ports: [80, 443] }), 502);
    assert.equal(await statusWith({ ...LOCAL, ports: [pages.port] }), 200);
  });
});
