/**
 * What goes from the repository, and when: purges, unused ids, retention, and files that a crash left in doubt.
 */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { secureRandom } from '../../src/lib/random.ts';
import { createCleaner } from '../../src/media/cleaner.ts';
import { createFileStore } from '../../src/media/file-store.ts';
import type { PurgeCriteria } from '../../src/media/media-admin.ts';
import type { RemoteFile } from '../../src/media/remote-media.ts';
import type { ServerName } from '../../src/protocol/ids.ts';
import { insertFileChecks } from '../../src/storage/media-files.ts';
import { at, textAt } from '../support/json.ts';
import { type MediaServer, SERVER, startMediaServer } from '../support/media-server.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const OTHER = 'other.example' as ServerName;
const THIRD = 'third.example' as ServerName;

/** Two servers; the first says who uploaded, and lies about `liar`. */
const fetchRemoteFile = async ({ origin, mediaId }: { origin: string; mediaId: string }): Promise<RemoteFile> => ({
  contentType: 'text/plain',
  fileName: undefined,
  userId: mediaId === 'liar' ? `@alice:${SERVER}` : origin === OTHER ? `@eve:${OTHER}` : undefined,
  chunks: chunksOf(`${origin} ${mediaId}`),
});

async function fetchFrom(server: MediaServer, origin: string, mediaId: string): Promise<number> {
  return (await server.request('GET', `/_matrix/client/v1/media/download/${origin}/${mediaId}`)).status;
}

async function listMedia(server: MediaServer): Promise<readonly string[]> {
  const text = `select origin || ' ' || kind || ' ' || coalesce(user_id, '') as media from media order by 1`;
  return (await server.db.database.query({ name: 'list', text, values: [] })).map((row) => textAt(row, 'media'));
}

async function countNotes(server: MediaServer): Promise<number> {
  return (await server.db.database.query({ name: 'notes', text: 'select 1 from media_file_checks', values: [] }))
    .length;
}

describe('purges', () => {
  const start = async (): Promise<MediaServer> => {
    const server = await startMediaServer({ media: { fetchRemoteFile }, limits: { unusedLifetime: DAY } });
    await server.upload('of alice');
    await server.upload('of bob', { token: 'bob' });
    await server.request('POST', '/_matrix/media/v1/create', { token: 'bob' });
    await fetchFrom(server, OTHER, 'one');
    await fetchFrom(server, THIRD, 'two');
    const text = `insert into media (origin, media_id, kind, sha256, created_at, last_access_at)
      values ($1, 'cached', 'external', $2, 0, 0)`;
    await server.db.database.query({ name: 'cache', text, values: [SERVER, hash('sha256', 'of alice')] });
    return server;
  };
  const ALICE = `${SERVER} local @alice:${SERVER}`;
  const BOB = `${SERVER} local @bob:${SERVER}`;
  const CACHE = `${SERVER} external `;
  const ONE = `${OTHER} remote @eve:${OTHER}`;
  const TWO = `${THIRD} remote `;

  for (const [name, criteria, left, ok] of [
    ['nothing', {}, [CACHE, ALICE, BOB, BOB, ONE, TWO], 0],
    ['remote media', { allRemoteMedia: true }, [CACHE, ALICE, BOB, BOB], 2],
    ['local media, sparse ones with it', { allLocalMedia: true }, [CACHE, ONE, TWO], 3],
    ['caches', { allCaches: true }, [ALICE, BOB, BOB, ONE, TWO], 1],
    ['sparse media', { allSparse: true }, [CACHE, ALICE, BOB, ONE, TWO], 1],
    ['a server', { origin: OTHER }, [CACHE, ALICE, BOB, BOB, TWO], 1],
    ['this server, whose caches are not of it', { origin: '_' }, [CACHE, ONE, TWO], 3],
    ['this server by its name', { origin: SERVER }, [CACHE, ONE, TWO], 3],
    ['a local user', { user: `@bob:${SERVER}` }, [CACHE, ALICE, ONE, TWO], 2],
    ['a user of another Hammerhead server', { user: `@eve:${OTHER}` }, [CACHE, ALICE, BOB, BOB, TWO], 1],
    ['what meets any criterion', { allRemoteMedia: true, origin: '_' }, [CACHE], 5],
    ['caches or a user', { allCaches: true, user: `@alice:${SERVER}` }, [BOB, BOB, ONE, TWO], 2],
    ['what can match nothing', { origin: '../..', user: 'nobody\0' }, [CACHE, ALICE, BOB, BOB, ONE, TWO], 0],
  ] as const satisfies readonly (readonly [string, PurgeCriteria, readonly string[], number])[]) {
    test(`of ${name}`, async () => {
      await using server = await start();
      assert.deepEqual(await server.media.admin.purge(criteria), { ok, fail: 0 });
      assert.deepEqual(await listMedia(server), [...left].sort());
      const named = await server.db.database.query({
        name: 'named',
        text: 'select distinct sha256 from media where sha256 is not null',
        values: [],
      });
      assert.deepEqual(
        new Set(server.files()),
        new Set(named.map((row) => at(row, 'sha256'))),
        'files go with their last row',
      );
      assert.equal(await countNotes(server), 0);
    });
  }

  test('a server speaks for its own users only', async () => {
    await using server = await startMediaServer({ media: { fetchRemoteFile } });
    assert.equal(await fetchFrom(server, OTHER, 'liar'), 200);
    assert.deepEqual(await listMedia(server), [`${OTHER} remote `]);
  });

  test('of more than one batch leave nothing', async () => {
    await using server = await startMediaServer();
    const text = `insert into media (origin, media_id, kind, user_id, sha256, created_at, last_access_at)
      select $1, 'm' || n, 'local', '@alice:hs1', encode(sha256(n::text::bytea), 'hex'), 0, 0
      from generate_series(1, 2500) as n`;
    await server.db.database.query({ name: 'many', text, values: [SERVER] });
    assert.deepEqual(await server.media.admin.purge({ allLocalMedia: true }), { ok: 2_500, fail: 0 });
    assert.deepEqual(await listMedia(server), []);
  });

  test('a file that cannot be removed counts as failed, and is tried again by the next cleaning', async () => {
    await using server = await startMediaServer();
    const mediaId = await server.upload('stuck');
    const sha256 = hash('sha256', 'stuck');
    const path = join(server.rootPath, sha256.slice(0, 2), sha256.slice(2, 4), sha256);
    // A folder in its place is what no right of the process can unlink.
    await rm(path);
    await mkdir(join(path, 'inside'), { recursive: true });
    assert.deepEqual(await server.media.admin.purge({ origin: '_' }), { ok: 0, fail: 1 });
    assert.equal((await server.download(mediaId)).status, 404);
    assert.deepEqual([await countNotes(server), server.faults.length], [1, 1]);
    await rm(path, { recursive: true });
    await writeFile(path, 'stuck');
    await server.media.cleaner.clean();
    assert.deepEqual([server.files(), await countNotes(server)], [[], 0]);
  });

  test('one piece of media: gone on every path, a second time as good as the first', async () => {
    await using server = await startMediaServer();
    const mediaId = await server.upload('x');
    await assert.rejects(server.media.admin.deleteOne('', mediaId), { errcode: 'M_MISSING_PARAM' });
    for (let time = 0; time < 2; time++) {
      assert.deepEqual(await server.media.admin.deleteOne('_', mediaId), { ok: 1, fail: 0 });
      assert.equal((await server.download(mediaId)).status, 404);
    }
    assert.deepEqual(server.files(), []);
  });

  test('an equal file that is uploaded while the last one goes survives', async () => {
    await using server = await startMediaServer();
    for (let round = 0; round < 20; round++) {
      const first = await server.upload('same');
      const [, second] = await Promise.all([server.media.admin.deleteOne('_', first), server.upload('same')]);
      assert.equal((await server.download(second)).bytes.toString(), 'same');
      await server.media.admin.deleteOne('_', second);
    }
    assert.deepEqual([server.files(), server.staged(), await countNotes(server)], [[], [], 0]);
  });
});

describe('retention', () => {
  test('keeps everything by default', async () => {
    await using server = await startMediaServer({ media: { fetchRemoteFile } });
    await server.upload('local');
    await fetchFrom(server, OTHER, 'one');
    server.clock.advance(4_000 * DAY);
    await server.media.cleaner.clean();
    assert.equal((await listMedia(server)).length, 2);
  });

  test('goes by the last access, with a time for local and one for remote media', async () => {
    const retention = { localMedia: 10 * DAY, remoteMedia: 5 * DAY, maxRemoteBytes: 0 };
    await using server = await startMediaServer({ media: { fetchRemoteFile, retention: () => retention } });
    const [used, unused] = [await server.upload('used'), await server.upload('unused')];
    await fetchFrom(server, OTHER, 'one');
    server.clock.advance(6 * DAY);
    assert.equal((await server.download(used)).status, 200);
    // The access is noted behind the answer.
    await sleep(100);
    await server.media.cleaner.clean();
    assert.deepEqual(await listMedia(server), Array(2).fill(`${SERVER} local @alice:${SERVER}`));
    server.clock.advance(5 * DAY);
    await server.media.cleaner.clean();
    assert.equal((await server.download(unused)).status, 404);
    assert.equal((await server.download(used)).bytes.toString(), 'used');
    assert.deepEqual(server.files(), [hash('sha256', 'used')]);
    assert.equal(await fetchFrom(server, OTHER, 'one'), 200, 'fetched again');
  });
});

describe('D2: the disk is not filled with media of others', () => {
  test('by many: what was used longest ago goes when there is too much', async () => {
    const retention = { localMedia: 0, remoteMedia: 0, maxRemoteBytes: 40 };
    await using server = await startMediaServer({ media: { fetchRemoteFile, retention: () => retention } });
    await server.upload('local media do not count'.repeat(9));
    // 15 bytes each.
    for (const mediaId of ['a', 'b', 'c', 'd']) {
      assert.equal(await fetchFrom(server, OTHER, mediaId), 200);
      server.clock.advance(2 * HOUR);
    }
    assert.equal(await fetchFrom(server, OTHER, 'a'), 200);
    await sleep(100);
    await server.media.cleaner.clean();
    const text = `select media_id from media where kind = 'remote' order by media_id`;
    const kept = await server.db.database.query({ name: 'kept', text, values: [] });
    assert.deepEqual(
      kept.map((row) => at(row, 'media_id')),
      ['a', 'd'],
    );
    assert.equal(server.files().length, 3);
  });

  test('by one user, or one address: who had too much fetched waits, others do not', async () => {
    const remoteLimits = () => ({ burst: 20, perSecond: 1 });
    const unauthenticatedAccess = () => 'allowed' as const;
    await using server = await startMediaServer({ media: { fetchRemoteFile, remoteLimits, unauthenticatedAccess } });
    const get = (mediaId: string, token = 'alice', root = 'client/v1/media') =>
      server.request('GET', `/_matrix/${root}/download/${OTHER}/${mediaId}`, { token });
    assert.deepEqual([(await get('a')).status, (await get('b')).status], [200, 200]);
    const refused = await get('c');
    assert.deepEqual([refused.status, at(refused.json, 'errcode')], [429, 'M_LIMIT_EXCEEDED']);
    const retryAfter = Number(at(refused.json, 'retry_after_ms'));
    assert.ok(retryAfter > 9_000 && retryAfter <= 12_000, String(retryAfter));
    assert.equal((await get('a')).status, 200, 'what is here costs nothing');
    assert.equal((await get('c', 'bob')).status, 200);
    for (const [mediaId, status] of Object.entries({ d: 200, e: 200, f: 429 })) {
      assert.equal((await get(mediaId, '', 'media/v3')).status, status);
    }
    server.clock.advance(retryAfter);
    assert.equal((await get('g')).status, 200);
  });
});

describe('cleaning', () => {
  test('removes ids that nobody used in time', async () => {
    await using server = await startMediaServer();
    await server.request('POST', '/_matrix/media/v1/create');
    server.clock.advance(30_000);
    await server.media.cleaner.clean();
    assert.equal((await listMedia(server)).length, 1);
    server.clock.advance(2 * HOUR);
    await server.media.cleaner.clean();
    assert.deepEqual(await listMedia(server), []);
  });

  test('decides about files in doubt: named ones stay, others go', async () => {
    await using server = await startMediaServer();
    await server.upload('named');
    const stray = hash('sha256', 'stray');
    const path = join(server.rootPath, stray.slice(0, 2), stray.slice(2, 4), stray);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, 'stray');
    await insertFileChecks(server.db.database, [stray, hash('sha256', 'named'), hash('sha256', 'absent')], 0);
    await server.media.cleaner.clean();
    assert.deepEqual([server.files(), await countNotes(server)], [[hash('sha256', 'named')], 0]);
  });

  test('removes what an earlier process left half uploaded, at start', async () => {
    await using first = await startMediaServer();
    await writeFile(join(first.rootPath, 'tmp', 'left'), 'half');
    await using second = await startMediaServer({ db: first.db, rootPath: first.rootPath });
    assert.deepEqual(second.staged(), []);
  });

  test('begins at start, and again every three hours, whatever stood in the way', async () => {
    const delays: number[] = [];
    const callbacks: (() => void)[] = [];
    const clock: Clock = {
      ...systemClock,
      after(delay, callback) {
        delays.push(delay);
        callbacks.push(callback);
        return { [Symbol.dispose]: () => undefined };
      },
    };
    await using server = await startMediaServer();
    const files = await createFileStore({ rootPath: server.rootPath, random: secureRandom });
    let cleanings = 0;
    const store = {
      ...files,
      clearAbandoned() {
        cleanings += 1;
        return cleanings === 2 ? Promise.reject(new Error('the store is away')) : files.clearAbandoned();
      },
    };
    const retention = () => ({ localMedia: 0, remoteMedia: 0, maxRemoteBytes: 0 });
    const { database } = server.db;
    const cleaner = createCleaner({ database, store, clock, logger: silentLogger, retention });
    cleaner.start();
    for (let times = 1; times <= 3; times++) {
      while (callbacks.length < times) await sleep(5);
      assert.equal(cleanings, times);
      callbacks.at(-1)?.();
    }
    await cleaner[Symbol.asyncDispose]();
    assert.deepEqual(new Set(delays), new Set([3 * HOUR]));
  });
});

describe('media of other servers', () => {
  test('whatever breaks on the way is the other server’s fault, and leaves nothing', async () => {
    await using server = await startMediaServer({
      media: {
        fetchRemoteFile: async ({ mediaId }) =>
          mediaId === 'none'
            ? undefined
            : { contentType: 'a\r\nb', fileName: 'x\0y', chunks: mediaId === 'cut' ? cutOff() : chunksOf('x') },
      },
    });
    assert.equal(await fetchFrom(server, OTHER, 'none'), 404);
    assert.equal(await fetchFrom(server, OTHER, 'cut'), 502);
    assert.deepEqual([server.files(), server.staged(), server.faults], [[], [], []]);
    const answer = await server.request('GET', `/_matrix/client/v1/media/download/${OTHER}/odd`);
    assert.equal(answer.headers.get('content-type'), 'application/octet-stream');
    assert.equal(answer.headers.get('content-disposition'), 'attachment; filename="xy"');
  });
});

async function* chunksOf(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}

async function* cutOff(): AsyncGenerator<Buffer> {
  yield Buffer.from('half');
  throw new Error('socket hang up');
}
