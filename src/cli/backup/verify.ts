/**
 * Whether a backup restores: it is restored into a PostgreSQL that is thrown away afterwards, and every table, sequence,
 * key and file is compared with what was saved.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readSigningKey } from '../../config/signing-key.ts';
import { OperatorError } from '../../lib/operator-error.ts';
import { startEmbeddedPostgres } from '../../storage/embedded.ts';
import { commandLogger } from '../database.ts';
import type { ProgressLine } from '../progress-line.ts';
import { checkFile, readChecked } from './files.ts';
import { compareDatabase, loadBackup } from './load-database.ts';
import { FILES, type Manifest, readManifest } from './manifest.ts';
import { checkMedia } from './media-files.ts';

/** Returns the manifest of a backup that is good, and throws what is wrong with one that is not. */
export async function verifyBackup(folder: string, progress: ProgressLine): Promise<Manifest> {
  const manifest = await readManifest(folder);
  await checkSigningKey(folder, manifest);
  await checkFile(join(folder, FILES.config), manifest.config);
  await checkSavedMedia(folder, manifest, progress);
  await restoreIntoScratch(folder, manifest, progress);
  return manifest;
}

export async function checkSigningKey(folder: string, { signing_key: saved }: Manifest): Promise<string> {
  const path = join(folder, FILES.signingKey);
  const text = await readChecked(path, saved.file);
  const key = readSigningKey(text, path);
  if (key.keyId === saved.id && key.publicKey === saved.public_key) return text;
  throw new OperatorError(`${path} is ${key.keyId}, but the database was made with ${saved.id}`);
}

async function checkSavedMedia(folder: string, { media }: Manifest, progress: ProgressLine): Promise<void> {
  const list = join(folder, FILES.mediaList);
  await checkFile(list, media.list);
  if (!media.included) return;
  const { missing } = await checkMedia({ list, from: join(folder, FILES.media), total: media.files, progress });
  if (missing !== media.missing)
    throw new OperatorError(`the backup is damaged: ${missing - media.missing} media files are gone`);
}

async function restoreIntoScratch(folder: string, manifest: Manifest, progress: ProgressLine): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'hammerhead-verify-'));
  try {
    // Root's PostgreSQL runs as another user, which must pass.
    await chmod(scratch, 0o711);
    await using postgres = await startEmbeddedPostgres({
      dataDir: join(scratch, 'data'),
      logger: commandLogger('warn'),
      durable: false,
    });
    const { url } = postgres;
    await loadBackup({ folder, manifest, url, progress }, { retires: false });
    await compareDatabase({ manifest, url, progress });
  } finally {
    await rm(scratch, { recursive: true, force: true, maxRetries: 5 });
  }
}
