/**
 * SIGKILL during uploads, thumbnails and purges: after the next start every row has its whole file and every file a row,
 * what was acknowledged is there, and what was deleted is not.
 */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { secureRandom } from '../../src/lib/random.ts';
import { withClient } from '../../src/storage/connection.ts';
import { findEmbeddedUrl } from '../../src/storage/embedded.ts';
import { createRequester } from '../support/accounts-server.ts';
import { textAt } from '../support/json.ts';
import { type ServerProcess, startServer } from '../support/server-process.ts';

const ROUNDS = process.env['HAMMERHEAD_LONG_TESTS'] === undefined ? 3 : 40;
const UPLOADERS = 6;
const CLEAN_TIMEOUT_MS = 30_000;
const PASSWORD = 'correct horse battery';

/** What the answers promised. */
interface Promised {
  /** Content by `mxc://` URI. */
  readonly stored: Map<string, string>;
  readonly deleted: Set<string>;
}

describe('SIGKILL', () => {
  test('during uploads and purges: rows and files agree after the next start', async () => {
    await using server = await startServer();
    const request = createRequester(server.url);
    const register = async (username: string): Promise<string> => {
      const body = { username, password: PASSWORD, auth: { type: 'm.login.dummy' } };
      return textAt((await request('POST', '/_matrix/client/v3/register', { body })).body, 'access_token');
    };
    const [admin, alice] = [await register('admin'), await register('alice')];
    const picture = new Uint8Array(
      await sharp({ create: { width: 600, height: 600, channels: 3, background: 'red' } })
        .png()
        .toBuffer(),
    );
    const promised: Promised = { stored: new Map(), deleted: new Set() };

    for (let round = 0; round < ROUNDS; round++) {
      const controller = new AbortController();
      const context = { url: server.url, token: alice, admin, promised, signal: controller.signal };
      const work = [
        ...Array.from({ length: UPLOADERS }, () => repeat(context, upload)),
        repeat(context, async (given) => thumbnail(given, picture)),
        repeat(context, remove),
      ];
      await sleep(150 + secureRandom.integer(700));
      await server.kill();
      controller.abort();
      await Promise.all(work);
      await server.start();
      await assertAgreement(server);
      await assertPromises(server, alice, promised);
    }
    assert.ok(promised.stored.size > ROUNDS && promised.deleted.size > 0, 'there was something to lose');
  });
});

interface Context {
  readonly url: string;
  readonly token: string;
  readonly admin: string;
  readonly promised: Promised;
  readonly signal: AbortSignal;
}

/** Until the server is gone. */
async function repeat(context: Context, work: (context: Context) => Promise<void>): Promise<void> {
  while (!context.signal.aborted) {
    try {
      await work(context);
    } catch {
      // The server was killed, or is about to be noticed as such.
      await sleep(5);
    }
  }
}

async function send(context: Context, method: string, path: string, body?: string | Uint8Array<ArrayBuffer>) {
  const token = path.startsWith('/_hammerhead') ? context.admin : context.token;
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(context.url + path, { method, headers, ...(body === undefined ? {} : { body }) });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${answer.status} ${text}`);
  return text;
}

async function upload(context: Context): Promise<void> {
  // Some are equal to others, so that their files are shared.
  const isCommon = secureRandom.integer(3) === 0;
  const size = isCommon ? 1 + secureRandom.integer(3) : 1 + secureRandom.integer(600_000);
  const content = isCommon ? 'x'.repeat(size) : secureRandom.bytes(size).toString('base64').slice(0, size);
  const uri = textAt(JSON.parse(await send(context, 'POST', '/_matrix/media/v3/upload', content)), 'content_uri');
  context.promised.stored.set(uri, hash('sha256', content));
}

async function thumbnail(context: Context, picture: Uint8Array<ArrayBuffer>): Promise<void> {
  const uri = textAt(JSON.parse(await send(context, 'POST', '/_matrix/media/v3/upload', picture)), 'content_uri');
  const path = uri.replace('mxc://', '/_matrix/client/v1/media/thumbnail/');
  await send(context, 'GET', `${path}?width=96&height=96&method=crop`);
  await deleteMedia(context, uri);
}

async function remove(context: Context): Promise<void> {
  const [uri] = context.promised.stored.keys();
  if (uri === undefined || context.promised.stored.size < UPLOADERS) return sleep(10);
  context.promised.stored.delete(uri);
  await deleteMedia(context, uri);
}

async function deleteMedia(context: Context, uri: string): Promise<void> {
  await send(context, 'DELETE', `/_hammerhead/v0/admin/media/${uri.replace('mxc://', '')}`);
  context.promised.deleted.add(uri);
}

async function assertAgreement(server: ServerProcess): Promise<void> {
  const root = join(server.directory, 'data/media');
  const connection = (await findEmbeddedUrl(join(server.directory, 'data'))) ?? '';
  const read = (text: string): Promise<readonly string[]> =>
    withClient(connection, async (client) => (await client.query(text)).rows.map((row) => textAt(row, 'sha256')));
  const deadline = Date.now() + CLEAN_TIMEOUT_MS;
  while ((await read('select sha256 from media_file_checks')).length > 0 && Date.now() < deadline) await sleep(20);
  assert.deepEqual(await read('select sha256 from media_file_checks'), [], 'cleaned up at start');
  const named = await read(`select sha256 from media where sha256 is not null
    union select sha256 from media_thumbnails order by sha256`);
  const files = globSync('??/??/*', { cwd: root }).map((path) => path.slice(6));
  assert.deepEqual(files.toSorted(), named.toSorted());
  assert.deepEqual(readdirSync(join(root, 'tmp')), []);
  for (const name of named) {
    assert.equal(hash('sha256', readFileSync(join(root, name.slice(0, 2), name.slice(2, 4), name))), name);
  }
}

async function assertPromises(server: ServerProcess, token: string, { stored, deleted }: Promised): Promise<void> {
  const headers = { authorization: `Bearer ${token}` };
  const download = (uri: string) =>
    fetch(server.url + uri.replace('mxc://', '/_matrix/client/v1/media/download/'), { headers });
  for (const [uri, sha256] of stored) {
    const answer = await download(uri);
    assert.equal(hash('sha256', Buffer.from(await answer.arrayBuffer())), sha256, uri);
  }
  for (const uri of deleted) {
    const answer = await download(uri);
    await answer.arrayBuffer();
    assert.equal(answer.status, 404, uri);
  }
}
