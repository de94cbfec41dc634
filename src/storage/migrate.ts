/**
 * Brings the schema to what this version of the code expects: numbered SQL files, each with one purpose, run once, in
 * order, under one lock. An applied file is never changed again (its checksum is stored), and there is no way back; an
 * older server still starts on a newer database when the newer migrations say so.
 *
 * The head of a file may say `-- no transaction` (its statements then run one by one and must be repeatable, for
 * `create index concurrently if not exists`), and `-- compatible with N`: servers that know migrations up to N still
 * work after it.
 */

import { hash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type pg from 'pg';
import { OperatorError } from '../lib/operator-error.ts';
import { withClient } from './connection.ts';
import { withMigrationLock } from './instance-lock.ts';

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  readonly text: string;
  readonly inTransaction: boolean;
  /** The oldest schema version whose servers still work after this migration. */
  readonly compatibleWith: number;
}

export interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  readonly compatibleWith: number;
  readonly appliedAt: Date;
}

export interface MigrationStatus {
  readonly applied: readonly AppliedMigration[];
  readonly pending: readonly Migration[];
}

export class MigrationError extends OperatorError {}

const MIGRATIONS_FOLDER = new URL('./migrations/', import.meta.url);
const FILE_NAME = /^(\d{4})_([a-z0-9_]+)\.sql$/;

/** Runs what is missing, up to the version `upTo`, and returns it. */
export async function migrate(
  url: string,
  folder: URL = MIGRATIONS_FOLDER,
  upTo: number = Number.POSITIVE_INFINITY,
): Promise<readonly Migration[]> {
  const migrations = (await readMigrations(folder)).filter(({ version }) => version <= upTo);
  return withClient(url, (client) =>
    withMigrationLock(client, async () => {
      await createTable(client);
      const pending = checkApplied(migrations, await loadApplied(client));
      for (const migration of pending) await apply(client, migration);
      return pending;
    }),
  );
}

/** What was run and what is missing; changes nothing. */
export async function loadMigrationStatus(url: string, folder: URL = MIGRATIONS_FOLDER): Promise<MigrationStatus> {
  const migrations = await readMigrations(folder);
  const applied = await withClient(url, loadApplied);
  return { applied, pending: checkApplied(migrations, applied) };
}

export async function readMigrations(folder: URL = MIGRATIONS_FOLDER): Promise<readonly Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort();
  const migrations = await Promise.all(
    names.map(async (file) => parseMigration(file, await readFile(new URL(file, folder), 'utf8'))),
  );
  migrations.forEach(({ version, name }, index) => {
    if (migrations[index - 1]?.version === version) {
      throw new MigrationError(`two migrations have the number ${version}: ${migrations[index - 1]?.name} and ${name}`);
    }
  });
  return migrations;
}

function parseMigration(file: string, text: string): Migration {
  const match = FILE_NAME.exec(file);
  if (match === null) throw new MigrationError(`${file}: a migration is named NNNN_lower_case.sql`);
  const version = Number(match[1]);
  const compatibleWith = /^-- compatible with (\d+)$/m.exec(text)?.[1];
  return {
    version,
    name: match[2] ?? '',
    checksum: hash('sha256', text),
    text,
    inTransaction: !/^-- no transaction$/m.test(text),
    compatibleWith: compatibleWith === undefined ? version : Number(compatibleWith),
  };
}

async function createTable(client: pg.Client): Promise<void> {
  await client.query(
    `create table if not exists schema_migrations (
       version integer primary key,
       name text collate "C" not null,
       checksum text collate "C" not null,
       compatible_with integer not null,
       applied_at timestamptz not null default now()
     )`,
  );
}

/** Empty for a database without a schema. */
export async function loadApplied(client: pg.Client): Promise<readonly AppliedMigration[]> {
  const exists = await client.query<{ found: boolean }>(`select to_regclass('schema_migrations') is not null as found`);
  if (exists.rows[0]?.found !== true) return [];
  const { rows } = await client.query<AppliedMigration>(
    `select version, name, checksum, compatible_with as "compatibleWith", applied_at as "appliedAt"
     from schema_migrations order by version`,
  );
  return rows;
}

/** Refuses a database that this code can't work on, and returns the migrations that are missing. */
function checkApplied(known: readonly Migration[], applied: readonly AppliedMigration[]): readonly Migration[] {
  const newestKnown = known.at(-1)?.version ?? 0;
  const newestApplied = applied.at(-1)?.version ?? 0;
  for (const { version, name, checksum, compatibleWith } of applied) {
    const ours = known.find((migration) => migration.version === version);
    if (ours !== undefined && ours.checksum !== checksum) {
      throw new MigrationError(
        `migration ${version} (${ours.name}) differs from the one that made this database; restore the file, or use the ` +
          'Hammerhead version that made it',
      );
    }
    if (ours === undefined && compatibleWith > newestKnown) {
      throw new MigrationError(
        `the database was made by a newer Hammerhead: it has migration ${version} (${name}), and this version knows ` +
          `migrations up to ${newestKnown}. Install the newer version again, or restore a backup from before the update`,
      );
    }
  }
  const pending = known.filter(({ version }) => !applied.some((done) => done.version === version));
  const late = pending.find(({ version }) => version < newestApplied);
  if (late !== undefined) {
    throw new MigrationError(
      `migration ${late.version} (${late.name}) is missing, though migration ${newestApplied} has been run`,
    );
  }
  return pending;
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  const record = (): Promise<unknown> =>
    client.query('insert into schema_migrations (version, name, checksum, compatible_with) values ($1, $2, $3, $4)', [
      migration.version,
      migration.name,
      migration.checksum,
      migration.compatibleWith,
    ]);
  try {
    if (!migration.inTransaction) {
      for (const statement of splitStatements(migration.text)) await client.query(statement);
      await record();
      return;
    }
    await client.query('begin');
    await client.query(migration.text);
    await record();
    await client.query('commit');
  } catch (cause) {
    await client.query('rollback');
    const { version, name } = migration;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MigrationError(`migration ${version} (${name}) failed: ${reason}`, { cause });
  }
}

/** Files without a transaction end each statement with a semicolon at a line's end, and have it nowhere else. */
function splitStatements(text: string): readonly string[] {
  const withoutComments = text.replaceAll(/^--.*$/gm, '');
  return withoutComments
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}
