/**
 * What an operator has to know about a database before trusting it: for `hammerhead doctor`. Reads only.
 */
import { withClient } from './connection.ts';
import type { ServerIdentity } from './server-identity.ts';

export interface DatabaseFacts {
  /** server_version_num: 180004 is 18.4. */
  readonly versionNumber: number;
  readonly version: string;
  readonly encoding: string;
  readonly collation: string;
  /** Of the library that sorts; undefined for collations that never change, such as C. */
  readonly collationVersion: string | undefined;
  readonly actualCollationVersion: string | undefined;
  /** Whether a commit is on the disk when it is acknowledged. */
  readonly settings: Readonly<Record<'fsync' | 'full_page_writes' | 'synchronous_commit', string>>;
  readonly maxConnections: number;
  readonly bytes: number;
  /** The database's clock, unix milliseconds. */
  readonly now: number;
  /** Undefined before the first start. */
  readonly identity: ServerIdentity | undefined;
}

type Row = Omit<DatabaseFacts, 'settings' | 'identity' | 'collationVersion' | 'actualCollationVersion'> & {
  readonly fsync: string;
  readonly full_page_writes: string;
  readonly synchronous_commit: string;
  readonly collation_version: string | null;
  readonly actual_collation_version: string | null;
  readonly is_made: boolean;
};

export function loadDatabaseFacts(url: string): Promise<DatabaseFacts> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<Row>(FACTS);
    const [row] = rows;
    if (row === undefined) throw new Error('a select of one row gave none');
    const { fsync, full_page_writes, synchronous_commit, collation_version, actual_collation_version, ...facts } = row;
    const identities = row.is_made ? await client.query<ServerIdentity>(IDENTITY) : undefined;
    return {
      ...facts,
      settings: { fsync, full_page_writes, synchronous_commit },
      collationVersion: collation_version ?? undefined,
      actualCollationVersion: actual_collation_version ?? undefined,
      identity: identities?.rows[0],
    };
  });
}

const FACTS = `
  select current_setting('server_version_num')::integer as "versionNumber", current_setting('server_version') as version,
    current_setting('server_encoding') as encoding, d.datcollate::text as collation,
    d.datcollversion as collation_version, pg_database_collation_actual_version(d.oid) as actual_collation_version,
    current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit,
    current_setting('max_connections')::integer as "maxConnections", pg_database_size(d.oid) as bytes,
    (extract(epoch from clock_timestamp()) * 1000)::bigint as now,
    to_regclass('server_identity') is not null as is_made
  from pg_database d where d.datname = current_database()`;

const IDENTITY = `select server_name as "serverName", signing_key_id as "signingKeyId",
  signing_public_key as "signingPublicKey" from server_identity`;
