/**
 * Random users for a while: they make and join rooms, talk, read, write their state, leave. Nothing is refused that is
 * allowed, the log has no error, and memory stays within its bound.
 *
 *   node test/fault/soak.test.ts [--minutes 30]
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseArgs } from 'node:util';
import { getMemory } from '../support/processes.ts';
import { startServer } from '../support/server-process.ts';
import { SoakUser } from './soak-user.ts';

const { values: options } = parseArgs({ options: { minutes: { type: 'string' } }, strict: false });
const MINUTES = Number(options.minutes ?? (process.env['HAMMERHEAD_LONG_TESTS'] === '1' ? 30 : 0.15));
const USERS = 24;
/** What the room cache, the heap's growth and the young generation may take together, and some more. */
const MAX_RSS_BYTES = 400 * 1024 * 1024;

test(`${USERS} random users for ${MINUTES} minutes`, { timeout: MINUTES * 60_000 + 120_000 }, async (t) => {
  await using server = await startServer({
    config: { logging: { writers: [{ type: 'stdout', format: 'json', min_level: 'warn' }] } },
  });
  const rooms: string[] = [];
  const users = await Promise.all(
    Array.from({ length: USERS }, (_, index) => SoakUser.register(server.url, { name: `soak${index}`, rooms })),
  );
  const end = Date.now() + MINUTES * 60_000;
  let most = 0;
  const work = async (user: SoakUser): Promise<void> => {
    while (Date.now() < end) {
      await user.actAtRandom();
      most = Math.max(most, getMemory(server.pid ?? 0, 'VmRSS'));
    }
  };
  await Promise.all(users.map(work));
  const acts = users.reduce((sum, user) => sum + user.acts, 0);
  t.diagnostic(`${acts} requests in ${rooms.length} rooms, at most ${Math.round(most / 1024 ** 2)} MB`);
  assert.ok(acts > USERS * 10, `only ${acts} requests`);
  assert.ok(most < MAX_RSS_BYTES, `${Math.round(most / 1024 ** 2)} MB`);
  assert.equal(await server.stop(), 0);
  const complaints = readFileSync(join(server.directory, 'server.log'), 'utf8')
    .split('\n')
    .filter((line) => /"level":(?:5|6)0|"level":"(?:error|fatal)"/.test(line));
  assert.deepEqual(complaints, []);
});
