/**
 * Background jobs on a real database: steps, failures, an end asked for, and a database that goes away.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createJobs, JobFailure, type JobKind, type Jobs } from '../../src/jobs/job-runner.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { Database } from '../../src/storage/database.ts';
import { createTestDatabase } from '../support/database.ts';

/** Counts to three, and says so after each. */
const counting: JobKind = {
  maxAttempts: 3,
  async step({ cursor }) {
    const count = Number(cursor?.['count'] ?? 0) + 1;
    return { cursor: count === 3 ? undefined : { count }, progress: { count } };
  },
};

/** No timer waits: delays are what other tests are about. */
const impatient = { ...systemClock, after: (_delay: number, callback: () => void) => systemClock.after(1, callback) };

async function run(database: Database, kind: JobKind, work: (jobs: Jobs, jobId: number) => Promise<void>) {
  await using jobs = createJobs({ database, clock: impatient, logger: silentLogger, kinds: { test: kind } });
  await jobs.start();
  const jobId = await jobs.add(database, { kind: 'test', subject: 'x', params: {}, requestedBy: 'test' });
  assert.ok(jobId !== undefined);
  jobs.wake();
  await work(jobs, jobId);
}

describe('background jobs', () => {
  test('run step by step, and whoever waits is told; one of a kind for a subject', async () => {
    await using db = await createTestDatabase();
    const gate = Promise.withResolvers<void>();
    const waiting: JobKind = {
      ...counting,
      async step(job) {
        await gate.promise;
        return counting.step(job);
      },
    };
    await run(db.database, waiting, async (jobs, jobId) => {
      const again = { kind: 'test', subject: 'x', params: {}, requestedBy: 'test' };
      assert.equal(await jobs.add(db.database, again), undefined);
      gate.resolve();
      const job = await jobs.wait(jobId);
      assert.deepEqual([job.state, job.progress], ['done', { count: 3 }]);
      assert.deepEqual((await jobs.load(jobId))?.progress, { count: 3 });
    });
  });

  test('a step that fails is tried again, at most so often', async () => {
    await using db = await createTestDatabase();
    let attempts = 0;
    const failing: JobKind = {
      maxAttempts: 3,
      step() {
        attempts += 1;
        return Promise.reject(new Error('not today'));
      },
    };
    await run(db.database, failing, async (jobs, jobId) => {
      const job = await jobs.wait(jobId);
      assert.deepEqual([job.state, job.error, attempts], ['failed', 'not today', 3]);
    });
  });

  test('a failure that would repeat itself ends the job at once', async () => {
    await using db = await createTestDatabase();
    const hopeless: JobKind = { maxAttempts: 3, step: () => Promise.reject(new JobFailure('never')) };
    await run(db.database, hopeless, async (jobs, jobId) => {
      assert.equal((await jobs.wait(jobId)).state, 'failed');
    });
  });

  test('cancelled while it runs, it ends after its step; what is done stays recorded', async () => {
    await using db = await createTestDatabase();
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const endless: JobKind = {
      maxAttempts: 1,
      async step({ progress }) {
        reached.resolve();
        await gate.promise;
        return { cursor: {}, progress: { steps: Number(progress['steps'] ?? 0) + 1 } };
      },
    };
    await run(db.database, endless, async (jobs, jobId) => {
      await reached.promise;
      const waiting = jobs.wait(jobId);
      assert.equal((await jobs.cancel(jobId))?.cancelRequested, true);
      gate.resolve();
      const job = await waiting;
      assert.deepEqual([job.state, job.progress], ['cancelled', { steps: 1 }]);
      assert.equal((await jobs.cancel(jobId))?.state, 'cancelled');
    });
  });

  test('goes on when the database was away while a step was recorded, without a restart', async () => {
    await using db = await createTestDatabase();
    let isAway = false;
    let failures = 0;
    const flaky: Database = {
      async query(statement) {
        if (!isAway) return db.database.query(statement);
        failures += 1;
        if (failures > 4) isAway = false;
        throw new Error('the database is away');
      },
      transaction: (work) => db.database.transaction(work),
    };
    const kind: JobKind = {
      maxAttempts: 1,
      async step(job) {
        isAway = job.cursor === undefined && failures === 0;
        return counting.step(job);
      },
    };
    await run(flaky, kind, async (jobs, jobId) => {
      const job = await jobs.wait(jobId);
      assert.deepEqual([job.state, job.progress], ['done', { count: 3 }]);
      assert.ok(failures > 1);
    });
  });

  test('stops while the database is away', async () => {
    await using db = await createTestDatabase();
    let isAway = false;
    const broken: Database = {
      query: (statement) => (isAway ? Promise.reject(new Error('away')) : db.database.query(statement)),
      transaction: (work) => db.database.transaction(work),
    };
    const kind: JobKind = {
      maxAttempts: 1,
      async step(job) {
        isAway = true;
        return counting.step(job);
      },
    };
    await run(broken, kind, async () => {
      while (!isAway) await sleep(1);
      await sleep(20);
    });
  });
});
