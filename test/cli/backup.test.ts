/**
 * Backup and restore with real processes: a running server is saved, the backup is verified, damaged, restored elsewhere,
 * and the restored server goes on.
 */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createProgressLine, renderProgress } from '../../src/cli/progress-line.ts';
import { withClient } from '../../src/storage/connection.ts';
import { sortByReferences } from '../../src/storage/database-snapshot.ts';
import { hammerhead } from '../support/cli.ts';
import { createTestDatabase } from '../support/database.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { type ServerProcess, startServer } from '../support/server-process.ts';

const PASSWORD = 'correct horse battery staple';

let server: ServerProcess;
let scratch: string;
let config: string;
let token: string;
let room: string;
let mxc: string;

async function ask(url: string, method: string, path: string, body?: unknown): Promise<unknown> {
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const json: unknown = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(json));
  return json;
}

const send = (url: string, body: string, txnId: string) =>
  ask(url, 'PUT', `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/send/m.room.message/${txnId}`, {
    msgtype: 'm.text',
    body,
  });

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'hammerhead-backup-'));
  server = await startServer();
  config = join(server.directory, 'config.yaml');
  const register = { username: 'alice', password: PASSWORD, auth: { type: 'm.login.dummy' } };
  const made = await fetch(`${server.url}/_matrix/client/v3/register`, {
    method: 'POST',
    body: JSON.stringify(register),
  });
  token = textAt(await made.json(), 'access_token');
  room = textAt(await ask(server.url, 'POST', '/_matrix/client/v3/createRoom', { name: 'tab\there' }), 'room_id');
  // What COPY's text format has to escape.
  await send(server.url, 'line\nbreak, tab\t, backslash \\, "quotes" and \\N', 'before');
  mxc = textAt(await ask(server.url, 'POST', '/_matrix/media/v3/upload?filename=a.txt', 'a file'), 'content_uri');
});
after(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
});

async function backup(name: string, ...options: readonly string[]): Promise<string> {
  const folder = join(scratch, name);
  const { status, stderr } = await hammerhead(['backup', folder, '--config', config, ...options]);
  assert.equal(status, 0, stderr);
  return folder;
}

/** A configuration for a server on an empty data folder beside it. */
function newHome(name: string, changes: Readonly<Record<string, unknown>> = {}): { config: string; directory: string } {
  const directory = mkdtempSync(join(tmpdir(), `hammerhead-${name}-`));
  // Started as root, PostgreSQL runs as another user, who has to get through this folder.
  chmodSync(directory, 0o755);
  const path = join(directory, 'config.yaml');
  writeFileSync(path, JSON.stringify({ server_name: 'localhost', data_dir: join(directory, 'data'), ...changes }));
  homes.push(directory);
  return { config: path, directory };
}
const homes: string[] = [];
after(() => {
  for (const home of homes) rmSync(home, { recursive: true, force: true, maxRetries: 5 });
});

describe('backup and restore', () => {
  test('a running server is saved, verified, for its user alone, and never over something', async () => {
    const folder = join(scratch, 'verified');
    const { status, stdout, stderr } = await hammerhead([
      'backup',
      folder,
      '--config',
      config,
      '--media',
      '--verify',
      '--json',
    ]);
    assert.equal(status, 0, stderr);
    const saved = JSON.parse(stdout);
    assert.equal(saved.verified, true);
    assert.deepEqual([saved.media.files, saved.media.included, saved.media.missing], [1, true, 0]);
    const events = listAt(saved, 'tables').find((table) => at(table, 'name') === 'events');
    assert.ok(Number(at(events, 'rows')) >= 7);
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    assert.equal(statSync(join(folder, 'signing.key')).mode & 0o777, 0o600);
    assert.deepEqual(readFileSync(join(folder, 'config.yaml')), readFileSync(config));
    const again = await hammerhead(['backup', folder, '--config', config]);
    assert.equal(again.status, 1);
    assert.match(again.stderr, /already there/);
    assert.deepEqual(
      readdirSync(scratch).filter((name) => name.endsWith('.unfinished')),
      [],
    );
  });

  test('L13: a restored server has everything, and clients go on where they were', async () => {
    const folder = await backup('moved', '--media');
    // After the backup: what the restored server has never heard of.
    await send(server.url, 'lost', 'lost');
    const lost = textAt(await ask(server.url, 'GET', '/_matrix/client/v3/sync?timeout=0'), 'next_batch');
    const home = newHome('restored');
    const restored = await hammerhead(['restore', folder, '--config', home.config]);
    assert.equal(restored.status, 0, restored.stderr);
    assert.match(restored.stdout, /^restored localhost as it was at /);
    await using other = await startServer({ directory: home.directory });
    const messages = await ask(other.url, 'GET', `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages?dir=b`);
    const bodies = listAt(messages, 'chunk').map((event) => at(event, 'content', 'body'));
    assert.equal(bodies[0], 'line\nbreak, tab\t, backslash \\, "quotes" and \\N');
    assert.ok(!bodies.includes('lost'));
    // The same signing key and the same file.
    assert.deepEqual(
      readFileSync(join(home.directory, 'data', 'signing.key')),
      readFileSync(join(server.directory, 'data', 'signing.key')),
    );
    const file = await fetch(`${other.url}/_matrix/client/v1/media/download/${mxc.slice('mxc://'.length)}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    assert.equal(await file.text(), 'a file');
    // A token from the time that was lost is not ahead of the stream: what comes now reaches its client.
    const sent = textAt(await send(other.url, 'after the restore', 'after'), 'event_id');
    const synced = await ask(other.url, 'GET', `/_matrix/client/v3/sync?timeout=0&since=${lost}`);
    const ids = listAt(synced, 'rooms', 'join', room, 'timeline', 'events').map((event) => at(event, 'event_id'));
    assert.ok(ids.includes(sent));
    const second = await hammerhead(['restore', folder, '--config', home.config]);
    assert.equal(second.status, 1);
    assert.match(second.stderr, /another server already runs|not empty/);
  });

  test('a stopped server is saved as well, and restores into a PostgreSQL of yours, once', async () => {
    assert.equal(await server.stop(), 0);
    const folder = await backup('stopped', '--verify');
    await server.start();
    await using db = await createTestDatabase({ migrated: false });
    const home = newHome('foreign', { database: { url: db.connection } });
    const restored = await hammerhead(['restore', folder, '--config', home.config, '--json']);
    assert.equal(restored.status, 0, restored.stderr);
    const { rows } = await withClient(db.connection, (client) => client.query('select localpart from accounts'));
    assert.deepEqual(rows, [{ localpart: 'alice' }]);
    const second = await hammerhead(['restore', folder, '--config', home.config]);
    assert.equal(second.status, 1);
    assert.match(second.stderr, /the database is not empty, it belongs to localhost/);
  });

  test('F2: one-time keys of a backup are not given out again', async () => {
    const folder = await backup('keys');
    await using db = await createTestDatabase();
    // As the tables of the migrations are named.
    await withClient(db.connection, async (client) => {
      await client.query('create table if not exists one_time_keys (user_id text, key text)');
      await client.query('truncate one_time_keys');
    });
    const home = newHome('keys', { database: { url: db.connection } });
    const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
    const restored = await hammerhead(['restore', folder, '--config', home.config, '--json']);
    assert.equal(restored.status, 0, restored.stderr);
    assert.ok(listAt(JSON.parse(restored.stdout), 'emptied').includes('one_time_keys'));
    const position = await withClient(db.connection, (client) => client.query('select position from stream_writers'));
    assert.ok(position.rows[0].position > 2 ** 32);
    assert.ok(manifest.tables.length > 20);
  });

  test('a damaged backup is found out, and restores nothing', async () => {
    const folder = await backup('damaged', '--media');
    const check = () => hammerhead(['restore', folder, '--verify']);
    assert.equal((await check()).status, 0);
    const damages: readonly [string, RegExp][] = [
      ['database/events.copy.zst', /events\.copy\.zst is not what was saved/],
      ['signing.key', /signing\.key is not what was saved/],
      ['media.tsv', /media\.tsv is not what was saved/],
      ['config.yaml', /config\.yaml is not what was saved/],
    ];
    for (const [name, message] of damages) {
      const path = join(folder, name);
      const good = readFileSync(path);
      appendFileSync(path, 'x');
      const { status, stderr } = await check();
      assert.equal(status, 1, name);
      assert.match(stderr, message);
      writeFileSync(path, good);
    }
    const [file = ''] = readdirSync(join(folder, 'media'), { recursive: true, encoding: 'utf8' }).filter((name) =>
      /[0-9a-f]{64}$/.test(name),
    );
    writeFileSync(join(folder, 'media', file), 'another');
    assert.match((await check()).stderr, /is not what was saved/);
    rmSync(join(folder, 'manifest.json'));
    assert.match((await check()).stderr, /no complete backup/);
  });

  test('a table that would come back with other rows fails the comparison', async () => {
    const folder = await backup('other-rows');
    const path = join(folder, 'manifest.json');
    const manifest = JSON.parse(readFileSync(path, 'utf8'));
    const events = listAt(manifest, 'tables').find((table) => at(table, 'name') === 'events');
    Object.assign(Object(events), { digest: '0'.repeat(64) });
    writeFileSync(path, JSON.stringify(manifest));
    const { status, stderr } = await hammerhead(['restore', folder, '--verify']);
    assert.equal(status, 1);
    assert.match(stderr, /table events had \d+ rows and comes back with \d+ others/);
  });

  test('refuses another server name, a newer schema, and a data folder with another key', async () => {
    const folder = await backup('refused');
    const wrongName = newHome('name', { server_name: 'example.org' });
    const named = await hammerhead(['restore', folder, '--config', wrongName.config]);
    assert.match(named.stderr, /the backup is of localhost, and server_name in .* is example\.org/);
    assert.ok(!existsSync(join(wrongName.directory, 'data')));

    const home = newHome('key');
    mkdirSync(join(home.directory, 'data'));
    writeFileSync(join(home.directory, 'data', 'signing.key'), 'ed25519 a AAAA');
    const keyed = await hammerhead(['restore', folder, '--config', home.config]);
    assert.equal(keyed.status, 1);
    assert.match(keyed.stderr, /signing\.key is another key than the backup's/);

    const newer = join(scratch, 'newer');
    cpSync(folder, newer, { recursive: true });
    const manifest = JSON.parse(readFileSync(join(newer, 'manifest.json'), 'utf8'));
    manifest.migrations.push({ version: 9999, name: 'from_the_future', checksum: 'x' });
    writeFileSync(join(newer, 'manifest.json'), JSON.stringify(manifest));
    const future = await hammerhead(['restore', newer, '--verify']);
    assert.match(future.stderr, /migration 9999 \(from_the_future\) this version does not have/);
  });

  test('media that lie in an S3-compatible store are not taken for missing files', async () => {
    const home = newHome('s3', { media_repo: { storage: { type: 's3', s3: { bucket: 'media' } } } });
    const folder = join(scratch, 's3');
    const { status, stderr } = await hammerhead(['backup', folder, '--media', '--config', home.config]);
    assert.equal(status, 1);
    assert.match(stderr, /S3-compatible store: save them there/);
  });

  test('nothing to save, nothing left behind', async () => {
    const home = newHome('empty');
    const folder = join(scratch, 'empty');
    const { status, stderr } = await hammerhead(['backup', folder, '--config', home.config]);
    assert.equal(status, 1);
    assert.match(stderr, /nothing to save/);
    assert.ok(!existsSync(folder) && !existsSync(`${folder}.unfinished`));
  });
});

test('tables are restored after those that they refer to', () => {
  const tables = ['a', 'b', 'c'].map((name) => ({ name, columns: [] }));
  const order = (references: readonly { from: string; to: string }[]) =>
    sortByReferences(tables, references).map(({ name }) => name);
  assert.deepEqual(
    order([
      { from: 'a', to: 'b' },
      { from: 'b', to: 'c' },
    ]),
    ['c', 'b', 'a'],
  );
  assert.throws(
    () =>
      order([
        { from: 'a', to: 'b' },
        { from: 'b', to: 'a' },
      ]),
    /in a circle: a, b/,
  );
});

test('progress is drawn on a terminal only, at most ten times a second', () => {
  const drawn: string[] = [];
  let now = 0;
  const clock = { now: () => now, monotonic: () => now, after: () => ({ [Symbol.dispose]: () => undefined }) };
  const terminal = (isTTY: boolean) => ({ isTTY, columns: 80, write: (text: string): boolean => drawn.push(text) > 0 });
  const silent = createProgressLine(terminal(false), clock);
  silent.show({ label: 'x' });
  silent[Symbol.dispose]();
  assert.deepEqual(drawn, []);
  const line = createProgressLine(terminal(true), clock);
  for (now = 0; now < 250; now += 50) line.show({ label: `at ${now}` });
  line[Symbol.dispose]();
  assert.deepEqual(
    drawn.map((text: string) => text.replaceAll('\r\u001b[2K', '')),
    ['at 0', 'at 100', 'at 200', ''],
  );
  assert.equal(renderProgress({ label: 'x', done: 1, total: 2 }), 'x [############............]  50 %');
});
