import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startServer } from '../support/server-process.ts';

/** Asks until the answer is as expected: a signal is handled some time after it was sent. */
async function waitForStatus(request: () => Promise<Response>, expected: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if ((await request()).status === expected) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal((await request()).status, expected);
}

test('SIGHUP takes over what can change, and keeps the old configuration where the new one is broken', async () => {
  await using server = await startServer();
  const config = join(server.directory, 'config.yaml');
  const text = await readFile(config, 'utf8');
  const register = (name: string) =>
    fetch(`${server.url}/_matrix/client/v3/register`, {
      method: 'POST',
      body: JSON.stringify({
        username: name,
        password: 'correct horse battery staple',
        auth: { type: 'm.login.dummy' },
      }),
    });
  assert.equal((await register('alice')).status, 200);
  const { pid } = server;
  assert.ok(pid);
  const parsed = JSON.parse(text);
  await writeFile(config, JSON.stringify({ ...parsed, registration: { ...parsed.registration, enabled: false } }));
  process.kill(pid, 'SIGHUP');
  await waitForStatus(() => register('bob'), 403);
  await writeFile(config, 'registration: {enabled: perhaps}');
  process.kill(pid, 'SIGHUP');
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal((await register('carol')).status, 403);
  await writeFile(config, text);
  process.kill(pid, 'SIGHUP');
  await waitForStatus(() => register('dave'), 200);
});
