/**
 * The server's own PostgreSQL: a real one, over a unix socket only, in the data folder. Whoever may enter the socket's
 * folder may connect (mode 0700), so there is no password to keep. It outlives a SIGKILL of the server; the next start
 * stops it and starts it anew, unless another server is using it.
 *
 * In `<data_dir>/postgresql`: `data` is PostgreSQL's, `run` holds the socket, `postgresql.conf` is written at each start,
 * and `custom.conf` is for whoever runs the server: what stands there wins.
 */
import { chmod, chown, mkdir, mkdtemp, readdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from '../lib/logger.ts';
import { withClient } from './connection.ts';
import { type Binaries, provideBinaries } from './embedded-binaries.ts';
import { clearStaleFiles, findRunning, readClusterVersion, waitUntilUnused } from './embedded-cluster.ts';
import { stopOrphan } from './embedded-orphan.ts';
import { type PostgresProcess, runToEnd, startPostgres } from './embedded-process.ts';
import { chooseUser, EmbeddedPostgresError, findUnreachable, type SystemUser } from './embedded-user.ts';

export interface EmbeddedOptions {
  readonly dataDir: string;
  readonly logger: Logger;
  /** Whether a commit waits for the disk: true for everything but tests. */
  readonly durable?: boolean;
  readonly maxConnections?: number;
}

export interface EmbeddedPostgres extends AsyncDisposable {
  /** A `postgresql://` URL that `psql` understands too. */
  readonly url: string;
  readonly pid: number | undefined;
}

/** The superuser and the database; neither is of any use without access to the socket. */
const NAME = 'hammerhead';
const PORT = 5432;

/** The bytes of a unix socket's path: `sun_path` less its closing zero. */
const MAX_SOCKET_PATH = process.platform === 'linux' ? 107 : 103;

/** The pool, the committer, migrations, `psql` and a backup side by side. */
const DEFAULT_MAX_CONNECTIONS = 100;

/** Children of a killed PostgreSQL notice within a second; more means that something holds them. */
const UNUSED_TIMEOUT_MS = 10_000;

interface Layout {
  readonly root: string;
  readonly cluster: string;
  readonly user: SystemUser | undefined;
  readonly binaries: Binaries;
}

/** Makes the database where there is none, starts it, and waits until it answers. */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const layout = await prepare(options.dataDir);
  await ensureCluster(layout, options.logger);
  await stopOrphan(layout.cluster, { connectionUrl, logger: options.logger });
  await clearStaleFiles(layout.cluster);
  await waitUntilUnused(layout.cluster, UNUSED_TIMEOUT_MS);

  const socket = await prepareSocketFolder(layout);
  const url = connectionUrl(socket.folder, NAME);
  await writeSettings(layout, socket.folder, options);
  const logs = join(options.dataDir, 'logs');
  await mkdir(logs, { recursive: true });
  const server: PostgresProcess = await startPostgres({
    postgres: layout.binaries.postgres,
    arguments: ['-D', layout.cluster, '-c', `config_file=${join(layout.root, 'postgresql.conf')}`],
    user: layout.user,
    logFile: join(logs, 'postgresql.log'),
    logger: options.logger,
    probeUrl: connectionUrl(socket.folder, 'postgres'),
  });
  await ensureDatabase(connectionUrl(socket.folder, 'postgres'));
  return {
    url,
    get pid() {
      return server.pid;
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      if (socket.isTemporary) await rm(socket.folder, { recursive: true, force: true });
    },
  };
}

/** A URL for a socket in `socketFolder`. */
export function connectionUrl(socketFolder: string, database: string = NAME): string {
  return `postgresql://${NAME}@localhost:${PORT}/${database}?host=${encodeURIComponent(socketFolder)}`;
}

/** The URL of the PostgreSQL that runs in `dataDir` now. */
export async function findEmbeddedUrl(dataDir: string): Promise<string | undefined> {
  const folder = await realpath(dataDir).catch(() => undefined);
  const running = folder === undefined ? undefined : await findRunning(join(folder, 'postgresql', 'data'));
  return running === undefined ? undefined : connectionUrl(running.socketFolder);
}

async function prepare(dataDir: string): Promise<Layout> {
  const isNew = (await mkdir(dataDir, { recursive: true })) !== undefined;
  const root = join(await realpath(dataDir), 'postgresql');
  await mkdir(root, { recursive: true });
  const cluster = join(root, 'data');
  const owner = await stat(cluster).then(
    ({ uid }) => uid,
    () => undefined,
  );
  const user = await chooseUser(owner);
  if (user === undefined) {
    if (isNew) await chmod(dataDir, 0o700);
    if (owner !== undefined && owner !== process.getuid?.()) {
      throw new EmbeddedPostgresError(
        `${cluster} belongs to another user (uid ${owner}): start Hammerhead as root or as that user`,
      );
    }
  } else {
    // PostgreSQL's user passes through; what is secret in here has its own mode.
    if (isNew) await chmod(dataDir, 0o711);
    await chmod(root, 0o755);
    const blocked = await findUnreachable(cluster, user);
    if (blocked !== undefined) throw new EmbeddedPostgresError(explainUnreachable(dataDir, blocked, user));
    if (owner === 0) await giveTo(cluster, user);
  }
  return { root, cluster, user, binaries: await provideBinaries(join(root, 'binaries'), user) };
}

function explainUnreachable(dataDir: string, blocked: string, user: SystemUser): string {
  return (
    `PostgreSQL can't run in the data folder ${dataDir}: it does not run as root, and its user ${user.name} can't pass ` +
    `through ${blocked}. Set data_dir to a folder that everyone can reach (/var/lib/hammerhead, for example), or allow ` +
    `it with: chmod o+x ${blocked}; or start Hammerhead as another user than root, or set database.url`
  );
}

async function ensureCluster(layout: Layout, logger: Logger): Promise<void> {
  const { root, cluster, binaries, user } = layout;
  const version = await readClusterVersion(cluster);
  if (version === binaries.major) return;
  if (version !== undefined) throw new EmbeddedPostgresError(explainVersion(layout, version));
  for (const name of await readdir(root)) {
    if (name.startsWith('data.new-')) await rm(join(root, name), { recursive: true, force: true });
  }
  logger.debug({ cluster }, 'making the database');
  // Under another name until it is whole: a start that is killed in the middle leaves nothing that looks finished.
  const unfinished = await mkdtemp(join(root, 'data.new-'));
  if (user !== undefined) await chown(unfinished, user.uid, user.gid);
  await runToEnd(binaries.initdb, {
    arguments: ['-D', unfinished, '-U', NAME, '-E', 'UTF8', '--no-locale', '--auth=trust', '--data-checksums'],
    user,
  });
  await rename(unfinished, cluster);
}

function explainVersion({ cluster, binaries }: Layout, version: string): string {
  return (
    `the database in ${cluster} was made by PostgreSQL ${version}, and this Hammerhead brings PostgreSQL ` +
    `${binaries.major}. Either convert it with pg_upgrade, or start the Hammerhead that made it, save it with pg_dump, ` +
    'move the folder away and restore it here; or run PostgreSQL ' +
    `${version} on it yourself and set database.url`
  );
}

interface SocketFolder {
  readonly folder: string;
  readonly isTemporary: boolean;
}

/** In the data folder, or in a short folder of its own where the socket's path would be too long for the system. */
async function prepareSocketFolder({ root, user }: Layout): Promise<SocketFolder> {
  const usual = join(root, 'run');
  const isTemporary = Buffer.byteLength(join(usual, `.s.PGSQL.${PORT}`)) > MAX_SOCKET_PATH;
  const folder = isTemporary ? await mkdtemp(join(await shortFolder(user), 'hammerhead-')) : usual;
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o700);
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  return { folder, isTemporary };
}

async function shortFolder(user: SystemUser | undefined): Promise<string> {
  const usual = tmpdir();
  const name = join(usual, `hammerhead-xxxxxx/.s.PGSQL.${PORT}`);
  const isReachable = user === undefined || (await findUnreachable(name, user).catch(() => usual)) === undefined;
  return isReachable && Buffer.byteLength(name) <= MAX_SOCKET_PATH ? usual : '/tmp';
}

async function writeSettings(layout: Layout, socketFolder: string, options: EmbeddedOptions): Promise<void> {
  const durable = options.durable ?? true;
  const settings: Record<string, string | number> = {
    listen_addresses: '',
    port: PORT,
    unix_socket_directories: socketFolder,
    unix_socket_permissions: '0700',
    max_connections: options.maxConnections ?? DEFAULT_MAX_CONNECTIONS,
    shared_buffers: '128MB',
    fsync: durable ? 'on' : 'off',
    full_page_writes: durable ? 'on' : 'off',
    synchronous_commit: durable ? 'on' : 'off',
    wal_compression: 'pglz',
    max_wal_size: '2GB',
    checkpoint_timeout: '15min',
    // Short statements on an SSD: compiling them costs more than it gains, and so do parallel workers.
    jit: 'off',
    max_parallel_workers_per_gather: 0,
    random_page_cost: 1.1,
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_line_prefix: '%m [%p] ',
    log_checkpoints: 'off',
  };
  const lines = Object.entries(settings).map(([key, value]) => `${key} = '${String(value).replaceAll("'", "''")}'`);
  const file = join(layout.root, 'postgresql.conf');
  const head = '# Written by Hammerhead at each start. Put settings of your own into custom.conf beside this file.\n';
  await writeFile(file, `${head}${lines.join('\n')}\ninclude_if_exists = 'custom.conf'\n`);
  await chmod(file, 0o644);
}

async function ensureDatabase(url: string): Promise<void> {
  await withClient(url, async (client) => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [NAME]);
    if (rowCount === 0) await client.query(`create database ${NAME}`);
  });
}

/** For a data folder that root copied: PostgreSQL insists on owning its files. */
async function giveTo(folder: string, user: SystemUser): Promise<void> {
  await chown(folder, user.uid, user.gid);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chown(join(entry.parentPath, entry.name), user.uid, user.gid);
  }
}
