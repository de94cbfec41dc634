/**
 * `hammerheadctl` against a real server: over TCP, a unix socket and TLS, with the secret and with a token, and what its exit
 * codes say.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Command } from 'commander';
import { createProgram } from '../../src/cli/program.ts';
import { BIN, type CliOptions, hammerheadctl, run, withTerminal } from '../support/cli.ts';
import { listAt, textAt } from '../support/json.ts';
import { findFreePort, type ServerProcess, startServer } from '../support/server-process.ts';

const SECRET = 'a secret for tests, and for nothing else';
const PASSWORD = 'correct horse battery staple';

let server: ServerProcess;
let config: string;
let token = '';

before(async () => {
  const port = await findFreePort();
  server = await startServer({
    port,
    config: {
      listeners: [{ address: '127.0.0.1', port }, { unix: './hammerhead.sock' }],
      registration: { enabled: true, requires_token: false, admin_pre_shared_secret: SECRET },
    },
  });
  config = join(server.directory, 'config.yaml');
  const made = await ctl(['users', 'create', '--admin', '--password-stdin', 'alice'], { input: `${PASSWORD}\n` });
  assert.equal(made.status, 0, made.stderr);
  const login = await ctl(['login', 'alice', '--password-stdin'], { input: PASSWORD });
  token = login.stdout.trim();
});
after(() => server[Symbol.asyncDispose]());

/** By the configuration file, as whoever the environment says. */
function ctl(given: readonly string[], options: CliOptions = {}) {
  return hammerheadctl([...given, '--config', config], { env: { HAMMERHEAD_TOKEN: token }, ...options });
}

/** With the secret of the configuration alone. */
const withSecret = (given: readonly string[], options: CliOptions = {}) => ctl(given, { env: {}, ...options });

async function json(given: readonly string[]): Promise<unknown> {
  const { status, stdout, stderr } = await ctl([...given, '--json']);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}

async function createRoom(name: string, topic = ''): Promise<string> {
  const answer = await fetch(`${server.url}/_matrix/client/v3/createRoom`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ name, topic }),
  });
  return textAt(await answer.json(), 'room_id');
}

describe('accounts', () => {
  test('are made with the secret, with a password from stdin or with none', async () => {
    assert.equal((await withSecret(['users', 'create', '--no-password', 'nobody'])).status, 0);
    assert.equal((await withSecret(['users', 'create', '--password-stdin', 'bob'], { input: PASSWORD })).status, 0);
    const { stdout } = await ctl(['users', 'list']);
    assert.match(stdout, /^ID +USER +ADMIN +LOCKED/);
    assert.match(stdout, /^\d+ +alice +yes/m);
    assert.match(stdout, /^\d+ +bob +- /m);
    assert.deepEqual(((await json(['users', 'show', 'nobody'])) as { has_password: boolean }).has_password, false);
  });

  test('a password is asked for twice and never shown', async () => {
    const given = ['admin', 'users', 'create', 'typed', '--config', config];
    const typing = (first: string, second: string) => [
      { prompt: 'Password: ', type: first },
      { prompt: 'Again: ', type: second },
    ];
    const made = await withTerminal(given, typing(PASSWORD, PASSWORD));
    assert.equal(made.status, 0, made.stdout);
    assert.match(made.stdout, /Password: [\s\S]*Again: [\s\S]*typed created/);
    assert.ok(!made.stdout.includes(PASSWORD));
    const login = await ctl(['login', 'typed', '--password-stdin'], { input: PASSWORD });
    assert.equal(login.status, 0);
    const differing = await withTerminal(given, typing(PASSWORD, 'another one'));
    assert.equal(differing.status, 1);
    assert.match(differing.stdout, /the passwords differ/);
  });

  test('without a terminal and without --password-stdin nothing is made', async () => {
    const { status, stderr } = await withSecret(['users', 'create', 'careless']);
    assert.equal(status, 2);
    assert.match(stderr, /--password-stdin/);
    assert.equal((await ctl(['users', 'show', 'careless'])).status, 1);
  });

  test('are locked, suspended, given rights, and their passwords reset', async () => {
    await withSecret(['users', 'create', '--no-password', 'carol']);
    const flags: readonly [readonly string[], Record<string, boolean>][] = [
      [['lock', 'carol'], { locked: true }],
      [['unlock', 'carol'], { locked: false }],
      [['suspend', 'carol'], { suspended: true }],
      [['unsuspend', 'carol'], { suspended: false }],
      [['update', 'carol', '--admin', 'yes'], { admin: true }],
      [['update', 'carol', '--admin', 'no'], { admin: false }],
    ];
    for (const [given, expected] of flags) {
      assert.equal((await withSecret(['users', ...given])).status, 0);
      const shown = await json(['users', 'show', 'carol']);
      assert.deepEqual({ ...Object(shown), ...expected }, shown);
    }
    assert.equal((await ctl(['users', 'reset-password', 'carol', '--password-stdin'], { input: PASSWORD })).status, 0);
    assert.equal((await ctl(['login', 'carol', '--password-stdin'], { input: PASSWORD })).status, 0);
    assert.match((await ctl(['users', 'logout', 'carol'])).stdout, /1 devices logged out/);
    assert.equal((await ctl(['users', 'update', 'carol', '--admin', 'perhaps'])).status, 2);
  });

  test('are deactivated once, and only when confirmed', async () => {
    await withSecret(['users', 'create', '--no-password', 'dora']);
    const unconfirmed = await ctl(['users', 'deactivate', 'dora']);
    assert.equal(unconfirmed.status, 2);
    assert.match(unconfirmed.stderr, /say --yes/);
    const given = ['admin', 'users', 'deactivate', 'dora', '--config', config, '--token', token];
    const refused = await withTerminal(given, [{ prompt: '[y/N] ', type: 'n' }]);
    assert.equal(refused.status, 1);
    assert.match(refused.stdout, /not confirmed/);
    const confirmed = await withTerminal(given, [{ prompt: '[y/N] ', type: 'y' }]);
    assert.equal(confirmed.status, 0, confirmed.stdout);
    assert.match(confirmed.stdout, /dora: deactivated/);
    assert.match((await ctl(['users', 'deactivate', 'dora', '--yes'])).stdout, /was deactivated before/);
  });

  test('a long list is read page by page', async () => {
    const all = await json(['users', 'list', '--all']);
    const [first] = listAt(await json(['users', 'list', '--limit', '1']), 'chunk');
    assert.deepEqual(first, listAt(all, 'chunk')[0]);
    assert.match((await ctl(['users', 'list', '--search', 'alic'])).stdout, /^\d+ +alice /m);
    const { stdout } = await ctl(['users', 'list', '--limit', '2']);
    assert.match(stdout, /\(the first 2; --limit or --all shows more\)/);
    assert.equal((await ctl(['users', 'list', '--limit', 'many'])).status, 2);
  });
});

describe('rooms, media, tokens, jobs', () => {
  test('rooms are listed, shown, blocked and deleted', async () => {
    const room = await createRoom('Cats \u202eand dogs', '\u001b[31mred');
    const { stdout } = await ctl(['rooms', 'list', '--search', 'Cats']);
    assert.ok(stdout.includes(room));
    const shown = (await ctl(['rooms', 'show', room])).stdout;
    assert.match(shown, /^joined_members +1$/m);
    // Nobody drives the operator's terminal by a name or topic.
    assert.ok(stdout.includes('Cats \ufffdand dogs') && shown.includes('\ufffd[31mred'));
    assert.ok(!`${stdout}${shown}`.includes('\u001b') && !`${stdout}${shown}`.includes('\u202e'));
    assert.match((await ctl(['rooms', 'members', room])).stdout, /@alice:localhost +join/);
    assert.equal((await ctl(['rooms', 'block', room])).status, 0);
    assert.ok((await ctl(['rooms', 'blocked'])).stdout.includes(room));
    assert.equal((await ctl(['rooms', 'unblock', room])).status, 0);
    assert.equal((await ctl(['rooms', 'delete', room])).status, 2);
    const deleted = await ctl(['rooms', 'delete', room, '--yes']);
    assert.equal(deleted.stdout, `${room}: deleted\n`);
    assert.equal((await ctl(['rooms', 'show', room])).status, 1);
    const jobs = await json(['jobs', 'list', '--state', 'done']);
    const job = listAt(jobs, 'chunk').find((entry) => textAt(entry, 'subject') === room);
    const shownJob = await ctl(['jobs', 'show', String(Object(job).job_id), '--wait']);
    assert.equal(shownJob.status, 0);
    assert.match(shownJob.stdout, /^state +done$/m);
    assert.equal((await ctl(['jobs', 'cancel', String(Object(job).job_id)])).stdout.includes('done'), true);
  });

  test('lists with cursors are read to their end, and a member is given power', async () => {
    const made = [await createRoom('one'), await createRoom('two'), await createRoom('three')];
    for (const order of ['name', 'bytes']) {
      const all = listAt(await json(['rooms', 'list', '--order', order, '--all']), 'chunk');
      const ids = all.map((entry) => textAt(entry, 'room_id'));
      assert.deepEqual(
        made.filter((room) => !ids.includes(room)),
        [],
      );
    }
    assert.equal((await ctl(['rooms', 'make-admin', made[0] ?? '', 'nobody-of-this-name'])).status, 1);
  });

  test('reports are listed, shown and resolved', async () => {
    const room = await createRoom('bad');
    const answer = await fetch(`${server.url}/_matrix/client/v3/rooms/${encodeURIComponent(room)}/report`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify({ reason: 'spam' }),
    });
    assert.equal(answer.status, 200);
    const [report] = listAt(await json(['reports', 'list', '--state', 'open']), 'chunk');
    const id = String(Object(report).report_id);
    assert.match((await ctl(['reports', 'show', id])).stdout, /^reason +spam$/m);
    assert.equal((await ctl(['reports', 'resolve', id, '--note', 'done'])).stdout, `report ${id}: resolved\n`);
    assert.match((await ctl(['reports', 'list', '--state', 'resolved'])).stdout, /room +resolved/);
    assert.equal((await ctl(['reports', 'reopen', id])).status, 0);
  });

  test('on a terminal, long work shows how far it is', async () => {
    const room = await createRoom('long');
    const given = ['admin', 'rooms', 'delete', room, '--yes', '--config', config, '--token', token];
    const { status, stdout } = await withTerminal(given);
    assert.equal(status, 0, stdout);
    assert.ok(stdout.includes(`deleting ${room}`));
  });

  test('media are deleted and purged', async () => {
    const uploaded = await fetch(`${server.url}/_matrix/media/v3/upload`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'text/plain' },
      body: 'hello',
    });
    const uri = textAt(await uploaded.json(), 'content_uri');
    assert.match((await ctl(['media', 'stats'])).stdout, /^@alice:localhost +1 +5 B$/m);
    assert.match((await ctl(['media', 'list', 'alice'])).stdout, /text\/plain/);
    for (const mark of ['protect', 'unprotect', 'quarantine'])
      assert.equal((await ctl(['media', mark, uri])).status, 0);
    assert.match((await ctl(['media', 'show', uri])).stdout, /^quarantined_by +@alice:localhost$/m);
    assert.equal((await ctl(['media', 'unquarantine', uri])).status, 0);
    assert.equal((await ctl(['media', 'delete', uri, '--yes'])).stdout, '1 deleted, 0 could not be deleted\n');
    assert.equal((await ctl(['media', 'delete', 'nonsense', '--yes'])).status, 2);
    assert.equal((await ctl(['media', 'purge', '--yes'])).status, 2);
    assert.equal((await ctl(['media', 'purge', '--local', '--user', 'alice', '--yes'])).status, 0);
  });

  test('registration tokens are made, listed and taken back', async () => {
    const made = await ctl(['registration-tokens', 'create', 'welcome', '--uses', '3', '--expires', '2999-01-01']);
    assert.equal(made.stdout, 'welcome\n');
    assert.match((await ctl(['registration-tokens', 'list'])).stdout, /^welcome +0 +3 +2999-01-01 00:00Z/m);
    assert.match((await ctl(['registration-tokens', 'create'])).stdout, /^\S{8,}\n$/);
    assert.equal((await ctl(['registration-tokens', 'delete', 'welcome'])).status, 0);
    assert.equal((await ctl(['registration-tokens', 'create', '--expires', 'soon'])).status, 2);
  });

  test('the rest: statistics, notice, audit, reload, make-pdu, raw requests', async () => {
    assert.match((await ctl(['statistics'])).stdout, /^database_bytes +[\d.]+ MB$/m);
    assert.match((await ctl(['notice', 'alice', 'hello'])).stdout, /^sent \$/);
    assert.match((await ctl(['audit', '--limit', '5'])).stdout, /\/_synapse\/admin|\/_hammerhead\/v0\/admin/);
    assert.equal((await ctl(['reload-config'])).stdout, 'reloaded\n');
    const pdu = { room_id: '!a:x', sender: '@b:x', type: 't', content: {}, auth_events: [], prev_events: [], depth: 1 };
    const made = await ctl(['make-pdu', '-', '--room-version', '11'], { input: JSON.stringify(pdu) });
    assert.match(textAt(JSON.parse(made.stdout), 'unsigned', 'event_id'), /^\$/);
    assert.ok(
      !(
        'signatures' in
        JSON.parse(
          (await ctl(['make-pdu', '-', '--room-version', '11', '--no-sign'], { input: JSON.stringify(pdu) })).stdout,
        )
      ),
    );
    const raw = await ctl(['request', 'get', '/_hammerhead/v0/admin/users?limit=1']);
    assert.equal(listAt(JSON.parse(raw.stdout), 'chunk').length, 1);
    assert.match((await ctl(['uptime'])).stdout, /^started_at +\d{4}-/);
    assert.match((await ctl(['version'])).stdout, /^full +v0/m);
  });
});

describe('ways to the server, and exit codes', () => {
  test('a unix socket and a URL', async () => {
    const socket = `unix:${join(server.directory, 'hammerhead.sock')}`;
    for (const url of [socket, server.url]) {
      assert.equal((await hammerheadctl(['users', 'list', '--url', url, '--token', token])).status, 0);
    }
    assert.equal((await hammerheadctl(['uptime', '--url', 'gopher://x'])).status, 2);
  });

  test('1 refused, 2 said wrongly, 3 not reachable, 4 not allowed', async () => {
    assert.equal((await ctl(['users', 'show', 'nobody-of-this-name'])).status, 1);
    assert.equal((await ctl(['users', 'shwo', 'alice'])).status, 2);
    assert.equal((await ctl(['users', 'show'])).status, 2);
    const unreachable = await ctl(['uptime', '--url', 'http://127.0.0.1:1']);
    assert.equal(unreachable.status, 3);
    assert.match(unreachable.stderr, /no server answers at http:\/\/127\.0\.0\.1:1/);
    assert.equal((await ctl(['users', 'list', '--token', 'wrong'])).status, 4);
    const secret = await withSecret(['users', 'list']);
    assert.equal(secret.status, 4);
    assert.match(secret.stderr, /HAMMERHEAD_TOKEN/);
    assert.equal((await ctl(['request', 'GET', '/_hammerhead/v0/admin/users', '--token', 'wrong'])).status, 4);
    assert.equal((await ctl(['request', 'BREW', '/'])).status, 2);
    assert.equal((await hammerheadctl(['uptime', '--config', '/nowhere/config.yaml'])).status, 1);
  });

  test('whoever reads only the first line hears of no error', async () => {
    const line = `"$1" admin uptime --config "$2" | true; "$1" admin users list --all --json --config "$2" | head -1`;
    const given = ['-c', `set -o pipefail; ${line}`, 'bash', join(BIN, 'hammerhead.js'), config];
    const { stdout, stderr } = await run('bash', given, { env: { HAMMERHEAD_TOKEN: token } });
    assert.deepEqual([stdout, stderr], ['{\n', '']);
  });

  test('neither secret nor token is in what is printed', async () => {
    const outputs = await Promise.all([
      withSecret(['users', 'list']),
      ctl(['users', 'list', '--url', 'http://127.0.0.1:1']),
    ]);
    for (const { stdout, stderr } of outputs) {
      assert.ok(!`${stdout}${stderr}`.includes(SECRET) && !`${stdout}${stderr}`.includes(token));
    }
  });
});

test('every command has help with examples', () => {
  const visit = (command: Command): number => {
    if (command.commands.length > 0) return command.commands.reduce((sum, child) => sum + visit(child), 0);
    let help = '';
    const writeOut = (text: string): void => {
      help += text;
    };
    command.configureOutput({ writeOut }).outputHelp();
    assert.match(help, /^Usage: hammerhead [\s\S]*^Examples:\n {2}\S/m, command.name());
    return 1;
  };
  assert.ok(visit(createProgram()) > 40);
});
