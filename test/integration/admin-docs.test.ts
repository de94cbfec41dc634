/**
 * docs/admin-api.md says what is so: its commands run as written, every endpoint has its heading, and the tests that it
 * names are there.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { sql } from '../../src/storage/sql.ts';
import { type AdminServer, PSK, startAdminServer } from '../support/admin-server.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DOCUMENT = readFileSync(join(ROOT, 'docs/admin-api.md'), 'utf8');

describe('docs/admin-api.md', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
  });
  after(() => server[Symbol.asyncDispose]());

  test('every command runs as written, and gives JSON', async () => {
    const { roomId } = await server.user(server.admin).createRoom({ name: 'A room' });
    const { token } = await server.register('foo');
    await server
      .user(token)
      .ok('POST', `/users/${encodeURIComponent('@root:test.example')}/report`, { reason: 'spam' });
    await server.db.database.query(sql`
      insert into media (origin, media_id, kind, created_at, unused_expires_at, last_access_at)
      values ('test.example', 'abcdef', 'local', 1, 1, 1)`);
    const commands = [...DOCUMENT.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map((match) => match[1] ?? '');
    assert.ok(commands.length >= 25);
    for (const command of commands) {
      const { stdout } = await promisify(execFile)('bash', ['-euc', command], {
        env: {
          PATH: process.env['PATH'],
          SERVER: server.url,
          TOKEN: server.admin,
          SECRET: PSK,
          ROOM: encodeURIComponent(roomId),
        },
      });
      assert.equal(typeof JSON.parse(stdout), 'object', command);
      assert.ok(!stdout.includes('"errcode":"'), `${command}\n${stdout}`);
    }
  });

  test('every endpoint has a heading, and every heading of its kind an endpoint', () => {
    const headings = [...DOCUMENT.matchAll(/^### (.+)$/gm)].map((match) => match[1] ?? '');
    const summaries = server.endpoints.map(({ doc }) => doc.summary);
    assert.deepEqual(headings.toSorted(), summaries.toSorted());
  });

  test('every test that the table names is there', () => {
    const sources = globSync('admin-*.test.ts', { cwd: import.meta.dirname })
      .map((file) => readFileSync(join(import.meta.dirname, file), 'utf8'))
      .join('\n');
    const rows = [...DOCUMENT.matchAll(/^\| (?!statement|---)([^|]+) \| ([^|]+) \|$/gm)].filter(
      ({ index }) => index > DOCUMENT.indexOf('## What proves it'),
    );
    assert.ok(rows.length > 50);
    for (const [, , name = ''] of rows) {
      // Those of room versions are made in a loop.
      assert.ok(sources.includes(name.replace('version 12:', `version $${'{id}'}:`)), name);
    }
  });
});
