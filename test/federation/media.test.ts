/**
 * Media between servers: two whole ones that fetch from each other, and scripted ones that answer as they like.
 */
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import type { ScriptedServer, TestClient, TestHomeserver } from '../support/federation.ts';
import { textAt } from '../support/json.ts';
import { startPair } from '../support/pair.ts';
import { askAs } from '../support/signed-requests.ts';

const stack = new AsyncDisposableStack();
let here: TestHomeserver;
let there: TestHomeserver;
let peer: ScriptedServer;
let alice: TestClient;
let bob: TestClient;

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

before(async () => {
  const small = { media_repo: { max_upload_size: '1MB' } };
  ({ here, there, peer, alice, bob } = await startPair(stack, { here: small }));
});

after(() => stack.disposeAsync());

async function upload(content: Buffer, type: string, name: string): Promise<string> {
  const answer = await fetch(`${there.url}/_matrix/media/v3/upload?filename=${encodeURIComponent(name)}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bob.token}`, 'content-type': type },
    body: new Uint8Array(content),
  });
  return textAt(await answer.json(), 'content_uri').replace('mxc://', '');
}

function download(path: string, query = ''): Promise<Response> {
  const headers = { authorization: `Bearer ${alice.token}` };
  return fetch(`${here.url}/_matrix/client/v1/media/${path}${query}`, { headers });
}

async function errorOf(answer: Response): Promise<readonly [number, string]> {
  return [answer.status, textAt(await answer.json(), 'errcode')];
}

test('media of another server is fetched with its type and name, and kept', async () => {
  const content = Buffer.alloc(300_000, 'some text\r\n--');
  const id = await upload(content, 'text/plain', 'Grüße "1".txt');
  const answer = await download(`download/${id}`);
  assert.equal(answer.status, 200);
  assert.deepEqual(Buffer.from(await answer.arrayBuffer()), content);
  assert.equal(answer.headers.get('content-type'), 'text/plain');
  assert.match(answer.headers.get('content-disposition') ?? '', /filename\*=utf-8''Gr%C3%BC%C3%9Fe%20%221%22\.txt/);
  await there.stop();
  const again = await download(`download/${id}`);
  await there.start();
  assert.deepEqual(Buffer.from(await again.arrayBuffer()), content);
});

test('thumbnails are made of what was fetched', async () => {
  const id = await upload(PNG, 'image/png', 'a.png');
  const answer = await download(`thumbnail/${id}`, '?width=32&height=32');
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'image/png');
});

test('what there is not, is not found', async () => {
  assert.deepEqual(await errorOf(await download(`download/${there.serverName}/nothing`)), [404, 'M_NOT_FOUND']);
});

test('a server gets our own media in two parts, and nobody gets anything unsigned', async () => {
  const id = (await upload(PNG, 'image/png', 'a.png')).split('/')[1];
  for (const path of [`download/${id}`, `thumbnail/${id}?width=10&height=10`]) {
    const unsigned = await fetch(`${there.url}/_matrix/federation/v1/media/${path}`);
    assert.deepEqual(await errorOf(unsigned), [401, 'M_UNAUTHORIZED']);
  }
  const missing = await askAs(peer, there, { path: '/_matrix/federation/v1/media/download/nothing' });
  assert.equal(missing.status, 404);
  const foreign = await askAs(peer, there, { path: '/_matrix/federation/v1/media/download/a%2Fb' });
  assert.ok(foreign.status >= 400 && foreign.status < 500);
});

/** Lets the scripted server answer media requests, and its key to all others. */
function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): void {
  const { handle } = peer;
  peer.handle = (request, response) => {
    if (request.url?.includes('/media/') === true) answer(request, response);
    else handle(request, response);
  };
}

const multipart = (response: ServerResponse, part: string): void => {
  response.writeHead(200, { 'content-type': 'multipart/mixed; boundary=b' });
  response.end(`--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n${part}\r\n--b--\r\n`);
};

test('a server from before the federation endpoint is asked by the old one, which forwards nothing', async () => {
  serve((request, response) => {
    if (request.url?.startsWith('/_matrix/media/v3/download/') === true) {
      assert.ok(request.url.includes('allow_remote=false'));
      assert.equal(request.headers.authorization, undefined);
      response.writeHead(200, { 'content-type': 'text/plain', 'content-disposition': 'inline; filename=old.txt' });
      response.end('old');
    } else {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"errcode":"M_UNRECOGNIZED","error":""}');
    }
  });
  const answer = await download(`download/${peer.serverName}/old`);
  assert.equal(await answer.text(), 'old');
  assert.match(answer.headers.get('content-disposition') ?? '', /old\.txt/);
});

test('a part that says where the content is, is followed over HTTPS', async () => {
  serve((request, response) => {
    if (request.url === '/media/elsewhere') {
      assert.equal(request.headers.authorization, undefined);
      response.writeHead(200, { 'content-type': 'text/plain' }).end('elsewhere');
    } else multipart(response, `Location: https://${peer.serverName}/media/elsewhere\r\n\r\n`);
  });
  const answer = await download(`download/${peer.serverName}/moved`);
  assert.equal(await answer.text(), 'elsewhere');
});

test('D6, D7: a place on a denied network, or one without HTTPS, is not followed', async () => {
  for (const [index, place] of ['https://10.0.0.1/x', 'http://127.0.0.1/x', 'https://[::1]/x', 'file:///x'].entries()) {
    serve((_request, response) => multipart(response, `Location: ${place}\r\n\r\n`));
    const refused = await download(`download/${peer.serverName}/denied${index}`);
    assert.deepEqual(await errorOf(refused), [502, 'M_UNKNOWN'], place);
  }
});

test('D12: what is too large is refused, whatever length it claims', async () => {
  serve((_request, response) => {
    response.writeHead(200, { 'content-type': 'multipart/mixed; boundary=b' });
    response.write('--b\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\n\r\n');
    const piece = 'x'.repeat(64 * 1024);
    const timer = setInterval(() => response.write(piece), 1);
    response.on('close', () => clearInterval(timer));
  });
  const refused = await download(`download/${peer.serverName}/endless`);
  assert.deepEqual(await errorOf(refused), [502, 'M_TOO_LARGE']);
});

test('answers that are none, and content that breaks off, are errors of the other server', async () => {
  const broken: readonly ((response: ServerResponse) => void)[] = [
    (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
    (response) => response.writeHead(200, { 'content-type': 'multipart/mixed; boundary=b' }).end('--b\r\n\r\n{}'),
    (response) =>
      response.writeHead(200, { 'content-type': 'multipart/mixed; boundary=b' }).end('--b\r\n\r\n{}\r\n--b\r\n\r\ncut'),
    (response) => response.destroy(),
  ];
  for (const [index, answer] of broken.entries()) {
    serve((_request, response) => answer(response));
    const refused = await download(`download/${peer.serverName}/broken${index}`);
    assert.deepEqual(await errorOf(refused), [502, 'M_UNKNOWN'], `${index}`);
  }
});

test('who waits for an upload that was announced is told to come back', async () => {
  serve((_request, response) =>
    response.writeHead(504, { 'content-type': 'application/json' }).end('{"errcode":"M_NOT_YET_UPLOADED","error":""}'),
  );
  const waiting = await download(`download/${peer.serverName}/later`);
  assert.deepEqual(await errorOf(waiting), [504, 'M_NOT_YET_UPLOADED']);
});
