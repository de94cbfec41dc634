/**
 * `restore`: a backup into an empty data folder and database. Media come first, then the signing key, then the database in
 * one transaction: what was interrupted leaves the database empty, and can be started again.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Config } from '../../config/load.ts';
import { OperatorError } from '../../lib/operator-error.ts';
import { withClient } from '../../storage/connection.ts';
import { checkEmpty } from '../../storage/database-load.ts';
import { startEmbeddedPostgres } from '../../storage/embedded.ts';
import { holdInstanceLock } from '../../storage/instance-lock.ts';
import { migrate } from '../../storage/migrate.ts';
import { checkServer } from '../../storage/open-database.ts';
import { loadExisting } from '../config.ts';
import { commandLogger } from '../database.ts';
import { createProgressLine, type ProgressLine } from '../progress-line.ts';
import { checkFile } from './files.ts';
import { loadBackup } from './load-database.ts';
import { FILES, type Manifest, readManifest } from './manifest.ts';
import { copyMedia } from './media-files.ts';
import { checkSigningKey, verifyBackup } from './verify.ts';

export interface RestoreRequest {
  readonly folder: string;
  readonly configPath: string;
  readonly verify?: boolean;
  readonly json?: boolean;
}

export async function runRestore({
  configPath,
  verify = false,
  json = false,
  ...request
}: RestoreRequest): Promise<void> {
  const folder = resolve(request.folder);
  using progress = createProgressLine();
  if (verify) {
    const manifest = await verifyBackup(folder, progress);
    progress[Symbol.dispose]();
    return report(json, { folder, verified: true }, `${folder}: a good backup of ${manifest.server_name}`);
  }
  const manifest = await readManifest(folder);
  const config = loadExisting(configPath);
  checkServerName(config, manifest);
  const retired = await withOwnDatabase(config, (url) => restore({ folder, manifest, config, url, progress }));
  progress[Symbol.dispose]();
  report(json, { folder, restored: true, emptied: retired }, describe(manifest, config));
}

interface Restoring {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly config: Config;
  readonly url: string;
  readonly progress: ProgressLine;
}

async function restore({ folder, manifest, config, url, progress }: Restoring): Promise<readonly string[]> {
  await checkEmpty(url);
  const key = await checkSigningKey(folder, manifest);
  await restoreMedia({ folder, manifest, config, progress });
  await writeSigningKey(join(config.dataDir, 'signing.key'), key);
  const retired = await loadBackup({ folder, manifest, url, progress }, { retires: true });
  await migrate(url);
  return retired;
}

function checkServerName({ path, serverName }: Config, manifest: Manifest): void {
  if (serverName === manifest.server_name) return;
  throw new OperatorError(
    `the backup is of ${manifest.server_name}, and server_name in ${path} is ${serverName}. The configuration of the ` +
      `backup is ${FILES.config} in its folder: copy it to ${path}, or set server_name`,
  );
}

/** Starts the server's own PostgreSQL for it where there is no other; no server can start until the end. */
async function withOwnDatabase<T>(config: Config, work: (url: string) => Promise<T>): Promise<T> {
  await using stack = new AsyncDisposableStack();
  const given = config.database.url?.reveal();
  const url = given ?? stack.use(await startOwn(config)).url;
  await checkServer(url);
  return await withClient(url, async (client) => {
    await holdInstanceLock(client);
    return work(url);
  });
}

function startOwn({ dataDir }: Config): ReturnType<typeof startEmbeddedPostgres> {
  return startEmbeddedPostgres({ dataDir, logger: commandLogger('warn') });
}

async function restoreMedia({ folder, manifest, config, progress }: Omit<Restoring, 'url'>): Promise<void> {
  const { media } = manifest;
  if (!media.included) return;
  const list = join(folder, FILES.mediaList);
  await checkFile(list, media.list);
  const to = config.mediaRepo.rootPath;
  const { missing } = await copyMedia({ list, from: join(folder, FILES.media), to, total: media.files, progress });
  if (missing > media.missing)
    throw new OperatorError(`the backup is damaged: ${missing - media.missing} media files are gone`);
}

/** Never over another key; the same one may be there from a restore that was interrupted. */
async function writeSigningKey(path: string, text: string): Promise<void> {
  await mkdir(resolve(path, '..'), { recursive: true });
  try {
    await writeFile(path, text, { flag: 'wx', mode: 0o600, flush: true });
  } catch (cause) {
    const isThere = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST';
    if (!isThere) throw cause;
    if ((await readFile(path, 'utf8')) !== text) {
      throw new OperatorError(`${path} is another key than the backup's: the data folder is not empty`, { cause });
    }
  }
}

function describe(
  { server_name: serverName, media, secret_files: secrets, created_at: at }: Manifest,
  config: Config,
): string {
  const lines = [`restored ${serverName} as it was at ${new Date(at).toISOString()}`];
  if (!media.included && media.files > 0) {
    lines.push(`  bring its ${media.files} media files back yourself, to ${config.mediaRepo.rootPath}`);
  }
  if (secrets.length > 0) lines.push(`  the configuration of the backup needs: ${secrets.join(', ')}`);
  lines.push('  start it with: hammerhead serve');
  return lines.join('\n');
}

function report(isJson: boolean, facts: object, sentence: string): void {
  console.log(isJson ? JSON.stringify(facts, undefined, 2) : sentence);
}
