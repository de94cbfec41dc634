/**
 * Puts a staged file into its place together with the row that names it. The file is noted first; then, in one
 * transaction that holds the note, the row is written, the file renamed and the note removed. Wherever a crash comes in
 * between, the row is rolled back and the note stays, for `collectFiles` to look after the file.
 */
import type { Clock } from '../lib/clock.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { deleteFileChecks, insertFileChecks, lockFileChecks } from '../storage/media-files.ts';
import type { StagedFile } from './store.ts';

/** The note is gone when somebody removed the same file in between: hardly ever once, never this often. */
const MAX_ATTEMPTS = 10;

/** `name` writes the row; when it throws, the file stays where it was. */
export async function placeFile<T>(
  { database, clock }: { readonly database: Database; readonly clock: Clock },
  staged: StagedFile,
  name: (tx: Transaction) => Promise<T>,
): Promise<T> {
  const files = [staged.sha256];
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    await insertFileChecks(database, files, clock.now());
    const placed = await database.transaction(async (tx) => {
      if ((await lockFileChecks(tx, files)).length === 0) return undefined;
      const named = await name(tx);
      await staged.keep();
      await deleteFileChecks(tx, files);
      return { named };
    });
    if (placed !== undefined) return placed.named;
  }
  throw new Error('a file was removed each time it was to be put into its place');
}
