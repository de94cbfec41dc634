import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { InstanceRunningError } from '../../src/storage/instance-lock.ts';
import { CommitOutcomeUnknownError, createPipeline } from '../../src/storage/pipeline.ts';
import { createPool, RolledBackError } from '../../src/storage/pool.ts';
import { type Parameter, sql, textArray } from '../../src/storage/sql.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let scratch: TestDatabase;

before(async () => {
  scratch = await createTestDatabase({ migrated: false });
  await scratch.database.query(sql`create table items (id bigint primary key, name text not null)`);
});
after(() => scratch.drop());

const insert = (id: number, name: Parameter) => sql`insert into items (id, name) values (${id}, ${name})`;
const loadNames = async (): Promise<string[]> => {
  const rows = await scratch.database.query(sql<{ name: string }>`select name from items order by id`);
  return rows.map(({ name }) => name);
};
const clear = () => scratch.database.query(sql`delete from items`);

describe('pool', () => {
  test('reads bigint as number, bytea as Buffer and arrays with nulls', async () => {
    const [row] = await scratch.database.query(
      sql`select 9007199254740991::bigint as big, array[1, null, 3]::bigint[] as list, '{}'::bigint[] as none,
            '\\x00ff'::bytea as bytes, ${textArray(['a', null])}::text[] as names, count(*) from items`,
    );
    assert.deepEqual(row, {
      big: Number.MAX_SAFE_INTEGER,
      list: [1, null, 3],
      none: [],
      bytes: Buffer.from([0, 255]),
      names: ['a', null],
      count: 0,
    });
  });

  test('commits what returns and rolls back what throws', async () => {
    await clear();
    const answer = await scratch.database.transaction(async (tx) => {
      await Promise.all([tx.query(insert(1, 'one')), tx.query(insert(2, 'two'))]);
      return 'done';
    });
    assert.equal(answer, 'done');
    await assert.rejects(
      scratch.database.transaction(async (tx) => {
        await tx.query(insert(3, 'three'));
        throw new Error('changed my mind');
      }),
      /changed my mind/,
    );
    assert.deepEqual(await loadNames(), ['one', 'two']);
  });

  test('a statement error that was swallowed does not pass for a commit', async () => {
    await clear();
    const swallowed = scratch.database.transaction(async (tx) => {
      await tx.query(insert(1, 'one'));
      await tx.query(insert(1, 'twice')).catch(() => undefined);
    });
    await assert.rejects(swallowed, RolledBackError);
    assert.deepEqual(await loadNames(), []);
  });

  test('keeps no more idle connections than it was told, and counts statements', async () => {
    await using pool = createPool({ connection: scratch.connection, maxOpenConnections: 4, maxIdleConnections: 1 });
    await Promise.all(Array.from({ length: 4 }, () => pool.query(sql`select pg_sleep(0.02)`)));
    assert.equal(pool.stats.statements, 4);
    assert.ok(pool.stats.idle <= 1, `${pool.stats.idle} idle connections`);
  });

  test('goes on after its connections were cut', async () => {
    await using pool = createPool({ connection: scratch.connection, maxOpenConnections: 1 });
    await pool.query(sql`select 1`);
    const cut = pool.query(sql`select pg_terminate_backend(pg_backend_pid())`);
    await assert.rejects(cut);
    await pool.query(sql`select 1`);
  });
});

describe('pipeline', () => {
  test('commits all statements of a transaction in one flight', async () => {
    await clear();
    await using pipeline = await createPipeline({ connection: scratch.connection });
    await pipeline.transaction((tx) => Promise.all([tx.query(insert(1, 'one')), tx.query(insert(2, 'two'))]));
    assert.deepEqual(await loadNames(), ['one', 'two']);
    assert.deepEqual(pipeline.stats, { statements: 2, transactions: 1 });
  });

  test('a failing statement rolls the whole transaction back, and the next one works', async () => {
    await clear();
    await using pipeline = await createPipeline({ connection: scratch.connection });
    const failing = pipeline.transaction((tx) =>
      Promise.all([tx.query(insert(1, 'one')), tx.query(insert(1, 'twice')), tx.query(insert(2, 'two'))]),
    );
    await assert.rejects(failing, { code: '23505' });
    assert.deepEqual(await loadNames(), []);
    await pipeline.transaction((tx) => tx.query(insert(3, 'three')));
    assert.deepEqual(await loadNames(), ['three']);
  });

  test('work that throws before or after its first statement is rolled back', async () => {
    await clear();
    await using pipeline = await createPipeline({ connection: scratch.connection });
    const sync = pipeline.transaction((tx) => {
      void tx.query(insert(1, 'one'));
      throw new Error('cannot encode');
    });
    await assert.rejects(sync, /cannot encode/);
    const nested = async (): Promise<never> => {
      await Promise.resolve();
      throw new Error('cannot encode either');
    };
    await assert.rejects(
      pipeline.transaction((tx) => Promise.all([tx.query(insert(1, 'one')), nested()])),
      /either/,
    );
    assert.deepEqual(await loadNames(), []);
  });

  test('refuses a statement that waited for the answer to another', async () => {
    await using pipeline = await createPipeline({ connection: scratch.connection });
    const waiting = pipeline.transaction(async (tx) => {
      await tx.query(sql`select 1`);
      await tx.query(sql`select 2`);
    });
    await assert.rejects(waiting, /after its commit had left/);
  });

  test('an error at commit is an error, not an unknown outcome', async () => {
    await scratch.database.query(
      sql`create table parents (id bigint primary key, other bigint references parents deferrable initially deferred)`,
    );
    await using pipeline = await createPipeline({ connection: scratch.connection });
    const dangling = pipeline.transaction((tx) => tx.query(sql`insert into parents values (1, 2)`));
    await assert.rejects(dangling, { code: '23503' });
  });

  test('says that the outcome is unknown when the connection is lost, and reconnects with the lock', async () => {
    await clear();
    const lost: Error[] = [];
    await using pipeline = await createPipeline({
      connection: scratch.connection,
      onLost: (cause) => lost.push(cause),
    });
    const cut = pipeline.transaction((tx) =>
      Promise.all([tx.query(insert(1, 'one')), tx.query(sql`select pg_terminate_backend(pg_backend_pid())`)]),
    );
    await assert.rejects(cut, CommitOutcomeUnknownError);
    await pipeline.transaction((tx) => tx.query(insert(2, 'two')));
    assert.deepEqual(await loadNames(), ['two']);
    assert.equal(lost.length, 1);
    await assert.rejects(createPipeline({ connection: scratch.connection, lockGrace: 0 }), InstanceRunningError);
  });

  test('a server that lost the lock to another is told so', async () => {
    const replaced: Error[] = [];
    await using first = await createPipeline({
      connection: scratch.connection,
      lockGrace: 0,
      onReplaced: (cause) => replaced.push(cause),
    });
    await scratch.database.query(
      sql`select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted
            and database = (select oid from pg_database where datname = current_database())`,
    );
    await using _second = await createPipeline({ connection: scratch.connection });
    await assert.rejects(
      first.transaction((tx) => tx.query(sql`select 1`)),
      InstanceRunningError,
    );
    assert.equal(replaced.length, 1);
  });
});
