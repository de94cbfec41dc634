/**
 * What must not come back with a backup, because the world went on since it was made.
 *
 * - One-time keys: some were given out after the backup; giving them out again would break the secrecy of new sessions.
 *   Devices see that there are none, and upload new ones. Fallback keys are meant to be used more than once and stay.
 * - Stream positions: clients hold sync tokens from after the backup. The stream goes on far beyond them, so that no
 *   position means two different things, and those clients get everything that comes from now on.
 * - Event and snapshot numbers are covered by their sequences, which are read after the backup's moment.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#one-time-and-fallback-keys
 */
import type pg from 'pg';
import { quote } from './database-snapshot.ts';

/** Tables of one-time keys are named so. */
const ONE_TIME_KEYS = '%one_time_key%';
/** Two months of a thousand positions a second: more than any backup is old, and nothing beside 2^53. */
const POSITIONS_SKIPPED = 2 ** 32;

/** Runs inside of the transaction that restores; returns the tables that were emptied. */
export async function retireAfterRestore(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select relname::text as name from pg_class
     where relkind = 'r' and relnamespace = current_schema()::regnamespace and relname like $1`,
    [ONE_TIME_KEYS],
  );
  for (const { name } of rows) await client.query(`delete from ${quote(name)}`);
  await client.query('update stream_writers set position = position + $1', [POSITIONS_SKIPPED]);
  return rows.map(({ name }) => name);
}
