/**
 * Thumbnails, by the content that they were made of.
 */
import type { Transaction } from './database.ts';
import { sql, textArray } from './sql.ts';

export interface ThumbnailKey {
  readonly sourceSha256: string;
  readonly width: number;
  readonly height: number;
  readonly method: string;
  readonly animated: boolean;
}

export interface ThumbnailFile {
  readonly sha256: string;
  readonly size: number;
  readonly contentType: string;
}

export async function loadThumbnail(tx: Transaction, key: ThumbnailKey): Promise<ThumbnailFile | undefined> {
  const [row] = await tx.query(sql<ThumbnailFile>`
    select sha256, size, content_type as "contentType" from media_thumbnails
    where source_sha256 = ${key.sourceSha256} and width = ${key.width} and height = ${key.height}
      and method = ${key.method} and animated = ${key.animated}`);
  return row;
}

/** Stores it unless the source has no media any more; false then. */
export async function insertThumbnail(
  tx: Transaction,
  { key, file, now }: { readonly key: ThumbnailKey; readonly file: ThumbnailFile; readonly now: number },
): Promise<boolean> {
  const rows = await tx.query(sql<{ sha256: string }>`
    insert into media_thumbnails (source_sha256, width, height, method, animated, sha256, size, content_type, created_at)
    select ${key.sourceSha256}, ${key.width}, ${key.height}, ${key.method}, ${key.animated}, ${file.sha256},
      ${file.size}, ${file.contentType}, ${now}
    where exists (select from media where sha256 = ${key.sourceSha256})
    on conflict (source_sha256, width, height, method, animated) do update set sha256 = excluded.sha256,
      size = excluded.size, content_type = excluded.content_type
    returning sha256`);
  return rows.length > 0;
}

/** Notes the files of thumbnails whose content went while they were made, and deletes their rows. */
export async function deleteStrayThumbnails(tx: Transaction, now: number): Promise<number> {
  const rows = await tx.query(sql<{ sha256: string }>`
    with deleted as (
      delete from media_thumbnails
      where not exists (select from media where media.sha256 = media_thumbnails.source_sha256) returning sha256),
    noted as (
      insert into media_file_checks (sha256, noted_at)
      select distinct sha256, ${now}::bigint from deleted order by sha256
      on conflict (sha256) do update set noted_at = excluded.noted_at)
    select sha256 from deleted`);
  return rows.length;
}

/** Deletes the thumbnails of content that no media has any more, and returns their files. */
export async function deleteThumbnailsOf(tx: Transaction, sources: readonly string[]): Promise<readonly string[]> {
  const rows = await tx.query(sql<{ sha256: string }>`
    delete from media_thumbnails
    where source_sha256 = any(${textArray(sources)}::text[])
      and not exists (select from media where media.sha256 = media_thumbnails.source_sha256)
    returning sha256`);
  return [...new Set(rows.map(({ sha256 }) => sha256))];
}
