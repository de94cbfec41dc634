/**
 * Synapse from PyPI on PostgreSQL, as its documentation sets it up, but for rate limits (off) and presence (off, which
 * spares it work). One process, as in a default installation.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFreePort, waitUntilReady } from '../../test/support/server-process.ts';
import { installSynapse } from '../../test/support/synapse.ts';
import { tieChild } from './child.ts';
import type { Postgres } from './postgres.ts';

interface Synapse extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly version: string;
}

export interface SynapseFederation {
  /** Of the authority that signed its peers' certificates. */
  readonly certificatePath: string;
}

/** Above what any scenario reaches. */
const UNLIMITED = { per_second: 9999, burst_count: 9999 };

/** Installs Synapse into `directory` where it is not there yet, and starts it on an empty database. */
export async function startSynapse(
  directory: string,
  postgres: Postgres,
  federation?: SynapseFederation,
): Promise<Synapse> {
  const python = await installSynapse(join(directory, 'venv'));
  const data = join(directory, 'data');
  rmSync(data, { recursive: true, force: true });
  mkdirSync(data, { recursive: true });
  await postgres.recreateDatabase('synapse');
  const port = await findFreePort();
  const configPath = join(data, 'homeserver.yaml');
  const config = { ...createConfig(data, port, postgres), ...(federation && federating(federation, port)) };
  writeFileSync(configPath, JSON.stringify(config, null, 2));
  writeFileSync(join(data, 'log.yaml'), JSON.stringify({ version: 1, root: { level: 'ERROR', handlers: [] } }));
  const module = ['-m', 'synapse.app.homeserver', '-c', configPath];
  execFileSync(python, [...module, '--generate-keys'], { stdio: 'ignore', cwd: data });
  const log = openSync(join(directory, 'synapse.log'), 'w');
  const child = spawn(python, module, { stdio: ['ignore', log, log], cwd: data });
  const end = tieChild(child, 'SIGKILL');
  const pid = child.pid;
  if (pid === undefined) throw new Error('Synapse did not start');
  const url = `http://127.0.0.1:${port}`;
  await waitUntilReady(`${url}/_matrix/client/versions`, child).catch((error: unknown) => {
    void end();
    throw new Error(readFileSync(join(directory, 'synapse.log'), 'utf8').slice(-2_000), { cause: error });
  });
  return {
    url,
    pid,
    version: execFileSync(python, ['-c', 'import synapse; print(synapse.__version__)'], { encoding: 'utf8' }).trim(),
    [Symbol.asyncDispose]: end,
  };
}

/** Peers on this machine, no limits, and the federation API in plain HTTP beside the clients'. */
function federating({ certificatePath }: SynapseFederation, port: number) {
  return {
    listeners: [
      { port, type: 'http', bind_addresses: ['127.0.0.1'], resources: [{ names: ['client', 'federation'] }] },
    ],
    federation_custom_ca_list: [certificatePath],
    ip_range_blacklist: [],
    rc_federation: { window_size: 1, sleep_limit: 1e9, sleep_delay: 0, reject_limit: 1e9, concurrent: 1000 },
  };
}

function createConfig(data: string, port: number, postgres: Postgres) {
  return {
    server_name: 'localhost',
    report_stats: false,
    signing_key_path: join(data, 'signing.key'),
    log_config: join(data, 'log.yaml'),
    media_store_path: join(data, 'media'),
    pid_file: join(data, 'synapse.pid'),
    macaroon_secret_key: 'bench',
    form_secret: 'bench',
    listeners: [{ port, type: 'http', bind_addresses: ['127.0.0.1'], resources: [{ names: ['client'] }] }],
    database: {
      name: 'psycopg2',
      args: { user: postgres.user, dbname: 'synapse', host: '127.0.0.1', port: postgres.port, cp_min: 5, cp_max: 10 },
    },
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
    rc_invites: { per_room: UNLIMITED, per_user: UNLIMITED, per_issuer: UNLIMITED },
  };
}
