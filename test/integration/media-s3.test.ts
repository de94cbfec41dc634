/**
 * Media in an S3-compatible store, and moving media from files to it and back.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { hash } from 'node:crypto';
import { globSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { CreateMultipartUploadCommand, ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3';
import sharp from 'sharp';
import { systemClock } from '../../src/lib/clock.ts';
import { secureRandom } from '../../src/lib/random.ts';
import { createFileStore } from '../../src/media/file-store.ts';
import { type MigrationProgress, migrateMedia } from '../../src/media/migrate-media.ts';
import { createS3Store, type S3Settings } from '../../src/media/s3-store.ts';
import type { MediaStore } from '../../src/media/store.ts';
import { createRequester } from '../support/accounts-server.ts';
import { textAt } from '../support/json.ts';
import { type MediaServer, SERVER, startMediaServer } from '../support/media-server.ts';
import { installS3Server, type S3Server, startS3Server } from '../support/s3-server.ts';
import { startServer } from '../support/server-process.ts';

const installed = await installS3Server();
const skip = 'reason' in installed ? installed.reason : false;
const MIB = 1024 * 1024;
const nothing = (): void => undefined;

describe('S3', { skip }, () => {
  let s3: S3Server;
  let folder: string;
  before(async () => {
    s3 = await startS3Server('path' in installed ? installed.path : '');
    folder = await mkdtemp(join(tmpdir(), 'hammerhead-s3-test-'));
  });
  after(async () => {
    await s3[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const objects = (): string[] => globSync(`${'[0-9a-f]'.repeat(2)}*`, { cwd: join(s3.bucketPath, 'files') }).sort();
  const start = () => startMediaServer({ media: { s3: s3.settings }, limits: { maxUploadSize: 64 * MIB } });
  const clear = async (server: MediaServer): Promise<void> => {
    await server.media.admin.purge({ allLocalMedia: true, allCaches: true });
    assert.deepEqual(objects(), []);
  };

  test('uploads of one part and of many come back, whole and by range, and equal ones are stored once', async () => {
    await using server = await start();
    for (const size of [0, 5, 8 * MIB, 8 * MIB + 1, 20 * MIB + 7]) {
      const content = new Uint8Array(secureRandom.bytes(size));
      const mediaId = await server.upload(content);
      const again = await server.upload(content);
      for (const id of [mediaId, again]) {
        const { status, bytes } = await server.download(id);
        assert.equal(status, 200);
        assert.equal(hash('sha256', bytes), hash('sha256', content), `${size} bytes`);
      }
      if (size < 100) continue;
      const range = `bytes=${size - 100}-${size - 51}`;
      const part = await server.download(mediaId, { headers: { range } });
      assert.deepEqual([part.status, part.bytes], [206, Buffer.from(content.subarray(size - 100, size - 50))]);
    }
    assert.equal(objects().length, 5);
    assert.deepEqual(server.staged(), []);
    await clear(server);
    assert.deepEqual(server.faults, []);
  });

  test('an upload that is refused at its end leaves nothing, not even parts', async () => {
    await using server = await startMediaServer({
      media: { s3: s3.settings },
      limits: { maxUploadSize: 64 * MIB, maxUserBytes: 10 * MIB },
    });
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let index = 0; index < 12; index++) controller.enqueue(new Uint8Array(MIB).fill(index));
        controller.close();
      },
    });
    assert.equal((await server.request('POST', '/_matrix/media/v3/upload', { body })).status, 403);
    assert.deepEqual([objects(), server.staged(), await countMultipartUploads(s3)], [[], [], 0]);
  });

  test('thumbnails are made of objects, and deletion takes both', async () => {
    await using server = await start();
    const png = await sharp({ create: { width: 900, height: 700, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    const mediaId = await server.upload(new Uint8Array(png));
    const path = `/_matrix/client/v1/media/thumbnail/${SERVER}/${mediaId}?width=96&height=96&method=crop`;
    const answer = await server.request('GET', path);
    const { width, height } = await sharp(answer.bytes).metadata();
    assert.deepEqual([answer.status, width, height], [200, 96, 96]);
    assert.equal(objects().length, 2);
    assert.deepEqual(await server.media.admin.deleteOne('_', mediaId), { ok: 1, fail: 0 });
    assert.deepEqual([objects(), server.staged()], [[], []]);
    const text = await server.upload('text');
    const none = await server.request('GET', path.replace(mediaId, text));
    assert.equal(none.status, 400);
    await clear(server);
  });

  test('what a process left is cleared: the spool at start, old multipart uploads when cleaning', async () => {
    await using server = await start();
    using client = new DisposableClient(s3.settings);
    const begin = (Key: string) => client.send(new CreateMultipartUploadCommand({ Bucket: 'media', Key }));
    await begin(`files/${'a'.repeat(64)}`);
    await begin('others/file');
    await server.media.cleaner.clean();
    assert.equal(await countMultipartUploads(s3), 2, 'young ones may be under way on another node');
    server.clock.advance(2 * 3_600_000);
    await server.media.cleaner.clean();
    assert.equal(await countMultipartUploads(s3), 1, 'others have their own prefix');
    await writeFile(join(server.rootPath, 'tmp', 'left'), 'x');
    await using restarted = await startMediaServer({
      db: server.db,
      rootPath: server.rootPath,
      media: { s3: s3.settings },
    });
    assert.deepEqual(restarted.staged(), []);
  });

  test('a store that refuses is a fault of ours, and no row says otherwise', async () => {
    const credentials = { accessKeyId: 'test', secretAccessKey: 'wrong' };
    await using server = await startMediaServer({ media: { s3: { ...s3.settings, credentials } } });
    const answer = await server.request('POST', '/_matrix/media/v3/upload', { body: 'x' });
    assert.equal(answer.status, 500);
    assert.equal(server.faults.length, 1);
    const rows = await server.db.database.query({ name: 'rows', text: 'select 1 from media', values: [] });
    assert.equal(rows.length, 0);
  });

  test('the command moves the media of a running server, which then starts on the other store', async () => {
    const { endpoint, bucket, prefix } = s3.settings;
    const store = { endpoint, bucket, prefix, access_key: 'test', secret_key: 'test-secret' };
    await using server = await startServer({ config: { media_repo: { storage: { type: 'file', s3: store } } } });
    const request = createRequester(server.url);
    const body = { username: 'alice', password: 'correct horse battery', auth: { type: 'm.login.dummy' } };
    const token = textAt((await request('POST', '/_matrix/client/v3/register', { body })).body, 'access_token');
    const headers = { authorization: `Bearer ${token}` };
    const upload = await fetch(`${server.url}/_matrix/media/v3/upload`, { method: 'POST', headers, body: 'moved' });
    const uri = textAt(await upload.json(), 'content_uri');
    const config = join(server.directory, 'config.yaml');
    const cli = [join(import.meta.dirname, '../../bin/hammerhead.js'), 'media', 'migrate', '--config', config];
    const run = () => promisify(execFile)(process.execPath, [...cli, '--from', 'file', '--to', 's3']);
    assert.match((await run()).stdout, /^1 copied, 0 were there already, 0 strays removed$/m);
    assert.match((await run()).stdout, /^0 copied, 1 were there already, 0 strays removed$/m);
    assert.deepEqual(objects(), [hash('sha256', 'moved')]);
    await server.stop();
    await writeFile(config, (await readFile(config, 'utf8')).replace('"type": "file"', '"type": "s3"'));
    await rm(join(server.directory, 'data/media'), { recursive: true });
    await server.start();
    const path = uri.replace('mxc://', '/_matrix/client/v1/media/download/');
    assert.equal(await (await fetch(server.url + path, { headers })).text(), 'moved');
    const deleted = await fetch(`${server.url}/_hammerhead/v0/admin/media/${uri.replace('mxc://', '')}`, {
      method: 'DELETE',
      headers,
    });
    assert.deepEqual([deleted.status, objects()], [200, []]);
  });

  describe('migrateMedia', () => {
    const openStores = async (rootPath: string): Promise<{ files: MediaStore; bucket: MediaStore }> => ({
      files: await createFileStore({ rootPath, random: secureRandom }),
      bucket: await createS3Store({
        settings: s3.settings,
        spoolPath: join(folder, 'spool'),
        random: secureRandom,
        clock: systemClock,
      }),
    });

    test('files go to S3 and back while the server stores more, and a second run takes only those', async () => {
      await using server = await startMediaServer();
      const { files, bucket } = await openStores(server.rootPath);
      const { database } = server.db;
      const options = { database, clock: systemClock, onProgress: nothing };
      await server.upload('one');
      await server.upload('one');
      const doomed = await server.upload('two');
      const steps: MigrationProgress[] = [];
      const onProgress = (progress: MigrationProgress): void => void steps.push(progress);
      const first = await migrateMedia({ ...options, from: files, to: bucket, onProgress });
      assert.deepEqual([first.copied, first.present, first.bytes, first.failures, first.strays], [2, 0, 6, [], 0]);
      assert.equal(steps.length, 1);
      assert.deepEqual(objects(), server.files().toSorted());

      await server.upload('three');
      await server.media.admin.deleteOne('_', doomed);
      const second = await migrateMedia({ ...options, from: files, to: bucket });
      assert.deepEqual([second.copied, second.present, second.strays], [1, 1, 1]);
      assert.deepEqual(objects(), server.files().toSorted());

      await rm(server.rootPath, { recursive: true });
      const { files: emptied } = await openStores(server.rootPath);
      const back = await migrateMedia({ ...options, from: bucket, to: emptied });
      assert.deepEqual([back.copied, back.failures], [2, []]);
      assert.deepEqual(objects(), server.files().toSorted());
      const notes = await database.query({ name: 'notes', text: 'select 1 from media_file_checks', values: [] });
      assert.equal(notes.length, 0);
      for (const name of objects()) await bucket.delete(name);
    });

    test('a file that is missing or was altered is named and not copied', async () => {
      await using server = await startMediaServer();
      const { files, bucket } = await openStores(server.rootPath);
      await server.upload('good');
      await server.upload('altered');
      await server.upload('missing');
      const [altered, missing] = [hash('sha256', 'altered'), hash('sha256', 'missing')];
      await writeFile(join(server.rootPath, altered.slice(0, 2), altered.slice(2, 4), altered), 'Altered');
      await files.delete(missing);
      const { database } = server.db;
      const result = await migrateMedia({
        database,
        clock: systemClock,
        from: files,
        to: bucket,
        onProgress: nothing,
      });
      assert.equal(result.copied, 1);
      assert.deepEqual(
        new Map(result.failures.map(({ sha256, reason }) => [sha256, reason])),
        new Map([altered, missing].toSorted().map((sha256) => [sha256, sha256 === altered ? 'corrupt' : 'missing'])),
      );
      assert.deepEqual(objects(), [hash('sha256', 'good')]);
      await bucket.delete(hash('sha256', 'good'));
    });
  });
});

async function countMultipartUploads({ settings }: S3Server): Promise<number> {
  using client = new DisposableClient(settings);
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: settings.bucket }));
  return Uploads.length;
}

class DisposableClient extends S3Client {
  constructor({ endpoint = '', region, credentials }: S3Settings) {
    super({ endpoint, region, forcePathStyle: true, ...(credentials === undefined ? {} : { credentials }) });
  }

  [Symbol.dispose](): void {
    this.destroy();
  }
}
