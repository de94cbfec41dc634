/**
 * The configuration file as the rest of the program sees it: read, checked, complete, with absolute paths.
 */
import { readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { ConfigError, readConfig } from './read.ts';
import { type FileConfig, schema } from './schema.ts';

export interface Config extends Omit<FileConfig, 'mediaRepo'> {
  readonly mediaRepo: Omit<FileConfig['mediaRepo'], 'rootPath'> & { readonly rootPath: string };
  /** The file that it was read from. */
  readonly path: string;
}

/** Reads and checks `path`; throws a ConfigError that names every problem. */
export function loadConfig(path: string): Config {
  return parseConfig(readFileSync(path, 'utf8'), path);
}

/** The same for a text that would stand in the file `path`. */
export function parseConfig(text: string, path: string): Config {
  const absolute = resolve(path);
  const folder = dirname(absolute);
  const fromHere = relative(process.cwd(), absolute);
  const name = fromHere.startsWith('..') ? absolute : fromHere;
  const readSecret = (file: string): string => readFileSync(resolve(folder, file), 'utf8');
  // The table's type describes exactly what reading by the table gives.
  const config = readConfig({ name, text, folder, readSecret }, schema) as FileConfig;
  const problems = checkTogether(config);
  if (problems.length > 0) throw new ConfigError(problems.map((problem) => `${name}: ${problem}`));
  const rootPath = config.mediaRepo.rootPath ?? join(config.dataDir, 'media');
  return { ...config, mediaRepo: { ...config.mediaRepo, rootPath }, path: absolute };
}

/** What no single key can tell. */
function checkTogether(config: FileConfig): string[] {
  const problems: string[] = [];
  const { database, listeners, logging, registration } = config;
  if (database.maxIdleConnections > database.maxOpenConnections) {
    problems.push('database.max_idle_connections: expected at most max_open_connections');
  }
  const places = listeners.map(({ address, port, unix }) => unix ?? `${address} port ${port}`);
  const isTwice = (place: string, index: number): boolean =>
    !place.endsWith(' port 0') && places.indexOf(place) < index;
  for (const place of places.filter(isTwice)) problems.push(`listeners: expected each place once, got ${place} twice`);
  if (listeners.length === 0) problems.push('listeners: expected at least one');
  for (const { type, path } of logging.writers) {
    if (type === 'file' && path === undefined)
      problems.push('logging.writers: expected a path for type file, got none');
  }
  problems.push(...checkStorage(config));
  for (const [key, secret] of Object.entries({
    shared_secret: registration.sharedSecret,
    admin_pre_shared_secret: registration.adminPreSharedSecret,
  })) {
    if (secret !== undefined && secret.reveal().length < MIN_SECRET_LENGTH) {
      problems.push(
        `registration.${key}: expected at least ${MIN_SECRET_LENGTH} characters, since it makes administrators`,
      );
    }
  }
  return problems;
}

function checkStorage({ mediaRepo: { storage } }: FileConfig): string[] {
  const { type, s3 } = storage;
  const problems: string[] = [];
  if (type === 's3' && s3 === undefined) problems.push('media_repo.storage: expected a section s3 for type s3');
  if (s3 !== undefined && s3.bucket === undefined) problems.push('media_repo.storage.s3.bucket: expected a name');
  if (s3 !== undefined && (s3.accessKey === undefined) !== (s3.secretKey === undefined)) {
    problems.push('media_repo.storage.s3: expected access_key and secret_key together');
  }
  return problems;
}

/** 10 random letters and digits are 59 bits: beyond guessing over the network. */
const MIN_SECRET_LENGTH = 10;
