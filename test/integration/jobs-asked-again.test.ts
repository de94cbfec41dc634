/**
 * Background jobs that are asked for again while they are under way, that leave no record, and that share their places.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createJobs, type Job, type JobKind } from '../../src/jobs/job-runner.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { createTestDatabase } from '../support/database.ts';

const request = (kind: string, subject = 'x') => ({ kind, subject, params: {}, requestedBy: 'test' });

async function start(kinds: Readonly<Record<string, JobKind>>) {
  const stack = new AsyncDisposableStack();
  const { database } = stack.use(await createTestDatabase());
  const jobs = stack.use(createJobs({ database, clock: systemClock, logger: silentLogger, kinds }));
  await jobs.start();
  const add = async (kind: string, subject?: string): Promise<number> => {
    const jobId = await jobs.addAgain(database, request(kind, subject));
    jobs.wake();
    return jobId;
  };
  return { jobs, database, add, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** A kind whose steps wait to be let through, one by one. */
function createGate(steps: number) {
  const begun: Job[] = [];
  let entered = Promise.withResolvers<void>();
  let gate = Promise.withResolvers<void>();
  const kind: JobKind = {
    maxAttempts: 1,
    async step(job) {
      begun.push(job);
      entered.resolve();
      await gate.promise;
      const done = Number(job.cursor?.['done'] ?? 0) + 1;
      return { cursor: done === steps ? undefined : { done }, progress: { done } };
    },
  };
  return {
    kind,
    begun,
    entered: () => entered.promise,
    pass() {
      const { resolve } = gate;
      gate = Promise.withResolvers();
      entered = Promise.withResolvers();
      resolve();
    },
  };
}

test('a job that is asked for while it runs is done once more, from its beginning, and is one job', async () => {
  const gate = createGate(1);
  await using at = await start({ gated: gate.kind });
  const jobId = await at.add('gated');
  await gate.entered();
  assert.deepEqual([await at.add('gated'), await at.add('gated')], [jobId, jobId]);
  gate.pass();
  await gate.entered();
  assert.equal(gate.begun.length, 2);
  assert.equal(gate.begun[1]?.cursor, undefined);
  gate.pass();
  assert.equal((await at.jobs.wait(jobId)).state, 'done');
  assert.equal(gate.begun.length, 2, 'asked for twice, and done once more');
  assert.notEqual(await at.add('gated'), jobId, 'afterwards it is another job');
  gate.pass();
});

test('a job that waits is not done twice for being asked for twice', async () => {
  const gate = createGate(1);
  await using at = await start({ gated: gate.kind });
  const later = { ...request('gated'), delay: 50 };
  const jobId = await at.jobs.addAgain(at.database, later);
  assert.equal(await at.jobs.addAgain(at.database, later), jobId);
  at.jobs.wake();
  await gate.entered();
  gate.pass();
  await at.jobs.wait(jobId);
  assert.equal(gate.begun.length, 1);
});

test('a cancelled job is not done once more', async () => {
  const gate = createGate(2);
  await using at = await start({ gated: gate.kind });
  const jobId = await at.add('gated');
  await gate.entered();
  await at.add('gated');
  await at.jobs.cancel(jobId);
  gate.pass();
  assert.equal((await at.jobs.wait(jobId)).state, 'cancelled');
  assert.equal(gate.begun.length, 1);
});

test('what is asked for after a cancellation is done', async () => {
  const gate = createGate(2);
  await using at = await start({ gated: gate.kind });
  const jobId = await at.add('gated');
  await gate.entered();
  await at.jobs.cancel(jobId);
  assert.equal(await at.add('gated'), jobId);
  for (let step = 0; step < 4; step++) {
    await gate.entered();
    gate.pass();
  }
  assert.equal((await at.jobs.wait(jobId)).state, 'done');
  assert.equal(gate.begun.length, 4);
});

test('what is routine leaves a record only where it fails', async () => {
  const kind: JobKind = {
    maxAttempts: 1,
    isRoutine: true,
    async step({ subject }) {
      if (subject === 'bad') throw new Error('as it happens');
      return { cursor: undefined, progress: {} };
    },
  };
  await using at = await start({ routine: kind });
  const [good, bad] = [await at.add('routine', 'good'), await at.add('routine', 'bad')];
  assert.equal((await at.jobs.wait(bad)).state, 'failed');
  while ((await at.jobs.load(good)) !== undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  const page = await at.jobs.list({ before: Number.MAX_SAFE_INTEGER, limit: 10, state: undefined });
  assert.deepEqual(
    page.map(({ subject, error }) => [subject, error]),
    [['bad', 'as it happens']],
  );
});

test('a short job gets its turn between the steps of long ones', async () => {
  const STEPS = 100;
  const order: string[] = [];
  const kind: JobKind = {
    maxAttempts: 1,
    async step({ subject, cursor }) {
      order.push(subject);
      const done = Number(cursor?.['done'] ?? 0) + 1;
      return { cursor: subject === 'short' || done === STEPS ? undefined : { done }, progress: { done } };
    },
  };
  await using at = await start({ shared: kind });
  const long = await Promise.all(
    ['a', 'b', 'c', 'd', 'e'].map((subject) => at.jobs.addAgain(at.database, request('shared', subject))),
  );
  const short = await at.jobs.addAgain(at.database, request('shared', 'short'));
  at.jobs.wake();
  await at.jobs.wait(short);
  const place = order.indexOf('short');
  assert.ok(place < (5 * STEPS) / 2, `after ${place} of ${5 * STEPS} steps`);
  await Promise.all(long.map((jobId) => at.jobs.wait(jobId)));
  for (const subject of ['a', 'b', 'c', 'd', 'e']) {
    assert.equal(order.filter((name) => name === subject).length, STEPS, 'no step is done twice');
  }
});
