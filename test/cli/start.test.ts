/**
 * Starting as the README says it: what the first start writes and prints, that its commands work, and what later starts
 * refuse.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BIN, hammerhead, run } from '../support/cli.ts';
import { textAt } from '../support/json.ts';
import { findFreePort } from '../support/server-process.ts';

/** A service manager sends SIGKILL after this. */
const STOP_TIMEOUT_MS = 10_000;
const START_TIMEOUT_MS = 60_000;

let folder: string;
let config: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hammerhead-start-'));
  // Started as root, PostgreSQL runs as another user, who has to get through this folder.
  chmodSync(folder, 0o755);
  config = join(folder, 'sub', 'config.yaml');
});
after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }));

interface Started {
  readonly child: ChildProcess;
  /** What it printed until it served, without the log. */
  readonly printed: string;
}

/** From another folder than the configuration's. */
async function start(): Promise<Started> {
  const child = spawn(process.execPath, [join(BIN, 'hammerhead.js'), 'serve', '--config', config], {
    cwd: '/',
    stdio: 'pipe',
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  for (let waited = 0; !/serves localhost at \S+\n/.test(output); waited += 50) {
    if (child.exitCode !== null || waited > START_TIMEOUT_MS) throw new Error(`it did not start: ${output}`);
    await sleep(50);
  }
  // The rest is printed together with that line.
  await sleep(200);
  return { child, printed: output.replaceAll(/^\d\d:\d\d:\d\d\.\d+ .*\n/gm, '') };
}

async function stop({ child }: Started): Promise<number> {
  const ended = once(child, 'exit', { signal: AbortSignal.timeout(STOP_TIMEOUT_MS) });
  child.kill('SIGTERM');
  const [code] = await ended;
  return Number(code);
}

describe('npm start', () => {
  test('the first start writes a commented configuration for its owner, and prints working commands', async () => {
    const init = await hammerhead(['config', 'init', '--config', config]);
    assert.equal(init.status, 0, init.stderr);
    const written = readFileSync(config, 'utf8');
    assert.match(written, /^# Hammerhead's configuration/);
    rmSync(config);
    // A port that is free, in place of the default; the rest is what the first start would write.
    writeFileSync(config, written.replace('port: 8008', `port: ${await findFreePort()}`), { mode: 0o600 });
    assert.equal(statSync(config).mode & 0o777, 0o600);

    const started = await start();
    assert.match(
      started.printed,
      /^Hammerhead \S+ serves localhost at http:\/\/127\.0\.0\.1:\d+\n\nThere is no account yet\./,
    );
    const curl = /^ {4}curl [\s\S]*?\/register$/m.exec(started.printed)?.[0] ?? '';
    const made = await run('bash', ['-c', curl.replace('CHOOSE-A-LONG-PASSWORD', 'correct horse battery staple')]);
    assert.equal(textAt(JSON.parse(made.stdout), 'user_id'), '@alice:localhost');
    // Relative paths start from the configuration's folder.
    assert.ok(existsSync(join(folder, 'sub', 'data', 'signing.key')));
    assert.equal(statSync(join(folder, 'sub', 'data', 'signing.key')).mode & 0o777, 0o600);
    assert.equal(await stop(started), 0);
  });

  test('a later start prints one line', async () => {
    const started = await start();
    assert.match(started.printed, /^Hammerhead \S+ serves localhost at \S+\n$/);
    assert.equal(await stop(started), 0);
  });

  test('another server name or signing key is refused, and a lost key is not made anew', async () => {
    const written = readFileSync(config, 'utf8');
    writeFileSync(config, written.replace('server_name: localhost', 'server_name: example.org'));
    const renamed = await hammerhead(['serve', '--config', config]);
    assert.equal(renamed.status, 1);
    assert.match(renamed.stderr, /server_name is example\.org, but this database belongs to localhost/);
    writeFileSync(config, written);

    const key = join(folder, 'sub', 'data', 'signing.key');
    renameSync(key, `${key}.saved`);
    const lost = await hammerhead(['serve', '--config', config]);
    assert.equal(lost.status, 1);
    assert.match(lost.stderr, /signing\.key can't be read, but the database was made with a signing key/);
    assert.ok(!existsSync(key));
    writeFileSync(
      key,
      `ed25519 other ${Buffer.from('a key of thirty-two other bytes.').toString('base64').replace('=', '')}\n`,
    );
    const changed = await hammerhead(['serve', '--config', config]);
    assert.equal(changed.status, 1);
    assert.match(changed.stderr, /the signing key is ed25519:other .*, but this database was made with ed25519:/);
    renameSync(`${key}.saved`, key);
    assert.equal(await stop(await start()), 0);
  });
});
