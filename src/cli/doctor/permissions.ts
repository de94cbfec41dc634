/**
 * Who may read and write what has to be secret. Groups are trusted with the configuration and its secrets (root owns them
 * and the server's group reads them, as packages do it), but not with the signing key, which the server makes itself.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../../config/load.ts';
import { holdsSecrets, listSecretFiles } from '../../config/secret-files.ts';
import { readSigningKey } from '../../config/signing-key.ts';
import { type Finding, fail, messageOf, ok, warn } from './finding.ts';

const CHECK = 'permissions';
const OTHERS_READ = 0o004;
const OTHERS_WRITE = 0o002;
const GROUP_READ = 0o040;

interface Secret {
  readonly path: string;
  readonly what: string;
  readonly isSecret: boolean;
  /** Whether the file's group may read it. */
  readonly groupReads: boolean;
}

export async function checkPermissions(config: Config): Promise<readonly Finding[]> {
  const text = await readFile(config.path, 'utf8');
  const secrets: readonly Secret[] = [
    { path: config.path, what: 'the configuration', isSecret: holdsSecrets(text), groupReads: true },
    ...listSecretFiles(text, config.path).map((path) => ({ path, what: 'a secret', isSecret: true, groupReads: true })),
    ...config.listeners.flatMap(({ tls }) =>
      tls === undefined ? [] : [{ path: tls.key, what: 'a TLS key', isSecret: true, groupReads: true }],
    ),
  ];
  const findings = await Promise.all([...secrets.map(examine), checkDataFolder(config), checkSigningKey(config)]);
  const problems = findings.filter((finding) => finding !== undefined);
  if (problems.some(({ check }) => check === CHECK)) return problems;
  return [...problems, ok(CHECK, 'nobody else may read the secrets, or write what the server reads')];
}

async function examine({ path, what, isSecret, groupReads }: Secret): Promise<Finding | undefined> {
  const mode = await modeOf(path);
  if (mode === undefined) {
    return fail(CHECK, `${path} (${what}) can't be examined`, 'run the doctor as the user that runs the server');
  }
  if ((mode & OTHERS_WRITE) !== 0) return fail(CHECK, `everybody may change ${path} (${what})`, `chmod o-w ${path}`);
  if (isSecret && (mode & OTHERS_READ) !== 0) {
    return fail(CHECK, `everybody may read ${path} (${what})`, `chmod o-rwx ${path}`);
  }
  if (isSecret && !groupReads && (mode & GROUP_READ) !== 0) {
    return warn(CHECK, `the group may read ${path} (${what})`, `chmod 600 ${path}`);
  }
  return undefined;
}

async function checkDataFolder({ dataDir }: Config): Promise<Finding | undefined> {
  const mode = await modeOf(dataDir);
  // Made at the first start.
  if (mode === undefined || (mode & OTHERS_WRITE) === 0) return undefined;
  return fail(CHECK, `everybody may write into ${dataDir}`, `chmod o-w ${dataDir}`);
}

async function checkSigningKey({ dataDir }: Config): Promise<Finding | undefined> {
  const path = join(dataDir, 'signing.key');
  if ((await modeOf(path)) === undefined) return undefined;
  try {
    readSigningKey(await readFile(path, 'utf8'), path);
  } catch (cause) {
    return fail(
      'signing-key',
      messageOf(cause),
      'put the file back from a backup: other servers know this one by its key',
    );
  }
  return examine({ path, what: 'the signing key', isSecret: true, groupReads: false });
}

function modeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ mode }) => mode,
    () => undefined,
  );
}
