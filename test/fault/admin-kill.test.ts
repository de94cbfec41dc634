/**
 * SIGKILL in the middle of a deactivation with redactions, and of a room deletion: the next start finishes both, and
 * nothing is half done.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRequester } from '../support/accounts-server.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { TestUser } from '../support/rooms-server.ts';
import { startServer } from '../support/server-process.ts';

const MESSAGES = 400;
const FINISH_TIMEOUT_MS = 60_000;

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
});
