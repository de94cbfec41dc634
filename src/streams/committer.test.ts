import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../lib/clock.ts';
import type { Transaction } from '../storage/database.ts';
import type { Positioned, StreamTable } from '../storage/stream-table.ts';
import { Committer, type CommitterOptions } from './committer.ts';

interface Row {
  readonly name: string;
}

const nowhere: Transaction = { query: async () => [] };

/** A database that keeps rows in a list, and refuses what it is told to. */
function createFixture(overrides: Partial<CommitterOptions> = {}) {
  const written: Positioned<Row>[] = [];
  const published: string[][] = [];
  let refuse: (rows: readonly Positioned<Row>[]) => boolean = () => false;
  let transactions = 0;
  let saved = 0;
  const table: StreamTable<Row> = {
    name: 'rows',
    async insert(_tx, rows) {
      await new Promise((resolve) => setImmediate(resolve));
      if (refuse(rows)) throw new Error('refused');
      written.push(...rows);
    },
  };
  const committer = new Committer({
    pipeline: {
      async transaction(work) {
        transactions += 1;
        const before = written.length;
        const savedBefore = saved;
        try {
          return await work(nowhere);
        } catch (cause) {
          written.length = before;
          saved = savedBefore;
          throw cause;
        }
      },
    },
    writerId: 1,
    position: 100,
    clock: systemClock,
    loadPosition: async () => saved,
    savePosition: async (_tx, { position }) => {
      saved = position;
    },
    publish: (batch) => published.push(batch.rowsOf(table).map(({ row, position }) => `${row.name}@${position}`)),
    ...overrides,
  });
  return {
    committer,
    written,
    published,
    commit: (name: string, chain?: object) => committer.commit({ facts: [{ table, row: { name } }] as never, chain }),
    refuseIf: (predicate: (rows: readonly Positioned<Row>[]) => boolean) => {
      refuse = predicate;
    },
    get transactions() {
      return transactions;
    },
  };
}

test('what waits while a transaction runs goes into the next one together', async () => {
  const fixture = createFixture();
  const positions = await Promise.all(Array.from({ length: 50 }, (_, index) => fixture.commit(`${index}`)));
  assert.deepEqual(
    positions.flat(),
    Array.from({ length: 50 }, (_, index) => 101 + index),
  );
  assert.ok(fixture.transactions <= 2, `${fixture.transactions} transactions`);
  assert.equal(fixture.committer.position, 150);
  assert.deepEqual(fixture.published.flat().slice(0, 2), ['0@101', '1@102']);
});

test('callers are answered after the batch was published', async () => {
  const fixture = createFixture();
  await fixture.commit('a');
  assert.deepEqual(fixture.published, [['a@101']]);
});

test('one bad unit fails alone, and those behind it on its chain with it', async () => {
  const fixture = createFixture();
  fixture.refuseIf((rows) => rows.some(({ row }) => row.name === 'bad'));
  const room = {};
  const results = await Promise.allSettled([
    fixture.commit('good 1'),
    fixture.commit('bad', room),
    fixture.commit('behind bad', room),
    fixture.commit('good 2', {}),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected', 'fulfilled'],
  );
  assert.deepEqual(
    fixture.written.map(({ row }) => row.name),
    ['good 1', 'good 2'],
  );
  const positions = fixture.written.map(({ position }) => position);
  assert.equal(new Set(positions).size, positions.length);
});

test('a COMMIT whose answer was lost counts as what the database says it is', async () => {
  let saved = 0;
  const fixture = createFixture({
    pipeline: {
      async transaction(work) {
        await work(nowhere);
        throw new Error('the connection was lost');
      },
    },
    savePosition: async (_tx, { position }) => {
      saved = position;
    },
    loadPosition: async () => saved,
  });
  assert.deepEqual(await fixture.commit('a'), [101]);
  assert.deepEqual(fixture.published, [['a@101']]);
});

test('closing commits what waits and refuses what comes after', async () => {
  const fixture = createFixture();
  const waiting = fixture.commit('last');
  await fixture.committer[Symbol.asyncDispose]();
  assert.deepEqual(await waiting, [101]);
  await assert.rejects(fixture.commit('too late'), /stopping/);
});

test('positions are left free before a fact that reserves them', async () => {
  const { committer, written } = createFixture();
  const table: StreamTable<Row> = { name: 'rows', insert: async (_tx, rows) => written.push(...rows) };
  const facts = [
    { table, row: { name: 'a' } },
    { table, row: { name: 'b' }, reserved: 1_000 },
    { table, row: { name: 'c' } },
  ];
  assert.deepEqual(await committer.commit({ facts: facts as never }), [101, 1102, 1103]);
  assert.equal(committer.position, 1103);
  assert.deepEqual(
    written.map(({ position }) => position),
    [101, 1102, 1103],
  );
});
