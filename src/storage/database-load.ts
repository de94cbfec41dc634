/**
 * Fills an empty database with the tables of a backup: the schema of the backup's version first, then all rows in one
 * transaction. So whatever interrupts it, the database is either empty or whole.
 */
import type { Writable } from 'node:stream';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { OperatorError } from '../lib/operator-error.ts';
import { retireAfterRestore } from './after-restore.ts';
import { connectForCopy, loadTables, quote, type SequenceState, type TableShape } from './database-snapshot.ts';
import { migrate } from './migrate.ts';

export interface DatabaseLoad {
  /** Takes rows in COPY's text format. */
  writeTable(table: TableShape): Writable;
  setSequences(sequences: readonly SequenceState[]): Promise<void>;
  /** Takes out what must not come back; returns the tables that were emptied. */
  retire(): Promise<readonly string[]>;
}

export class DatabaseNotEmptyError extends OperatorError {}

/** Throws a DatabaseNotEmptyError where a server has started on the database, or where tables of others are in it. */
export async function checkEmpty(url: string): Promise<void> {
  const client = await connectForCopy(url);
  try {
    const tables = await loadTables(client);
    if (tables.length === 0) return;
    const isOurs = tables.some(({ name }) => name === 'server_identity');
    const { rows } = isOurs
      ? await client.query<{ owner: string }>('select server_name as owner from server_identity')
      : { rows: [{ owner: 'something else' }] };
    const [first] = rows;
    // A schema without a server in it is what an interrupted restore leaves.
    if (first === undefined) return;
    throw new DatabaseNotEmptyError(
      `the database is not empty, it belongs to ${first.owner}: a backup is restored into an empty one only. Set another ` +
        'data_dir or database.url, or drop the database and create it anew',
    );
  } finally {
    await client.end();
  }
}

export interface LoadOptions {
  readonly url: string;
  /** The last migration of the backup. */
  readonly schemaVersion: number;
}

/** Makes the schema, runs `work`, and commits what it wrote. */
export async function loadDatabase(
  { url, schemaVersion }: LoadOptions,
  work: (load: DatabaseLoad) => Promise<void>,
): Promise<void> {
  await checkEmpty(url);
  await migrate(url, undefined, schemaVersion);
  const client = await connectForCopy(url);
  try {
    await client.query('begin');
    // What migrations write into an empty database is in the backup as well.
    for (const table of await listFilled(client)) await client.query(`delete from ${quote(table)}`);
    await work({
      writeTable: ({ name, columns }) =>
        client.query(copyFrom(`copy ${quote(name)} (${columns.map(quote).join(', ')}) from stdin`)),
      setSequences: (sequences) => setSequences(client, sequences),
      retire: () => retireAfterRestore(client),
    });
    await client.query('commit');
    // Without statistics the first queries would be planned for empty tables.
    await client.query('analyze');
  } finally {
    await client.end();
  }
}

async function listFilled(client: pg.Client): Promise<readonly string[]> {
  const tables = await loadTables(client);
  if (tables.length === 0) return [];
  const parts = tables.map(
    ({ name }) => `select '${name.replaceAll("'", "''")}' as name where exists (select from ${quote(name)})`,
  );
  const { rows } = await client.query<{ name: string }>(parts.join(' union all '));
  return rows.map(({ name }) => name);
}

async function setSequences(client: pg.Client, sequences: readonly SequenceState[]): Promise<void> {
  const names = sequences.map(({ name }) => quote(name));
  const values = sequences.map(({ lastValue }) => lastValue);
  const called = sequences.map(({ isCalled }) => isCalled);
  await client.query(
    `select setval(name::regclass, value, called)
     from unnest($1::text[], $2::bigint[], $3::boolean[]) as s (name, value, called)`,
    [names, values, called],
  );
}
