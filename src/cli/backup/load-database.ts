/** From a backup's files into an empty database, and whether it came out as it was. */
import { createReadStream } from 'node:fs';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createZstdDecompress } from 'node:zlib';
import { OperatorError } from '../../lib/operator-error.ts';
import { type DatabaseLoad, loadDatabase } from '../../storage/database-load.ts';
import { openSnapshot } from '../../storage/database-snapshot.ts';
import { readMigrations } from '../../storage/migrate.ts';
import type { ProgressLine } from '../progress-line.ts';
import { checkFile } from './files.ts';
import { type Manifest, type SavedTable, schemaVersion, tableFile } from './manifest.ts';
import { createRowDigest } from './row-digest.ts';

export interface LoadingBackup {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly url: string;
  readonly progress: ProgressLine;
}

/** Fills the database. With `retires`, what must not come back is taken out; returns the tables emptied by that. */
export async function loadBackup(
  { folder, manifest, url, progress }: LoadingBackup,
  { retires }: { readonly retires: boolean },
): Promise<readonly string[]> {
  await checkMigrations(manifest);
  for (const { name, file } of manifest.tables) await checkFile(tableFile(folder, name), file);
  let retired: readonly string[] = [];
  await loadDatabase({ url, schemaVersion: schemaVersion(manifest) }, async (load) => {
    const total = manifest.tables.reduce((sum, { rows }) => sum + rows, 0);
    let done = 0;
    for (const table of manifest.tables) {
      const onRows = (count: number): void => {
        done += count;
        progress.show({ label: 'restoring', done, total, detail: table.name });
      };
      await loadTable(load, { table, file: tableFile(folder, table.name), onRows });
    }
    await load.setSequences(
      manifest.sequences.map(({ name, last_value, is_called }) => ({
        name,
        lastValue: last_value,
        isCalled: is_called,
      })),
    );
    if (retires) retired = await load.retire();
  });
  return retired;
}

interface TableLoading {
  readonly table: SavedTable;
  readonly file: string;
  readonly onRows: (count: number) => void;
}

async function loadTable(load: DatabaseLoad, { table, file, onRows }: TableLoading): Promise<void> {
  const rows = createRowDigest(onRows);
  await pipeline(createReadStream(file), createZstdDecompress(), rows.stream, load.writeTable(table));
  compare(table, rows.result());
}

/** Reads every table back and throws where it is not what was saved. */
export async function compareDatabase({ manifest, url, progress }: Omit<LoadingBackup, 'folder'>): Promise<void> {
  await using snapshot = await openSnapshot(url);
  const total = manifest.tables.reduce((sum, { rows }) => sum + rows, 0);
  let done = 0;
  for (const table of manifest.tables) {
    const rows = createRowDigest((count) => {
      done += count;
      progress.show({ label: 'comparing', done, total, detail: table.name });
    });
    const nowhere = new Writable({ write: (_chunk, _encoding, written) => written() });
    await pipeline(snapshot.readTable(table), rows.stream, nowhere);
    compare(table, rows.result());
  }
  const sequences = new Map((await snapshot.loadSequences()).map((sequence) => [sequence.name, sequence.lastValue]));
  const wrong = manifest.sequences.find(({ name, last_value }) => sequences.get(name) !== last_value);
  if (wrong !== undefined) throw new OperatorError(`the backup does not restore: sequence ${wrong.name} differs`);
}

function compare(saved: SavedTable, found: Pick<SavedTable, 'rows' | 'digest'>): void {
  if (saved.rows === found.rows && saved.digest === found.digest) return;
  throw new OperatorError(
    `the backup does not restore: table ${saved.name} had ${saved.rows} rows and comes back with ${found.rows}` +
      (saved.rows === found.rows ? ' others' : ''),
  );
}

/** The schema is made by our migrations: they have to be those that made the backup. */
async function checkMigrations({ migrations, hammerhead }: Manifest): Promise<void> {
  const ours = new Map((await readMigrations()).map(({ version, checksum }) => [version, checksum]));
  const unknown = migrations.find(({ version, checksum }) => ours.get(version) !== checksum);
  if (unknown === undefined) return;
  throw new OperatorError(
    `the backup was made by Hammerhead ${hammerhead}, whose migration ${unknown.version} (${unknown.name}) this version ` +
      'does not have: restore it with that version or a newer one',
  );
}
