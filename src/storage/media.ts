/**
 * Media: what a `mxc://` URI stands for. The content is a file named by its SHA-256 (media-files.ts); an id that was
 * created ahead of its upload has none yet.
 */
import type { ServerName, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

/** `external` comes from outside of Matrix, such as the pictures of URL previews. */
export type MediaKind = 'local' | 'remote' | 'external';

export interface MediaKey {
  readonly origin: ServerName;
  readonly mediaId: string;
}

export interface MediaRow extends MediaKey {
  readonly kind: MediaKind;
  readonly userId: UserId | null;
  /** Null where nothing was uploaded yet. */
  readonly sha256: string | null;
  readonly size: number;
  readonly contentType: string | null;
  readonly fileName: string | null;
  readonly createdAt: number;
  readonly storedAt: number | null;
  readonly unusedExpiresAt: number | null;
  readonly lastAccessAt: number;
  readonly quarantinedBy: string | null;
}

export type StoredMedia = Omit<MediaRow, 'unusedExpiresAt' | 'quarantinedBy'> & { readonly sha256: string };

export async function loadMedia(tx: Transaction, { origin, mediaId }: MediaKey): Promise<MediaRow | undefined> {
  const [row] = await tx.query(sql<MediaRow>`
    select origin, media_id as "mediaId", kind, user_id as "userId", sha256, size, content_type as "contentType",
      file_name as "fileName", created_at as "createdAt", stored_at as "storedAt",
      unused_expires_at as "unusedExpiresAt", last_access_at as "lastAccessAt", quarantined_by as "quarantinedBy"
    from media where origin = ${origin} and media_id = ${mediaId}`);
  return row;
}

/** False where that id is taken already. */
export async function insertMedia(tx: Transaction, media: StoredMedia): Promise<boolean> {
  const rows = await tx.query(sql<{ mediaId: string }>`
    insert into media (origin, media_id, kind, user_id, sha256, size, content_type, file_name, created_at, stored_at,
      last_access_at)
    values (${media.origin}, ${media.mediaId}, ${media.kind}, ${media.userId}, ${media.sha256}, ${media.size},
      ${media.contentType}, ${media.fileName}, ${media.createdAt}, ${media.storedAt}, ${media.lastAccessAt})
    on conflict do nothing returning media_id as "mediaId"`);
  return rows.length > 0;
}

export interface PendingMedia extends MediaKey {
  readonly userId: UserId;
  readonly createdAt: number;
  readonly unusedExpiresAt: number;
}

export async function insertPendingMedia(tx: Transaction, media: PendingMedia): Promise<void> {
  await tx.query(sql`
    insert into media (origin, media_id, kind, user_id, created_at, unused_expires_at, last_access_at)
    values (${media.origin}, ${media.mediaId}, 'local', ${media.userId}, ${media.createdAt}, ${media.unusedExpiresAt},
      ${media.createdAt})`);
}

export interface MediaContent {
  readonly sha256: string;
  readonly size: number;
  readonly contentType: string;
  readonly fileName: string | null;
  readonly storedAt: number;
}

/** Gives content to an id that has none; false where it has, or where the id is gone. */
export async function fillPendingMedia(tx: Transaction, key: MediaKey, content: MediaContent): Promise<boolean> {
  const rows = await tx.query(sql<{ mediaId: string }>`
    update media set sha256 = ${content.sha256}, size = ${content.size}, content_type = ${content.contentType},
      file_name = ${content.fileName}, stored_at = ${content.storedAt}, last_access_at = ${content.storedAt}
    where origin = ${key.origin} and media_id = ${key.mediaId} and sha256 is null
    returning media_id as "mediaId"`);
  return rows.length > 0;
}

export async function countPendingMedia(tx: Transaction, userId: UserId, now: number): Promise<number> {
  const [row] = await tx.query(sql<{ count: number }>`
    select count(*)::integer as count from media
    where user_id = ${userId} and sha256 is null and unused_expires_at > ${now}`);
  return row?.count ?? 0;
}

export interface MediaUsage {
  readonly files: number;
  readonly bytes: number;
}

/** What a local user has uploaded. */
export async function loadMediaUsage(tx: Transaction, userId: UserId): Promise<MediaUsage> {
  const [row] = await tx.query(sql<MediaUsage>`
    select count(*)::integer as files, coalesce(sum(size), 0)::bigint as bytes
    from media where user_id = ${userId} and kind = 'local'`);
  return row ?? { files: 0, bytes: 0 };
}

/** Held until the transaction ends: nothing else of this user is counted or added meanwhile. */
export async function lockMediaOfUser(tx: Transaction, userId: UserId): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(hashtextextended(${userId}, 2))`);
}

export async function updateMediaAccess(tx: Transaction, { origin, mediaId }: MediaKey, now: number): Promise<void> {
  await tx.query(sql`
    update media set last_access_at = ${now} where origin = ${origin} and media_id = ${mediaId}`);
}

/** Withdraws media from everybody, or with null gives it back; false where there is none. */
export async function updateMediaQuarantine(
  tx: Transaction,
  { origin, mediaId }: MediaKey,
  quarantinedBy: string | null,
): Promise<boolean> {
  const rows = await tx.query(sql<{ mediaId: string }>`
    update media set quarantined_by = ${quarantinedBy} where origin = ${origin} and media_id = ${mediaId}
    returning media_id as "mediaId"`);
  return rows.length > 0;
}

/** The moment after which media is kept from unauthenticated clients: `now` at the first call ever. */
export async function claimMediaFreeze(tx: Transaction, now: number): Promise<number> {
  await tx.query(sql`insert into media_freeze (frozen_at) values (${now}) on conflict do nothing`);
  const [row] = await tx.query(sql<{ frozenAt: number }>`select frozen_at as "frozenAt" from media_freeze`);
  return row?.frozenAt ?? now;
}
