/**
 * Files and the rows that name them: media and thumbnails. A file is noted before it appears and with the removal of a
 * row, and the note goes when the file is known to be named, or gone: so after a crash only noted files are in doubt.
 * The note is a lock too: whoever puts a file into its place or removes it holds its row until the transaction ends.
 */
import type { Transaction } from './database.ts';
import { sql, textArray } from './sql.ts';

/** Notes that files may be there without a row. */
export async function insertFileChecks(tx: Transaction, files: readonly string[], now: number): Promise<void> {
  await tx.query(sql`
    insert into media_file_checks (sha256, noted_at)
    select sha256, ${now}::bigint from unnest(${textArray(files)}::text[]) as named (sha256) order by sha256
    on conflict (sha256) do update set noted_at = excluded.noted_at`);
}

/** Locks the notes of `files`, in the order of names so that nobody waits in a circle, and returns those that exist. */
export async function lockFileChecks(tx: Transaction, files: readonly string[]): Promise<readonly string[]> {
  const rows = await tx.query(sql<{ sha256: string }>`
    select sha256 from media_file_checks where sha256 = any(${textArray(files)}::text[]) order by sha256 for update`);
  return rows.map(({ sha256 }) => sha256);
}

export async function deleteFileChecks(tx: Transaction, files: readonly string[]): Promise<void> {
  await tx.query(sql`delete from media_file_checks where sha256 = any(${textArray(files)}::text[])`);
}

/** Noted files in the order of their names, behind `after`. */
export async function listFileChecks(
  tx: Transaction,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<readonly string[]> {
  const rows = await tx.query(sql<{ sha256: string }>`
    select sha256 from media_file_checks where sha256 > ${after} order by sha256 limit ${limit}`);
  return rows.map(({ sha256 }) => sha256);
}

/** Those of `files` that some row names. */
export async function listNamedFiles(tx: Transaction, files: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await tx.query(sql<{ sha256: string }>`
    select sha256 from unnest(${textArray(files)}::text[]) as asked (sha256)
    where exists (select from media where media.sha256 = asked.sha256)
      or exists (select from media_thumbnails where media_thumbnails.sha256 = asked.sha256)`);
  return new Set(rows.map(({ sha256 }) => sha256));
}

/** The names of files that rows name, in their order, behind `after`. */
export async function listReferencedFiles(
  tx: Transaction,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<readonly string[]> {
  const rows = await tx.query(sql<{ sha256: string }>`
    select sha256 from (
      (select distinct sha256 from media where sha256 > ${after} order by sha256 limit ${limit})
      union
      (select distinct sha256 from media_thumbnails where sha256 > ${after} order by sha256 limit ${limit})
    ) as referenced order by sha256 limit ${limit}`);
  return rows.map(({ sha256 }) => sha256);
}

/** Notes those of `files` that have no note yet, and returns them. */
export async function claimFileChecks(
  tx: Transaction,
  files: readonly string[],
  now: number,
): Promise<readonly string[]> {
  const rows = await tx.query(sql<{ sha256: string }>`
    insert into media_file_checks (sha256, noted_at)
    select sha256, ${now}::bigint from unnest(${textArray(files)}::text[]) as named (sha256) order by sha256
    on conflict (sha256) do nothing returning sha256`);
  return rows.map(({ sha256 }) => sha256);
}
