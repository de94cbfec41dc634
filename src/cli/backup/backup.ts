/**
 * `backup`: a copy of everything that can't be made anew, as it was at one moment, with the server running or stopped. The
 * folder gets its name when all of it is on the disk: what was interrupted is never taken for a backup.
 */
import { chmod, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Config } from '../../config/load.ts';
import { listSecretFiles } from '../../config/secret-files.ts';
import { loadBuildInfo } from '../../lib/build-info.ts';
import { systemClock } from '../../lib/clock.ts';
import { OperatorError } from '../../lib/operator-error.ts';
import { type DatabaseSnapshot, openSnapshot } from '../../storage/database-snapshot.ts';
import type { ServerIdentity } from '../../storage/server-identity.ts';
import { showBytes } from '../admin/output.ts';
import { loadExisting } from '../config.ts';
import { withDatabaseUrl } from '../database.ts';
import { createProgressLine, type ProgressLine } from '../progress-line.ts';
import { saveStream, saveText } from './files.ts';
import { FILES, FORMAT, type Manifest, type SavedTable } from './manifest.ts';
import { copyMedia, countMedia } from './media-files.ts';
import { saveDatabase } from './save-database.ts';
import { verifyBackup } from './verify.ts';

export interface BackupRequest {
  readonly folder: string;
  readonly configPath: string;
  readonly media?: boolean;
  readonly verify?: boolean;
  readonly json?: boolean;
}

export async function runBackup(request: BackupRequest): Promise<void> {
  const { configPath, media = false, verify = false, json = false } = request;
  const config = loadExisting(configPath);
  const folder = resolve(request.folder);
  if (media && config.mediaRepo.storage.type !== 'file') {
    throw new OperatorError('the media lie in an S3-compatible store: save them there, and leave --media out');
  }
  if (await exists(folder)) throw new OperatorError(`${folder} is already there: a backup gets a new folder`);
  using progress = createProgressLine();
  const manifest = await save({ config, folder, media, progress });
  if (verify) await verifyBackup(folder, progress);
  progress[Symbol.dispose]();
  if (json) console.log(JSON.stringify({ folder, verified: verify, ...manifest }, undefined, 2));
  else console.log(describe(folder, manifest, verify));
}

interface Saving {
  readonly config: Config;
  readonly folder: string;
  readonly media: boolean;
  readonly progress: ProgressLine;
}

async function save(saving: Saving): Promise<Manifest> {
  const { config, folder } = saving;
  await mkdir(dirname(folder), { recursive: true });
  const unfinished = `${folder}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  // The umask may have taken less away than it should.
  await chmod(unfinished, 0o700);
  try {
    const manifest = await withDatabaseUrl(config, (url) => saveAll({ ...saving, folder: unfinished }, url));
    await saveText(join(unfinished, FILES.manifest), `${JSON.stringify(manifest, undefined, 2)}\n`);
    await rename(unfinished, folder);
    return manifest;
  } catch (cause) {
    await rm(unfinished, { recursive: true, force: true });
    throw cause;
  }
}

async function saveAll(saving: Saving, url: string): Promise<Manifest> {
  const { config, folder, progress } = saving;
  await using snapshot = await openSnapshot(url);
  const createdAt = systemClock.now();
  const identity = checkIdentity(config, snapshot);
  const tables = await saveDatabase(snapshot, folder, progress);
  const list = await saveStream(join(folder, FILES.mediaList), snapshot.readMediaFiles());
  const sequences = await snapshot.loadSequences();
  const text = await readFile(config.path, 'utf8');
  const { version } = await loadBuildInfo();
  return {
    format: FORMAT,
    hammerhead: version,
    created_at: createdAt,
    server_name: identity.serverName,
    postgresql: snapshot.postgresVersion,
    signing_key: {
      id: identity.signingKeyId,
      public_key: identity.signingPublicKey,
      file: await saveSigningKey(config, folder),
    },
    migrations: snapshot.migrations.map(({ version, name, checksum }) => ({ version, name, checksum })),
    tables: [...tables],
    sequences: sequences.map(({ name, lastValue, isCalled }) => ({ name, last_value: lastValue, is_called: isCalled })),
    media: { ...(await saveMedia(saving)), list, included: saving.media },
    config: await saveText(join(folder, FILES.config), text),
    secret_files: [...listSecretFiles(text, config.path)],
  };
}

/** A key that is not the database's would make a backup that no server starts on. */
function checkIdentity(config: Config, { identity }: DatabaseSnapshot): ServerIdentity {
  if (identity === undefined)
    throw new OperatorError('there is nothing to save: no server has started on this database');
  if (identity.serverName === config.serverName) return identity;
  throw new OperatorError(`server_name is ${config.serverName}, but the database belongs to ${identity.serverName}`);
}

async function saveSigningKey({ dataDir }: Config, folder: string): Promise<Manifest['signing_key']['file']> {
  const text = await readFile(join(dataDir, 'signing.key'), 'utf8');
  return saveText(join(folder, FILES.signingKey), text);
}

async function saveMedia({
  config,
  folder,
  media,
  progress,
}: Saving): Promise<Pick<Manifest['media'], 'files' | 'bytes' | 'missing'>> {
  const list = join(folder, FILES.mediaList);
  const counts = await countMedia(list);
  if (!media) return { ...counts, missing: 0 };
  return copyMedia({
    list,
    from: config.mediaRepo.rootPath,
    to: join(folder, FILES.media),
    total: counts.files,
    progress,
  });
}

function describe(folder: string, manifest: Manifest, isVerified: boolean): string {
  const { tables, media, secret_files: secrets, server_name: serverName } = manifest;
  const lines = [
    `saved ${serverName} to ${folder}`,
    `  database: ${sum(tables, ({ rows }) => rows)} rows, ${showBytes(sum(tables, ({ file }) => file.bytes))} compressed`,
    `  media: ${media.files} files, ${showBytes(media.bytes)}${media.included ? '' : ' (listed, not copied: see --media)'}`,
  ];
  if (media.missing > 0) lines.push(`  ${media.missing} media files are not in the media folder`);
  if (secrets.length > 0) lines.push(`  not in it, and needed: ${secrets.join(', ')}`);
  lines.push(
    isVerified ? '  verified by restoring it' : '  not verified (--verify restores it into a scratch PostgreSQL)',
  );
  return lines.join('\n');
}

function sum(tables: readonly SavedTable[], of: (table: SavedTable) => number): number {
  return tables.reduce((total, table) => total + of(table), 0);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
