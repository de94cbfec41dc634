/**
 * What a backup says about itself. It is written last: a folder without it is no backup.
 *
 * A backup is a folder: `manifest.json`; `database/TABLE.copy.zst`, the rows of each table in PostgreSQL's COPY format;
 * `signing.key`; `config.yaml`; `media.tsv` with SHA-256, size and kind of every media file; and, where they were asked for,
 * the files below `media`, as they lie in the media folder.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { OperatorError } from '../../lib/operator-error.ts';
import { parseJsonText } from '../../lib/parse-json.ts';

/** Changes when older programs could not read what newer ones write. */
export const FORMAT = 1;
export const FILES = {
  manifest: 'manifest.json',
  database: 'database',
  signingKey: 'signing.key',
  config: 'config.yaml',
  mediaList: 'media.tsv',
  media: 'media',
} as const;

const Hash = Type.String({ pattern: '^[0-9a-f]{64}$' });
const SavedFile = Type.Object({ sha256: Hash, bytes: Type.Integer() });
const Name = Type.String({ pattern: '^[a-z][a-z0-9_]*$' });

const Table = Type.Object({
  name: Name,
  columns: Type.Array(Type.String()),
  rows: Type.Integer(),
  /** Of the rows, whatever their order (row-digest.ts). */
  digest: Hash,
  /** Of the compressed file. */
  file: SavedFile,
});

const Manifest = Type.Object({
  format: Type.Literal(FORMAT),
  hammerhead: Type.String(),
  /** Unix milliseconds. */
  created_at: Type.Integer(),
  server_name: Type.String(),
  postgresql: Type.String(),
  signing_key: Type.Object({ id: Type.String(), public_key: Type.String(), file: SavedFile }),
  migrations: Type.Array(Type.Object({ version: Type.Integer(), name: Type.String(), checksum: Type.String() })),
  tables: Type.Array(Table),
  sequences: Type.Array(Type.Object({ name: Name, last_value: Type.Integer(), is_called: Type.Boolean() })),
  media: Type.Object({
    files: Type.Integer(),
    bytes: Type.Integer(),
    list: SavedFile,
    included: Type.Boolean(),
    /** Named by rows, and not in the media folder when it was copied. */
    missing: Type.Integer(),
  }),
  config: SavedFile,
  /** Files of secrets that the configuration names: they are not in the backup. */
  secret_files: Type.Array(Type.String()),
});

export type Manifest = Static<typeof Manifest>;
export type SavedTable = Static<typeof Table>;
export type SavedFile = Static<typeof SavedFile>;

const manifestCheck = Compile(Manifest);

export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, FILES.manifest);
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new OperatorError(`${folder} is no complete backup: there is no ${FILES.manifest}`, { cause });
  });
  const json = parse(text, path);
  if (typeof json === 'object' && json !== null && 'format' in json && json.format !== FORMAT) {
    throw new OperatorError(
      `${path}: made by another version of Hammerhead (format ${json.format}, expected ${FORMAT})`,
    );
  }
  if (!manifestCheck.Check(json)) throw new OperatorError(`${path}: not the manifest of a backup`);
  return json;
}

function parse(text: string, path: string): unknown {
  try {
    return parseJsonText(text);
  } catch (cause) {
    throw new OperatorError(`${path}: not the manifest of a backup`, { cause });
  }
}

export function tableFile(folder: string, name: string): string {
  return join(folder, FILES.database, `${name}.copy.zst`);
}

/** The last migration that had run. */
export function schemaVersion({ migrations }: Manifest): number {
  return Math.max(0, ...migrations.map(({ version }) => version));
}
