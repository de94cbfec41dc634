/**
 * URL previews that were made, kept for a while.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface StoredPreview {
  readonly urlHash: string;
  readonly preview: JsonObject;
  readonly mediaId: string | null;
  readonly expiresAt: number;
}

export async function loadPreview(tx: Transaction, urlHash: string, now: number): Promise<JsonObject | undefined> {
  const [row] = await tx.query(sql<{ preview: string }>`
    select preview from url_previews where url_hash = ${urlHash} and expires_at > ${now}`);
  // Only objects are ever stored.
  return row === undefined ? undefined : (parseJsonText(row.preview) as JsonObject);
}

export async function savePreview(tx: Transaction, stored: StoredPreview): Promise<void> {
  await tx.query(sql`
    insert into url_previews (url_hash, preview, media_id, expires_at)
    values (${stored.urlHash}, ${JSON.stringify(stored.preview)}, ${stored.mediaId}, ${stored.expiresAt})
    on conflict (url_hash) do update set preview = excluded.preview, media_id = excluded.media_id,
      expires_at = excluded.expires_at`);
}

export async function deleteExpiredPreviews(tx: Transaction, now: number): Promise<void> {
  await tx.query(sql`delete from url_previews where expires_at <= ${now}`);
}
