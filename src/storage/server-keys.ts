/**
 * Signing keys of other servers, and the former ones of our own. A key that was seen once is kept: events that it signed
 * come up for years, when its server may be long gone.
 */
import type { ServerName } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql, textArray } from './sql.ts';

export interface ServerKey {
  readonly keyId: string;
  /** Unpadded base64. */
  readonly publicKey: string;
  /** Unix milliseconds. */
  readonly validUntil: number;
  /** When its server stopped using it. */
  readonly expiredAt: number | undefined;
}

/** What a server signed about its keys. */
export interface KeyDocument {
  readonly text: string;
  readonly fetchedAt: number;
  readonly validUntil: number;
}

export interface FetchedKeys {
  readonly serverName: ServerName;
  readonly keys: readonly ServerKey[];
  readonly document: KeyDocument;
}

interface KeyRow {
  readonly server_name: ServerName;
  readonly key_id: string;
  readonly public_key: string;
  readonly valid_until: number;
  readonly expired_at: number | null;
}

/** The known keys of the servers; those without any are left out. */
export async function loadServerKeys(
  tx: Transaction,
  serverNames: readonly ServerName[],
): Promise<ReadonlyMap<ServerName, readonly ServerKey[]>> {
  const rows = await tx.query(sql<KeyRow>`
    select server_name, key_id, public_key, valid_until, expired_at
    from server_keys where server_name = any(${textArray(serverNames)}::text[])`);
  const keys = new Map<ServerName, ServerKey[]>();
  for (const row of rows) {
    const { key_id: keyId, public_key: publicKey, valid_until: validUntil, expired_at } = row;
    const known = keys.get(row.server_name) ?? [];
    known.push({ keyId, publicKey, validUntil, expiredAt: expired_at ?? undefined });
    keys.set(row.server_name, known);
  }
  return keys;
}

/**
 * Adds keys and what the newest documents say of known ones. No key is forgotten, and no time of validity moves back. A
 * key id names one key for ever, unless its own server says otherwise: a reinstalled one often takes the same id again.
 */
export async function saveServerKeys(
  tx: Transaction,
  fetched: readonly FetchedKeys[],
  { areFromOwners }: { readonly areFromOwners: boolean },
): Promise<void> {
  const rows = fetched.flatMap(({ serverName, keys }) => keys.map((key) => ({ ...key, serverName })));
  await tx.query(sql`
    insert into server_keys (server_name, key_id, public_key, valid_until, expired_at)
    select * from unnest(
      ${textArray(rows.map(({ serverName }) => serverName))}::text[],
      ${textArray(rows.map(({ keyId }) => keyId))}::text[],
      ${textArray(rows.map(({ publicKey }) => publicKey))}::text[],
      ${bigintArray(rows.map(({ validUntil }) => validUntil))}::bigint[],
      ${bigintArray(rows.map(({ expiredAt }) => expiredAt ?? null))}::bigint[])
    on conflict (server_name, key_id) do update set public_key = excluded.public_key, expired_at = excluded.expired_at,
      valid_until = case when server_keys.public_key = excluded.public_key
        then greatest(server_keys.valid_until, excluded.valid_until) else excluded.valid_until end
    where server_keys.public_key = excluded.public_key or ${areFromOwners}`);
  await tx.query(sql`
    insert into server_key_documents (server_name, document, fetched_at, valid_until)
    select * from unnest(
      ${textArray(fetched.map(({ serverName }) => serverName))}::text[],
      ${textArray(fetched.map(({ document }) => document.text))}::text[],
      ${bigintArray(fetched.map(({ document }) => document.fetchedAt))}::bigint[],
      ${bigintArray(fetched.map(({ document }) => document.validUntil))}::bigint[])
    on conflict (server_name) do update set document = excluded.document, fetched_at = excluded.fetched_at,
      valid_until = excluded.valid_until
    where excluded.valid_until >= server_key_documents.valid_until`);
}

export async function loadKeyDocuments(
  tx: Transaction,
  serverNames: readonly ServerName[],
): Promise<ReadonlyMap<ServerName, KeyDocument>> {
  const rows = await tx.query(sql<{
    server_name: ServerName;
    document: string;
    fetched_at: number;
    valid_until: number;
  }>`
    select server_name, document, fetched_at, valid_until
    from server_key_documents where server_name = any(${textArray(serverNames)}::text[])`);
  return new Map(
    rows.map((row) => [
      row.server_name,
      { text: row.document, fetchedAt: row.fetched_at, validUntil: row.valid_until },
    ]),
  );
}

export interface RetiredKey {
  readonly keyId: string;
  readonly publicKey: string;
  readonly expiredAt: number;
}

/** Our former keys. */
export async function listRetiredKeys(tx: Transaction): Promise<readonly RetiredKey[]> {
  const rows = await tx.query(sql<{ key_id: string; public_key: string; expired_at: number }>`
    select key_id, public_key, expired_at from retired_signing_keys order by expired_at`);
  return rows.map((row) => ({ keyId: row.key_id, publicKey: row.public_key, expiredAt: row.expired_at }));
}

export async function insertRetiredKey(tx: Transaction, key: RetiredKey): Promise<void> {
  await tx.query(sql`
    insert into retired_signing_keys (key_id, public_key, expired_at)
    values (${key.keyId}, ${key.publicKey}, ${key.expiredAt})`);
}
