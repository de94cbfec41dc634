/**
 * The whole database as it was at one moment, for backups: every table, read by COPY in one repeatable-read transaction
 * while the server goes on. Tables come in an order in which each one follows those that its foreign keys point to.
 *
 * Sequences stand outside of transactions: they are read after the moment, so they are never behind the rows.
 */
import type { Readable } from 'node:stream';
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { clientOptions } from './connection.ts';
import { type AppliedMigration, loadApplied } from './migrate.ts';
import type { ServerIdentity } from './server-identity.ts';

export interface TableShape {
  readonly name: string;
  /** Without generated ones, whose values follow from the others. */
  readonly columns: readonly string[];
}

export interface SequenceState {
  readonly name: string;
  readonly lastValue: number;
  readonly isCalled: boolean;
}

export interface DatabaseSnapshot extends AsyncDisposable {
  readonly postgresVersion: string;
  readonly migrations: readonly AppliedMigration[];
  /** Undefined before the server's first start. */
  readonly identity: ServerIdentity | undefined;
  readonly tables: readonly TableShape[];
  /** Of all tables, as PostgreSQL last counted: for progress. */
  readonly estimatedRows: number;
  /** The table's rows in COPY's text format, one a line. */
  readTable(table: TableShape): Readable;
  /** Lines of SHA-256, size and kind of every media file that some row names, separated by tabs. */
  readMediaFiles(): Readable;
  loadSequences(): Promise<readonly SequenceState[]>;
}

/** What remembers which migrations ran is made anew by running them. */
const MIGRATIONS_TABLE = 'schema_migrations';

export async function openSnapshot(url: string): Promise<DatabaseSnapshot> {
  const client = await connectForCopy(url);
  try {
    await client.query('begin isolation level repeatable read read only');
    const shapes = await loadTables(client);
    // Nobody changes a table's shape until the end.
    for (const { name } of shapes) await client.query(`lock table ${quote(name)} in access share mode`);
    return {
      ...(await loadFacts(client)),
      tables: sortByReferences(shapes, await loadReferences(client)),
      readTable: ({ name, columns }) =>
        client.query(copyTo(`copy (select ${columns.map(quote).join(', ')} from ${quote(name)}) to stdout`)),
      readMediaFiles: () => client.query(copyTo(MEDIA_FILES)),
      loadSequences: () => loadSequences(client),
      [Symbol.asyncDispose]: () => client.end(),
    };
  } catch (cause) {
    await client.end();
    throw cause;
  }
}

/** COPY takes the connection for itself, so nothing else may be under way on it. */
export async function connectForCopy(url: string): Promise<pg.Client> {
  const client = new pg.Client({ ...clientOptions(url), pipeline: false });
  // Without a listener a lost connection would end the process; the statement that waits for it hears of it anyway.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** An identifier that stands in a statement's text. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

const MEDIA_FILES = `copy (
  select sha256, max(size), min(kind) from (
    select sha256, size, kind from media where sha256 is not null
    union all select sha256, size, 'thumbnail' from media_thumbnails
  ) named group by sha256 order by sha256
) to stdout`;

type Facts = Pick<DatabaseSnapshot, 'postgresVersion' | 'migrations' | 'identity' | 'estimatedRows'>;

async function loadFacts(client: pg.Client): Promise<Facts> {
  const { rows } = await client.query<{ version: string; estimated: number; known: boolean }>(
    `select current_setting('server_version') as version,
       to_regclass('server_identity') is not null as known,
       (select coalesce(sum(greatest(reltuples, 0)), 0)::bigint from pg_class
        where relkind = 'r' and relnamespace = current_schema()::regnamespace) as estimated`,
  );
  const { version = '', estimated = 0, known = false } = rows[0] ?? {};
  const identities = known ? await client.query<ServerIdentity>(IDENTITY) : undefined;
  return {
    postgresVersion: version,
    estimatedRows: estimated,
    migrations: await loadApplied(client),
    identity: identities?.rows[0],
  };
}

const IDENTITY = `select server_name as "serverName", signing_key_id as "signingKeyId",
  signing_public_key as "signingPublicKey" from server_identity`;

/** The tables of this server, whose data are in none but one schema. */
export async function loadTables(client: pg.Client): Promise<readonly TableShape[]> {
  const { rows } = await client.query<TableShape>(
    `select c.relname::text as name, array_agg(a.attname::text order by a.attnum) as columns
     from pg_class c join pg_attribute a on a.attrelid = c.oid
     where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace and c.relname <> $1
       and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
     group by c.relname order by c.relname`,
    [MIGRATIONS_TABLE],
  );
  return rows;
}

interface Reference {
  readonly from: string;
  readonly to: string;
}

async function loadReferences(client: pg.Client): Promise<readonly Reference[]> {
  const { rows } = await client.query<Reference>(
    `select distinct f.relname::text as "from", t.relname::text as "to" from pg_constraint k
     join pg_class f on f.oid = k.conrelid join pg_class t on t.oid = k.confrelid
     where k.contype = 'f' and k.conrelid <> k.confrelid and f.relnamespace = current_schema()::regnamespace`,
  );
  return rows;
}

/** Throws on tables that refer to each other in a circle: no order would do. */
export function sortByReferences(
  tables: readonly TableShape[],
  references: readonly Reference[],
): readonly TableShape[] {
  const sorted: TableShape[] = [];
  const waiting = new Map(tables.map((table) => [table.name, table]));
  while (waiting.size > 0) {
    const blocked = new Set(references.filter(({ to }) => waiting.has(to)).map(({ from }) => from));
    const free = [...waiting.values()].filter(({ name }) => !blocked.has(name));
    if (free.length === 0) throw new Error(`tables refer to each other in a circle: ${[...waiting.keys()].join(', ')}`);
    for (const table of free) waiting.delete(table.name);
    sorted.push(...free);
  }
  return sorted;
}

async function loadSequences(client: pg.Client): Promise<readonly SequenceState[]> {
  const { rows: names } = await client.query<{ name: string }>(
    `select relname::text as name from pg_class
     where relkind = 'S' and relnamespace = current_schema()::regnamespace order by relname`,
  );
  if (names.length === 0) return [];
  const parts = names.map(
    ({ name }) =>
      `select '${name.replaceAll("'", "''")}' as name, last_value as "lastValue", is_called as "isCalled" from ${quote(name)}`,
  );
  return (await client.query<SequenceState>(parts.join(' union all '))).rows;
}
