/**
 * What the admin API does to media, seen by those who download it: on the real repository, by the real paths.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import sharp from 'sharp';
import { createMediaModeration } from '../../src/media/media-moderation.ts';
import { SERVER, startMediaServer } from '../support/media-server.ts';

const image = (red: number): Promise<Buffer<ArrayBuffer>> =>
  sharp({ create: { width: 200, height: 200, channels: 3, background: { r: red, g: 0, b: 0 } } })
    .png()
    .toBuffer() as Promise<Buffer<ArrayBuffer>>;

/** None is needed for one file or one user. */
const jobs = {
  add: () => Promise.reject(new Error('no job is expected')),
  wake: () => undefined,
  wait: () => Promise.reject(new Error('no job is expected')),
};

describe('admin API: withdrawn media', () => {
  test('is 404 on every path, thumbnails and ranges included, and comes back as it was', async () => {
    await using server = await startMediaServer();
    const moderation = createMediaModeration({ database: server.db.database, serverName: SERVER, jobs });
    const content = new Uint8Array(await image(1));
    const id = await server.upload(content, { headers: { 'content-type': 'image/png' } });
    const paths = ['client/v1/media', 'media/v3'].flatMap((root) => [
      `/_matrix/${root}/download/${SERVER}/${id}`,
      `/_matrix/${root}/download/${SERVER}/${id}/name.png`,
      `/_matrix/${root}/thumbnail/${SERVER}/${id}?width=32&height=32&method=crop`,
    ]);
    const statuses = async (headers: Record<string, string> = {}): Promise<readonly number[]> => {
      const answers = await Promise.all(paths.map((path) => server.request('GET', path, { headers })));
      return answers.map(({ status }) => status);
    };
    const before = await statuses();
    assert.deepEqual(before.slice(0, 3), [200, 200, 200]);
    await moderation.quarantine('_', id, { by: '@root:hs1' });
    assert.deepEqual(await statuses(), Array(6).fill(404));
    assert.deepEqual(await statuses({ range: 'bytes=0-9' }), Array(6).fill(404));
    await moderation.quarantine(SERVER, id, { by: undefined });
    assert.deepEqual(await statuses(), before);
  });

  test('of a user goes as a whole, and another user’s equal file stays', async () => {
    await using server = await startMediaServer();
    const moderation = createMediaModeration({ database: server.db.database, serverName: SERVER, jobs });
    const content = new Uint8Array(await image(2));
    const mine = await server.upload(content, { token: 'mallory' });
    const theirs = await server.upload(content, { token: 'alice' });
    assert.equal(await moderation.quarantineUser(`@mallory:${SERVER}`, { by: '@root:hs1' }), 1);
    assert.equal((await server.download(mine)).status, 404);
    assert.equal((await server.download(theirs)).status, 200);
    const usage = await moderation.listOfUser({ userId: `@mallory:${SERVER}`, after: undefined, limit: 10 });
    assert.deepEqual(
      usage.map(({ media_id, quarantined_by }) => [media_id, quarantined_by]),
      [[mine, '@root:hs1']],
    );
  });

  test('purge: each criterion takes what it names and nothing else, and several mean any of them', async () => {
    await using server = await startMediaServer();
    const insert = (kind: string, id: string, { origin = 'hs1', user = '' } = {}) =>
      server.db.database.query({
        name: `insert_${kind}_${id}`,
        text: `insert into media (origin, media_id, kind, user_id, sha256, unused_expires_at, created_at, last_access_at)
          values ($1, $2, $3, nullif($4, ''), case when $2 = 'sparse' then null else repeat('ab', 32) end, 9000000000000, 1, 1)`,
        values: [origin, id, kind, user],
      });
    const fill = async (): Promise<void> => {
      await insert('local', 'local', { user: '@a:hs1' });
      await insert('local', 'sparse', { user: '@a:hs1' });
      await insert('remote', 'remote', { origin: 'other.example', user: '@b:other.example' });
      await insert('remote', 'third', { origin: 'third.example' });
      await insert('external', 'cache');
    };
    const left = async (): Promise<readonly string[]> => {
      const rows = await server.db.database.query<{ id: string }>({
        name: 'left',
        text: 'select media_id as id from media order by 1',
        values: [],
      });
      return rows.map(({ id }) => id);
    };
    for (const [criteria, gone] of [
      [{}, []],
      [{ allRemoteMedia: true }, ['remote', 'third']],
      [{ allLocalMedia: true }, ['local', 'sparse']],
      [{ allCaches: true }, ['cache']],
      [{ allSparse: true }, ['sparse']],
      [{ origin: '_' }, ['local', 'sparse']],
      [{ origin: 'other.example' }, ['remote']],
      [{ origin: 'no server name!' }, []],
      [{ user: '@a:hs1' }, ['local', 'sparse']],
      [{ user: '@b:other.example' }, ['remote']],
      [{ allRemoteMedia: true, origin: '_' }, ['local', 'remote', 'sparse', 'third']],
      [{ allRemoteMedia: true, allCaches: true }, ['cache', 'remote', 'third']],
      [{ allSparse: true, user: '@b:other.example' }, ['remote', 'sparse']],
    ] as const) {
      await fill();
      const all = await left();
      const counts = await server.media.admin.purge(criteria);
      assert.deepEqual(
        await left(),
        all.filter((id) => !gone.some((one) => one === id)),
        JSON.stringify(criteria),
      );
      assert.deepEqual(counts, { ok: gone.length, fail: 0 }, JSON.stringify(criteria));
      await server.media.admin.purge({ allLocalMedia: true, allRemoteMedia: true, allCaches: true });
    }
  });
});
