/** The database's part of a backup: every table of one snapshot into a file of its own. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { constants, createZstdCompress } from 'node:zlib';
import type { DatabaseSnapshot, TableShape } from '../../storage/database-snapshot.ts';
import type { ProgressLine } from '../progress-line.ts';
import { saveStream } from './files.ts';
import { FILES, type SavedTable, tableFile } from './manifest.ts';
import { createRowDigest } from './row-digest.ts';

/** Most of the gain at a small part of the time: the backup must not take the server's processor for long. */
const COMPRESSION_LEVEL = 3;

export async function saveDatabase(
  snapshot: DatabaseSnapshot,
  folder: string,
  progress: ProgressLine,
): Promise<readonly SavedTable[]> {
  await mkdir(join(folder, FILES.database), { mode: 0o700 });
  const saved: SavedTable[] = [];
  let done = 0;
  for (const table of snapshot.tables) {
    const onRows = (count: number): void => {
      done += count;
      progress.show({ label: 'database', done, total: Math.max(done, snapshot.estimatedRows), detail: table.name });
    };
    saved.push(await saveTable(snapshot, { table, folder, onRows }));
  }
  return saved;
}

interface TableSaving {
  readonly table: TableShape;
  readonly folder: string;
  readonly onRows: (count: number) => void;
}

async function saveTable(snapshot: DatabaseSnapshot, { table, folder, onRows }: TableSaving): Promise<SavedTable> {
  const rows = createRowDigest(onRows);
  const params = { [constants.ZSTD_c_compressionLevel]: COMPRESSION_LEVEL };
  const compress = createZstdCompress({ params });
  const file = await saveStream(tableFile(folder, table.name), snapshot.readTable(table), rows.stream, compress);
  return { name: table.name, columns: [...table.columns], ...rows.result(), file };
}
