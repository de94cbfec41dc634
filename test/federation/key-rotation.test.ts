/**
 * A new signing key: made while the server is stopped, published with its predecessor, and safe against a crash in between.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCli } from '../../src/cli/program.ts';
import { makeSigningKey, replaceSigningKey } from '../../src/config/signing-key.ts';
import { secureRandom } from '../../src/lib/random.ts';
import { announceSigningKey, ServerIdentityError } from '../../src/storage/server-identity.ts';
import { createTestAuthority } from '../support/certificates.ts';
import { call, startHomeserver, type TestHomeserver } from '../support/federation.ts';
import { entriesAt } from '../support/json.ts';

async function publishedKeys({ url }: TestHomeserver): Promise<{ current: string[]; old: string[] }> {
  const { body } = await call(url, { method: 'GET', path: '/_matrix/key/v2/server' });
  const ids = (field: string): string[] => entriesAt(body, field).map(([keyId]) => keyId);
  return { current: ids('verify_keys'), old: ids('old_verify_keys') };
}

test('a key is rotated, and the old one is published with the time at which it ended', async (context) => {
  await using authority = await createTestAuthority();
  await using server = await startHomeserver({ authority });
  await using peer = await startHomeserver({ authority });
  const printed: string[] = [];
  context.mock.method(console, 'log', (line: string) => printed.push(line));
  const alice = await server.register('alice');
  const profile = { method: 'GET', path: `/_matrix/client/v3/profile/${alice.userId}` };
  assert.equal((await call(peer.url, profile)).status, 200);
  const [first = ''] = (await publishedKeys(server)).current;
  await server.stop();
  assert.equal(await runCli(['keys', 'rotate', '--config', server.configPath]), 0);
  await server.start();
  const { current, old } = await publishedKeys(server);
  assert.deepEqual(old, [first]);
  assert.notDeepEqual(current, [first]);
  assert.equal(await runCli(['keys', 'list', '--config', server.configPath]), 0);
  assert.match(printed.join('\n'), new RegExp(`${current[0]} \\S+ current\n${first} \\S+ until `));
  // The peer knows the old key only, and learns the new one from the first request that it signs.
  const bob = await peer.register('bob');
  const answer = await call(server.url, { method: 'GET', path: `/_matrix/client/v3/profile/${bob.userId}` });
  assert.equal(answer.status, 200);
});

test('a crash between the steps of a rotation loses nothing, and a foreign key is refused as ever', async () => {
  await using authority = await createTestAuthority();
  await using server = await startHomeserver({ authority });
  const [first = ''] = (await publishedKeys(server)).current;
  const path = join(server.dataDir, 'signing.key');
  const next = makeSigningKey(secureRandom);
  await server.stop();
  await announceSigningKey(server.test.database, { signingKeyId: next.keyId, signingPublicKey: next.publicKey });
  // Announced only: the old key goes on.
  await server.start();
  assert.deepEqual(await publishedKeys(server), { current: [first], old: [] });
  await server.stop();
  // Its file is in place, and nobody has told the database.
  await replaceSigningKey(path, next);
  await server.start();
  assert.deepEqual(await publishedKeys(server), { current: [next.keyId], old: [first] });
  await server.stop();
  await writeFile(path, makeSigningKey(secureRandom).format());
  await assert.rejects(server.start(), ServerIdentityError);
  await writeFile(path, next.format());
  await server.start();
});
