import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { withClient } from '../../src/storage/connection.ts';
import { loadMigrationStatus, migrate } from '../../src/storage/migrate.ts';
import { claimServerIdentity, ServerIdentityError } from '../../src/storage/server-identity.ts';
import { createTestDatabase } from '../support/database.ts';

const folders: string[] = [];
let folder: string;
let url: URL;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hammerhead-migrations-'));
  folders.push(folder);
  url = pathToFileURL(`${folder}/`);
});
after(() => {
  for (const path of folders) rmSync(path, { recursive: true });
});

const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);

describe('migrate', () => {
  test('runs files in order, once, and says which', async () => {
    await using database = await createTestDatabase({ migrated: false });
    write('0001_first.sql', 'create table a (x bigint);');
    write(
      '0002_second.sql',
      '-- no transaction\ncreate index concurrently if not exists a_x\n  on a (x);\nvacuum a;\n',
    );
    assert.deepEqual((await loadMigrationStatus(database.connection, url)).applied, []);
    const ran = await migrate(database.connection, url);
    assert.deepEqual(
      ran.map(({ version, name }) => [version, name]),
      [
        [1, 'first'],
        [2, 'second'],
      ],
    );
    assert.deepEqual(await migrate(database.connection, url), []);
    const status = await loadMigrationStatus(database.connection, url);
    assert.deepEqual(
      status.applied.map(({ version }) => version),
      [1, 2],
    );
  });

  test('two servers that start at once migrate once', async () => {
    await using database = await createTestDatabase({ migrated: false });
    write('0001_first.sql', 'create table a (x bigint); select pg_sleep(0.1);');
    const ran = await Promise.all([migrate(database.connection, url), migrate(database.connection, url)]);
    assert.deepEqual(ran.map(({ length }) => length).sort(), [0, 1]);
  });

  test('a failing file leaves nothing behind', async () => {
    await using database = await createTestDatabase({ migrated: false });
    write('0001_first.sql', 'create table a (x bigint); create table a (x bigint);');
    await assert.rejects(
      migrate(database.connection, url),
      /migration 1 \(first\) failed: relation "a" already exists/,
    );
    write('0001_first.sql', 'create table a (x bigint);');
    assert.equal((await migrate(database.connection, url)).length, 1);
  });

  test('refuses changed files, gaps, and databases of newer servers unless they are compatible', async () => {
    await using database = await createTestDatabase({ migrated: false });
    write('0001_first.sql', 'create table a (x bigint);');
    write('0003_third.sql', '-- compatible with 1\ncreate table c (x bigint);');
    await migrate(database.connection, url);
    rmSync(join(folder, '0003_third.sql'));
    assert.deepEqual(await migrate(database.connection, url), []);

    write('0002_second.sql', 'create table b (x bigint);');
    write('0003_third.sql', '-- compatible with 1\ncreate table c (x bigint);');
    await assert.rejects(migrate(database.connection, url), /migration 2 \(second\) is missing/);
    rmSync(join(folder, '0002_second.sql'));

    write('0004_fourth.sql', 'create table d (x bigint);');
    await migrate(database.connection, url);
    rmSync(join(folder, '0004_fourth.sql'));
    await assert.rejects(
      migrate(database.connection, url),
      /made by a newer Hammerhead: it has migration 4 \(fourth\)/,
    );

    write('0004_fourth.sql', 'create table d (x text);');
    await assert.rejects(migrate(database.connection, url), /migration 4 \(fourth\) differs/);
  });

  test('refuses two files with one number and other names', async () => {
    await using database = await createTestDatabase({ migrated: false });
    write('0001_first.sql', '');
    write('0001_other.sql', '');
    await assert.rejects(migrate(database.connection, url), /two migrations have the number 1/);
    rmSync(join(folder, '0001_other.sql'));
    write('2_second.sql', '');
    await assert.rejects(migrate(database.connection, url), /NNNN_lower_case\.sql/);
  });

  test("this server's own migrations stand", async () => {
    await using database = await createTestDatabase();
    const { pending, applied } = await loadMigrationStatus(database.connection);
    assert.deepEqual(pending, []);
    assert.ok(applied.length > 0);
    const { rows } = await withClient(database.connection, (client) =>
      client.query(`select table_name, column_name from information_schema.columns
        where table_schema = 'public' and data_type = 'text' and collation_name is distinct from 'C'
          and column_name ~ '(_id|server_name|alias|type|state_key)$'`),
    );
    assert.deepEqual(rows, [], "columns that hold ids compare bytes, whatever the database's collation");
  });
});

describe('server identity', () => {
  const identity = { serverName: 'a.example', signingKeyId: 'ed25519:1', signingPublicKey: 'AAAA' };

  test('another name or key on the same database is refused', async () => {
    await using test_ = await createTestDatabase();
    await claimServerIdentity(test_.database, identity, 1);
    await claimServerIdentity(test_.database, identity, 2);
    const renamed = claimServerIdentity(test_.database, { ...identity, serverName: 'b.example' }, 3);
    await assert.rejects(
      renamed,
      (cause: Error) => cause instanceof ServerIdentityError && /belongs to a\.example/.test(cause.message),
    );
    const rekeyed = claimServerIdentity(test_.database, { ...identity, signingPublicKey: 'BBBB' }, 3);
    await assert.rejects(rekeyed, /signing key is ed25519:1 \(BBBB\)/);
  });
});
