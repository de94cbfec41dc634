/**
 * Deleting media rows. Every statement notes the files of what it deletes in the same breath, so that none is forgotten
 * when the process ends before they are removed. Notes are written by `do update`, which waits for whoever is deciding
 * about that file right now.
 */
import type { ServerName } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import type { MediaKey } from './media.ts';
import { sql } from './sql.ts';

/** Conditions of which one is enough. */
export interface DeletionCriteria {
  readonly allRemote: boolean;
  readonly allLocal: boolean;
  readonly allExternal: boolean;
  readonly allSparse: boolean;
  readonly origin: ServerName | null;
  readonly userId: string | null;
}

export interface DeletedMedia extends MediaKey {
  readonly sha256: string | null;
}

export interface DeletionBatch {
  readonly criteria: DeletionCriteria;
  /** Only what was there by then. */
  readonly before: number;
  /** The last row of the batch before, so that no batch looks again at what earlier ones left. */
  readonly after: MediaKey | undefined;
  readonly limit: number;
}

/** Deletes the next rows, at most `limit`, and returns them in their order. */
export async function deleteMediaWhere(
  tx: Transaction,
  { criteria, before, after, limit }: DeletionBatch,
): Promise<readonly DeletedMedia[]> {
  const { allRemote, allLocal, allExternal, allSparse, origin, userId } = criteria;
  return tx.query(sql<DeletedMedia>`
    with chosen as (
      select origin, media_id from media
      where (origin, media_id) > (${after?.origin ?? ''}, ${after?.mediaId ?? ''}) and created_at <= ${before} and (
        (${allRemote}::boolean and kind = 'remote') or (${allLocal}::boolean and kind = 'local')
        or (${allExternal}::boolean and kind = 'external') or (${allSparse}::boolean and sha256 is null)
        or (origin = ${origin}::text and kind <> 'external') or user_id = ${userId}::text)
      order by origin, media_id limit ${limit} for update),
    deleted as (
      delete from media using chosen where media.origin = chosen.origin and media.media_id = chosen.media_id
      returning media.origin, media.media_id, media.kind, media.sha256),
    noted as (
      insert into media_file_checks (sha256, noted_at)
      select distinct sha256, ${before}::bigint from deleted where sha256 is not null order by sha256
      on conflict (sha256) do update set noted_at = excluded.noted_at),
    forgotten as (
      delete from url_previews using deleted
      where deleted.kind = 'external' and url_previews.media_id = deleted.media_id)
    select origin, media_id as "mediaId", sha256 from deleted order by origin, media_id`);
}

export async function deleteMedia(
  tx: Transaction,
  { origin, mediaId }: MediaKey,
  now: number,
): Promise<DeletedMedia | undefined> {
  const [row] = await tx.query(sql<DeletedMedia>`
    with deleted as (
      delete from media where origin = ${origin} and media_id = ${mediaId} returning kind, origin, media_id, sha256),
    noted as (
      insert into media_file_checks (sha256, noted_at)
      select sha256, ${now}::bigint from deleted where sha256 is not null
      on conflict (sha256) do update set noted_at = excluded.noted_at),
    forgotten as (
      delete from url_previews using deleted
      where deleted.kind = 'external' and url_previews.media_id = deleted.media_id)
    select origin, media_id as "mediaId", sha256 from deleted`);
  return row;
}

/** Ids whose time for an upload has passed. */
export async function deleteUnusedMedia(
  tx: Transaction,
  { expiredBefore, limit }: { readonly expiredBefore: number; readonly limit: number },
): Promise<number> {
  const rows = await tx.query(sql<{ mediaId: string }>`
    delete from media where (origin, media_id) in (
      select origin, media_id from media
      where sha256 is null and unused_expires_at < ${expiredBefore} limit ${limit} for update skip locked)
    returning media_id as "mediaId"`);
  return rows.length;
}

/** Media of one kind that nobody has asked for since `before`. */
export async function deleteUnaccessedMedia(
  tx: Transaction,
  options: { readonly kind: string; readonly before: number; readonly now: number; readonly limit: number },
): Promise<readonly DeletedMedia[]> {
  const { kind, before, now, limit } = options;
  return tx.query(sql<DeletedMedia>`
    with chosen as (
      select origin, media_id from media
      where kind = ${kind} and last_access_at < ${before} and sha256 is not null
      order by last_access_at limit ${limit} for update skip locked),
    deleted as (
      delete from media using chosen where media.origin = chosen.origin and media.media_id = chosen.media_id
      returning media.kind, media.origin, media.media_id, media.sha256),
    noted as (
      insert into media_file_checks (sha256, noted_at)
      select distinct sha256, ${now}::bigint from deleted order by sha256
      on conflict (sha256) do update set noted_at = excluded.noted_at),
    forgotten as (
      delete from url_previews using deleted
      where deleted.kind = 'external' and url_previews.media_id = deleted.media_id)
    select origin, media_id as "mediaId", sha256 from deleted`);
}

/** Bytes of the media of other servers; equal files count each time. */
export async function loadRemoteBytes(tx: Transaction): Promise<number> {
  const [row] = await tx.query(sql<{ bytes: number }>`
    select coalesce(sum(size), 0)::bigint as bytes from media where kind = 'remote'`);
  return row?.bytes ?? 0;
}

/** Deletes the remote media used longest ago, at most `limit`, as far as is needed to get rid of `excess` bytes. */
export async function deleteOldestRemoteMedia(
  tx: Transaction,
  { excess, now, limit }: { readonly excess: number; readonly now: number; readonly limit: number },
): Promise<readonly { readonly sha256: string; readonly size: number }[]> {
  return tx.query(sql<{ sha256: string; size: number }>`
    with oldest as (
      select origin, media_id, size, last_access_at from media where kind = 'remote'
      order by last_access_at limit ${limit} for update skip locked),
    summed as (
      select origin, media_id, size, sum(size) over (order by last_access_at, origin, media_id) as total from oldest),
    deleted as (
      delete from media using summed
      where media.origin = summed.origin and media.media_id = summed.media_id
        and summed.total - summed.size < ${excess}
      returning media.sha256, media.size),
    noted as (
      insert into media_file_checks (sha256, noted_at)
      select distinct sha256, ${now}::bigint from deleted order by sha256
      on conflict (sha256) do update set noted_at = excluded.noted_at)
    select sha256, size from deleted`);
}
