/**
 * Synapse from PyPI as another server of the federation: on SQLite, over TLS on an address of its own, with the
 * certificates of the tests' authority.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ServerName } from '../../src/protocol/ids.ts';
import type { TestAuthority } from './certificates.ts';
import { createClient, nextAddress, type TestClient } from './federation.ts';
import { waitUntilReady } from './server-process.ts';

/** Above what any test reaches. */
const UNLIMITED = { per_second: 9999, burst_count: 9999 };

/** The Python of a folder with Synapse in it; installed where it is not there yet. */
export async function installSynapse(venv: string): Promise<string> {
  const python = join(venv, 'bin/python');
  const marker = join(venv, 'installed');
  if (existsSync(marker)) return python;
  const run = promisify(execFile);
  await run('python3', ['-m', 'venv', '--clear', venv]);
  // psycopg2-binary in place of the extra "postgres", which wants a C compiler and libpq's headers.
  await run(python, ['-m', 'pip', 'install', '--quiet', 'matrix-synapse', 'psycopg2-binary']);
  await writeFile(marker, '');
  return python;
}

export interface TestSynapse extends AsyncDisposable {
  readonly serverName: ServerName;
  register(localpart: string): Promise<TestClient>;
  restart(): Promise<void>;
}

export async function startTestSynapse(python: string, authority: TestAuthority): Promise<TestSynapse> {
  const address = nextAddress();
  const data = await mkdtemp(join(tmpdir(), 'hammerhead-synapse-'));
  const configPath = join(data, 'homeserver.yaml');
  const certificate = await authority.issue(address);
  // JSON is YAML.
  await writeFile(configPath, JSON.stringify(createConfig({ address, data, certificate, authority })));
  await writeFile(join(data, 'log.yaml'), JSON.stringify({ version: 1, root: { level: 'ERROR', handlers: [] } }));
  const module = ['-m', 'synapse.app.homeserver', '-c', configPath];
  await promisify(execFile)(python, [...module, '--generate-keys'], { cwd: data });
  const url = `http://${address}:8008`;

  async function start() {
    const child = spawn(python, module, { cwd: data, stdio: 'ignore' });
    await waitUntilReady(`${url}/_matrix/client/versions`, child);
    return child;
  }
  async function stop(child: Awaited<ReturnType<typeof start>>): Promise<void> {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }

  let running = await start();
  return {
    serverName: `${address}:8448` as ServerName,
    register: (localpart) => createClient(url, localpart),
    async restart() {
      await stop(running);
      running = await start();
    },
    async [Symbol.asyncDispose]() {
      await stop(running);
      await rm(data, { recursive: true, force: true });
    },
  };
}

interface Installation {
  readonly address: string;
  readonly data: string;
  readonly certificate: { readonly certificatePath: string; readonly keyPath: string };
  readonly authority: TestAuthority;
}

function createConfig({ address, data, certificate, authority }: Installation) {
  return {
    server_name: `${address}:8448`,
    report_stats: false,
    signing_key_path: join(data, 'signing.key'),
    log_config: join(data, 'log.yaml'),
    media_store_path: join(data, 'media'),
    pid_file: join(data, 'synapse.pid'),
    macaroon_secret_key: 'test',
    form_secret: 'test',
    tls_certificate_path: certificate.certificatePath,
    tls_private_key_path: certificate.keyPath,
    federation_custom_ca_list: [authority.certificatePath],
    ip_range_blacklist: [],
    listeners: [
      { port: 8008, type: 'http', bind_addresses: [address], resources: [{ names: ['client'] }] },
      { port: 8448, type: 'http', tls: true, bind_addresses: [address], resources: [{ names: ['federation'] }] },
    ],
    database: { name: 'sqlite3', args: { database: join(data, 'homeserver.db') } },
    trusted_key_servers: [],
    enable_registration: true,
    enable_registration_without_verification: true,
    presence: { enabled: false },
    rc_message: UNLIMITED,
    rc_registration: UNLIMITED,
    rc_login: { address: UNLIMITED, account: UNLIMITED, failed_attempts: UNLIMITED },
    rc_joins: { local: UNLIMITED, remote: UNLIMITED },
    rc_joins_per_room: UNLIMITED,
    rc_room_creation: UNLIMITED,
    // Else the same sync is answered for two minutes as it was the first time.
    caches: { sync_response_cache_duration: '0s' },
    // Window and delays are in milliseconds; ours sends faster than strangers should.
    rc_federation: { window_size: 1000, sleep_limit: 9999, sleep_delay: 0, reject_limit: 9999, concurrent: 20 },
    rc_invites: { per_room: UNLIMITED, per_user: UNLIMITED, per_issuer: UNLIMITED },
  };
}
