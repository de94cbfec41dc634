/**
 * The published package works: packed, installed into an empty folder, asked for its version, started and stopped.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);

/** The whole journey, with a package download on a slow line. */
const TIMEOUT_MS = 5 * 60_000;

let folder: string;
let app: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'hammerhead-pack-'));
  chmodSync(folder, 0o711);
  app = join(folder, 'app');
  mkdirSync(app);
});
after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }));

describe('the package', { timeout: TIMEOUT_MS }, () => {
  test('packs and installs', async () => {
    await run('npm', ['pack', '--pack-destination', folder], { cwd: ROOT, maxBuffer: 2 ** 24 });
    const [tarball = ''] = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
    writeFileSync(join(app, 'package.json'), '{ "private": true }');
    const options = ['install', '--prefer-offline', '--no-audit', '--no-fund', join(folder, tarball)];
    await run('npm', options, { cwd: app, maxBuffer: 2 ** 24 });
    const { stdout } = await run('npx', ['hammerhead', 'version'], { cwd: app });
    assert.match(stdout, /^hammerhead v\d+\.\d+\.\d+\S*node\d+\S+@\w+\/\w+\n$/);
  });

  test('serves, and stops when told to', async () => {
    writeFileSync(join(app, 'config.yaml'), 'listeners: [{ address: 127.0.0.1, port: 0 }]\n');
    const server = spawn(process.execPath, ['node_modules/hammerhead/bin/hammerhead.js', 'serve'], {
      cwd: app,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const address = await findAddress(server);
    const answer = await fetch(`${address}/_matrix/client/versions`);
    assert.equal(answer.status, 200);
    server.kill('SIGTERM');
    const [code] = await once(server, 'exit');
    assert.equal(code, 0);
  });
});

/** Waits for the line that says where it serves. */
async function findAddress(server: ChildProcess): Promise<string> {
  let output = '';
  const ended = once(server, 'exit').then(() => Promise.reject(new Error(`the server ended: ${output}`)));
  const found = new Promise<string>((resolve) => {
    const read = (chunk: Buffer): void => {
      output += chunk.toString();
      const match = /serves \S+ at (http:\/\/[^\s,]+)/.exec(output);
      if (match?.[1] !== undefined) resolve(match[1]);
    };
    server.stdout?.on('data', read);
    server.stderr?.on('data', read);
  });
  ended.catch(() => undefined);
  return Promise.race([found, ended]);
}
