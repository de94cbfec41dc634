/**
 * SIGKILL in the middle of a deactivation with redactions and of a room deletion: the next start finishes both. In the
 * middle of uploads and of a purge of media: what was answered is there or gone as a whole. Nothing is half done.
 */
import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRequester } from '../support/accounts-server.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { TestUser } from '../support/rooms-server.ts';
import { startServer } from '../support/server-process.ts';

const MESSAGES = 400;
const FINISH_TIMEOUT_MS = 60_000;
const UPLOADERS = 8;
const FILE_BYTES = 200_000;

describe('SIGKILL', () => {
  for (const delay of [60, 250]) {
    test(`${delay} ms into a deactivation with redactions and a room deletion`, async () => {
      await using server = await startServer();
      const request = createRequester(server.url);
      const register = async (username: string) => {
        const body = { username, password: 'correct horse battery', auth: { type: 'm.login.dummy' } };
        const answer = await request('POST', '/_matrix/client/v3/register', { body });
        return { userId: textAt(answer.body, 'user_id'), token: textAt(answer.body, 'access_token') };
      };
      const [admin, owner, target] = [await register('admin'), await register('owner'), await register('target')];
      const host = new TestUser(server.url, owner.token);
      const guest = new TestUser(server.url, target.token);
      const kept = await host.createRoom({ preset: 'public_chat' });
      const doomed = await host.createRoom({ preset: 'public_chat' });
      await guest.room(kept.roomId).join();
      await guest.room(doomed.roomId).join();
      for (const room of [guest.room(kept.roomId), guest.room(doomed.roomId)]) {
        await Promise.all(Array.from({ length: MESSAGES }, (_, index) => room.send(`message ${index}`)));
      }

      const api = (method: string, path: string, body?: unknown) =>
        request(method, `/_hammerhead/v0/admin${path}`, {
          token: admin.token,
          ...(body === undefined ? {} : { body }),
        });
      const cut = Promise.allSettled([
        api('POST', '/users/target/deactivate', { redact: true, erase: true }),
        api('DELETE', `/rooms/${encodeURIComponent(doomed.roomId)}`, {}),
      ]);
      await sleep(delay);
      await server.kill();
      await cut;
      await server.start();

      const deadline = Date.now() + FINISH_TIMEOUT_MS;
      const isDone = async (): Promise<boolean> => {
        const jobs = listAt((await api('GET', '/jobs')).body, 'chunk');
        return !jobs.some((job) => at(job, 'kind') !== 'delete_abandoned_room' && at(job, 'finished_at') === undefined);
      };
      while (!(await isDone()) && Date.now() < deadline) await sleep(50);

      const details = await api('GET', '/users/target');
      assert.deepEqual([at(details.body, 'deactivated'), at(details.body, 'erased')], [true, true]);
      assert.deepEqual(at(details.body, 'rooms'), { join: [], invite: [], knock: [] });
      assert.equal((await api('GET', `/rooms/${encodeURIComponent(doomed.roomId)}`)).status, 404);
      const messages = await kept.ok('GET', '/messages?dir=b&limit=1000');
      const texts = listAt(messages, 'chunk').filter((event) => at(event, 'content', 'body') !== undefined);
      assert.deepEqual(texts, []);
      await kept.send('the room goes on');
    });
  }

  for (const delay of [40, 400]) {
    test(`${delay} ms into uploads and a purge of media`, async () => {
      await using server = await startServer();
      const request = createRequester(server.url);
      const register = async (username: string) => {
        const body = { username, password: 'correct horse battery', auth: { type: 'm.login.dummy' } };
        const answer = await request('POST', '/_matrix/client/v3/register', { body });
        return { userId: textAt(answer.body, 'user_id'), token: textAt(answer.body, 'access_token') };
      };
      const [admin, keeper, target] = [await register('admin'), await register('keeper'), await register('target')];
      const api = (method: string, path: string, body?: unknown) =>
        request(method, `/_hammerhead/v0/admin${path}`, {
          token: admin.token,
          ...(body === undefined ? {} : { body }),
        });
      /** Media ids that were answered, with the SHA-256 of their content. */
      const answered = new Map<string, string>();
      const upload = async (token: string): Promise<string> => {
        const content = randomBytes(FILE_BYTES);
        const response = await fetch(`${server.url}/_matrix/media/v3/upload`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream' },
          body: content,
        });
        const id =
          textAt(await response.json(), 'content_uri')
            .split('/')
            .at(-1) ?? '';
        answered.set(id, hash('sha256', content));
        return id;
      };
      const purged = new Set<string>();
      for (let index = 0; index < 60; index++) purged.add(await upload(target.token));

      const load = Array.from({ length: UPLOADERS }, async () => {
        for (;;) await upload(keeper.token);
      });
      const purge = api('POST', '/media/purge', { user: target.userId });
      const cut = Promise.allSettled([purge, ...load]);
      await sleep(delay);
      await server.kill();
      await cut;
      await server.start();

      const list = async (name: string): Promise<readonly unknown[]> =>
        listAt((await api('GET', `/users/${name}/media?limit=1000`)).body, 'chunk');
      const isDownloadable = async (id: string): Promise<boolean> => {
        const path = `${server.url}/_matrix/client/v1/media/download/localhost/${id}`;
        const response = await fetch(path, { headers: { authorization: `Bearer ${admin.token}` } });
        const content = Buffer.from(await response.arrayBuffer());
        if (response.status === 200) assert.equal(hash('sha256', content), answered.get(id) ?? hash('sha256', content));
        return response.status === 200;
      };
      for (const id of answered.keys()) if (!purged.has(id)) assert.ok(await isDownloadable(id), `${id} is lost`);
      const listed = [...(await list('keeper')), ...(await list('target'))].map((media) => textAt(media, 'media_id'));
      for (const id of listed) assert.ok(await isDownloadable(id), `${id} has a row and no file`);
      for (const id of purged) assert.equal(await isDownloadable(id), listed.includes(id), `${id} is half gone`);

      const countFiles = (): number =>
        globSync('**/*', { cwd: join(server.directory, 'data/media') }).filter((name) => /[0-9a-f]{64}$/.test(name))
          .length;
      const deadline = Date.now() + FINISH_TIMEOUT_MS;
      while (countFiles() !== listed.length && Date.now() < deadline) await sleep(50);
      assert.equal(countFiles(), listed.length, 'files that nothing names');
      assert.deepEqual(globSync('tmp/*', { cwd: join(server.directory, 'data/media') }), []);

      const again = await api('POST', '/media/purge', { user: target.userId });
      assert.equal(at(again.body, 'fail'), 0);
      assert.deepEqual(await list('target'), []);
    });
  }
});
