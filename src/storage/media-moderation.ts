/**
 * Media as administrators look through it: of one user, and as the events of one room name it; and withdrawing much of it
 * at once. What is protected is passed over then.
 */
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import type { MediaKey, MediaKind } from './media.ts';
import { sql, textArray } from './sql.ts';

export interface MediaSummary {
  readonly origin: string;
  readonly media_id: string;
  readonly kind: MediaKind;
  readonly user_id: UserId | null;
  readonly size: number;
  readonly content_type: string | null;
  readonly file_name: string | null;
  readonly created_at: number;
  readonly last_access_at: number;
  readonly quarantined_by: string | null;
  readonly protected: boolean;
  /** Whether nothing was uploaded yet. */
  readonly sparse: boolean;
}

export interface MediaOfUserWanted {
  readonly userId: string;
  /** Creation, origin and id of the last entry of the page before. */
  readonly after: readonly [createdAt: number, origin: string, mediaId: string] | undefined;
  readonly limit: number;
}

/** The newest first. */
export function listMediaOfUser(
  tx: Transaction,
  { userId, after, limit }: MediaOfUserWanted,
): Promise<readonly MediaSummary[]> {
  const [createdAt = 0, origin = '', mediaId = ''] = after ?? [];
  return tx.query(sql<MediaSummary>`
    select origin, media_id, kind, user_id, size, content_type, file_name, created_at, last_access_at, quarantined_by,
      protected, sha256 is null as sparse
    from media
    where user_id = ${userId} and (${after === undefined}::boolean or created_at < ${createdAt}
      or (created_at = ${createdAt} and (origin, media_id) > (${origin}, ${mediaId})))
    order by created_at desc, origin, media_id limit ${limit}`);
}

export async function loadMediaSummary(
  tx: Transaction,
  { origin, mediaId }: MediaKey,
): Promise<MediaSummary | undefined> {
  const [row] = await tx.query(sql<MediaSummary>`
    select origin, media_id, kind, user_id, size, content_type, file_name, created_at, last_access_at, quarantined_by,
      protected, sha256 is null as sparse
    from media where origin = ${origin} and media_id = ${mediaId}`);
  return row;
}

/** False where there is no such media. */
export async function updateMediaProtection(
  tx: Transaction,
  { origin, mediaId }: MediaKey,
  isProtected: boolean,
): Promise<boolean> {
  const rows = await tx.query(sql<{ media_id: string }>`
    update media set protected = ${isProtected} where origin = ${origin} and media_id = ${mediaId} returning media_id`);
  return rows.length > 0;
}

/** Withdraws all that the user uploaded, or with null gives it back. How much changed. */
export async function quarantineMediaOfUser(
  tx: Transaction,
  userId: string,
  quarantinedBy: string | null,
): Promise<number> {
  const rows = await tx.query(sql<{ media_id: string }>`
    update media set quarantined_by = ${quarantinedBy}
    where user_id = ${userId} and (quarantined_by is null) <> (${quarantinedBy}::text is null)
      and not (protected and ${quarantinedBy}::text is not null)
    returning media_id`);
  return rows.length;
}

/** The same for these media. */
export async function quarantineMedia(
  tx: Transaction,
  keys: readonly { readonly origin: string; readonly media_id: string }[],
  quarantinedBy: string | null,
): Promise<number> {
  const rows = await tx.query(sql<{ media_id: string }>`
    update media m set quarantined_by = ${quarantinedBy}
    from (
      select distinct * from unnest(${textArray(keys.map(({ origin }) => origin))}::text[],
        ${textArray(keys.map(({ media_id }) => media_id))}::text[]) as k (origin, media_id)) k
    where m.origin = k.origin and m.media_id = k.media_id
      and (m.quarantined_by is null) <> (${quarantinedBy}::text is null)
      and not (m.protected and ${quarantinedBy}::text is not null)
    returning m.media_id`);
  return rows.length;
}

export interface MediaMention {
  readonly event_id: EventId;
  readonly sender: UserId;
  readonly origin_server_ts: number;
  readonly origin: string;
  readonly media_id: string;
  /** Whether this server holds it. */
  readonly held: boolean;
  readonly size: number | null;
  readonly content_type: string | null;
  readonly quarantined_by: string | null;
  readonly protected: boolean | null;
}

export interface MentionsWanted {
  readonly roomId: RoomId;
  /** Events at or before this position; of that very event, only what comes after `key`. */
  readonly position: number;
  /** `origin/media_id` of the last entry of the page before; null for none of that event. */
  readonly key: string | null;
  /** Events that are looked through, at most. */
  readonly events: number;
  readonly limit: number;
}

/**
 * Media that events of the room name, the newest event first. Of one event no more than 100, which is more than any
 * message shows. Nothing is found in the events of an encrypted room.
 */
export function listMentionedMedia(
  tx: Transaction,
  { roomId, position, key, events, limit }: MentionsWanted,
): Promise<readonly (MediaMention & { readonly position: number })[]> {
  return tx.query(sql<MediaMention & { position: number }>`
    with looked as materialized (
      select event_id, sender, origin_server_ts, position, pdu from events
      where room_id = ${roomId} and position is not null and position <= ${position} and redacted_by is null
      order by position desc limit ${events}
    ), named as (
      select l.event_id, l.sender, l.origin_server_ts, l.position, uri[1] as origin, uri[2] as media_id
      from looked l, lateral (
        select distinct m as uri
        from regexp_matches(l.pdu, 'mxc://([][A-Za-z0-9.:-]{1,255})/([A-Za-z0-9_.=~-]{1,255})', 'g') m limit 100) found
      where strpos(l.pdu, 'mxc://') > 0
    )
    select n.event_id, n.sender, n.origin_server_ts, n.position, n.origin, n.media_id, m.origin is not null as held,
      m.size, m.content_type, m.quarantined_by, m.protected
    from named n left join media m on m.origin = n.origin and m.media_id = n.media_id
    where n.position < ${position} or n.origin || '/' || n.media_id > ${key}::text
    order by n.position desc, n.origin || '/' || n.media_id collate "C" limit ${limit}`);
}

/** The position of the oldest of the next events that would be looked through; undefined where there are no more. */
export async function loadEndOfWindow(
  tx: Transaction,
  { roomId, position, events }: Pick<MentionsWanted, 'roomId' | 'position' | 'events'>,
): Promise<number | undefined> {
  const [row] = await tx.query(sql<{ position: number }>`
    select position from events
    where room_id = ${roomId} and position is not null and position <= ${position} and redacted_by is null
    order by position desc offset ${events - 1} limit 1`);
  return row?.position;
}
