/**
 * Background jobs: what is to be done, how far it got, and what became of it. At most one job of a kind is under way for
 * one subject.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Transaction } from './database.ts';
import { sql, textArray } from './sql.ts';

export type JobData = JsonObject;
export type JobState = 'queued' | 'running' | 'done' | 'failed' | 'cancelled';

export interface Job {
  readonly jobId: number;
  readonly kind: string;
  readonly subject: string;
  readonly params: JobData;
  /** Where the next step begins; undefined before the first. */
  readonly cursor: JobData | undefined;
  readonly progress: JobData;
  readonly state: JobState;
  readonly cancelRequested: boolean;
  readonly attempts: number;
  readonly runAfter: number;
  readonly error: string | undefined;
  readonly requestedBy: string;
  readonly createdAt: number;
  readonly finishedAt: number | undefined;
}

export interface NewJob {
  readonly kind: string;
  readonly subject: string;
  readonly params: JobData;
  readonly requestedBy: string;
  readonly createdAt: number;
  readonly runAfter: number;
}

interface JobRow {
  readonly job_id: number;
  readonly kind: string;
  readonly subject: string;
  readonly params: string;
  readonly cursor: string | null;
  readonly progress: string;
  readonly state: JobState;
  readonly cancel_requested: boolean;
  readonly attempts: number;
  readonly run_after: number;
  readonly error: string | null;
  readonly requested_by: string;
  readonly created_at: number;
  readonly finished_at: number | null;
}

/** The job's id; undefined where one of its kind is under way for the subject. */
export async function insertJob(tx: Transaction, job: NewJob): Promise<number | undefined> {
  const [row] = await tx.query(sql<{ job_id: number }>`
    insert into jobs (kind, subject, params, state, run_after, requested_by, created_at)
    values (${job.kind}, ${job.subject}, ${JSON.stringify(job.params)}, 'queued', ${job.runAfter}, ${job.requestedBy},
      ${job.createdAt})
    on conflict (kind, subject) where state in ('queued', 'running') do nothing
    returning job_id`);
  return row?.job_id;
}

/**
 * The job's id; one of its kind that has begun for the subject is done once more when it ends. Whoever cancelled it before
 * cannot have meant what is asked for now.
 */
export async function insertOrRepeatJob(tx: Transaction, job: NewJob): Promise<number> {
  const [row] = await tx.query(sql<{ job_id: number }>`
    insert into jobs (kind, subject, params, state, run_after, requested_by, created_at)
    values (${job.kind}, ${job.subject}, ${JSON.stringify(job.params)}, 'queued', ${job.runAfter}, ${job.requestedBy},
      ${job.createdAt})
    on conflict (kind, subject) where state in ('queued', 'running') do update
      set again = jobs.again or jobs.state = 'running' or jobs.cursor is not null, cancel_requested = false
    returning job_id`);
  if (row === undefined) throw new Error('a job was neither made nor found');
  return row.job_id;
}

/** Work that a process did not finish before it ended is due again. */
export async function requeueInterruptedJobs(tx: Transaction): Promise<void> {
  await tx.query(sql`update jobs set state = 'queued' where state = 'running'`);
}

/** The same for one job whose process goes on. */
export async function requeueInterruptedJob(tx: Transaction, jobId: number): Promise<void> {
  await tx.query(sql`update jobs set state = 'queued' where job_id = ${jobId} and state = 'running'`);
}

/** Takes the jobs that are due, the one that waited longest first. */
export async function claimJobs(
  tx: Transaction,
  { now, limit, kinds }: { readonly now: number; readonly limit: number; readonly kinds: readonly string[] },
): Promise<readonly Job[]> {
  const rows = await tx.query(sql<JobRow>`
    update jobs set state = 'running'
    where job_id in (
      select job_id from jobs
      where state = 'queued' and run_after <= ${now} and kind = any(${textArray(kinds)}::text[])
      order by run_after, job_id limit ${limit} for update skip locked
    )
    returning job_id, kind, subject, params, cursor, progress, state, cancel_requested, attempts, run_after, error,
      requested_by, created_at, finished_at`);
  return rows.map(readJob).sort((a, b) => a.jobId - b.jobId);
}

/** When the next job is due, of those that wait. */
export async function loadNextDue(tx: Transaction, kinds: readonly string[]): Promise<number | undefined> {
  const [row] = await tx.query(sql<{ due: number | null }>`
    select min(run_after) as due from jobs where state = 'queued' and kind = any(${textArray(kinds)}::text[])`);
  return row?.due ?? undefined;
}

/** Records a step; returns whether somebody wants the job to end. */
export async function saveJobStep(
  tx: Transaction,
  jobId: number,
  step: { readonly cursor: JobData; readonly progress: JobData },
): Promise<boolean> {
  const [row] = await tx.query(sql<{ cancel_requested: boolean }>`
    update jobs set cursor = ${JSON.stringify(step.cursor)}, progress = ${JSON.stringify(step.progress)}, attempts = 0
    where job_id = ${jobId} returning cancel_requested`);
  return row?.cancel_requested === true;
}

export interface JobEnd {
  readonly state: Extract<JobState, 'done' | 'failed' | 'cancelled'>;
  readonly progress: JobData;
  readonly error: string | undefined;
  readonly finishedAt: number;
}

/** Whether the job has ended; false where it is to be done once more, and is due. */
export async function finishJob(tx: Transaction, jobId: number, end: JobEnd): Promise<boolean> {
  const isCancelled = end.state === 'cancelled';
  const [row] = await tx.query(sql<{ state: JobState }>`
    update jobs set state = case when again and not ${isCancelled} then 'queued' else ${end.state}::text end,
      finished_at = case when again and not ${isCancelled} then null else ${end.finishedAt}::bigint end,
      run_after = case when again and not ${isCancelled} then ${end.finishedAt}::bigint else run_after end,
      cursor = case when again and not ${isCancelled} then null else cursor end,
      attempts = case when again and not ${isCancelled} then 0 else attempts end,
      again = false, progress = ${JSON.stringify(end.progress)}, error = ${end.error ?? null}
    where job_id = ${jobId} returning state`);
  return row?.state !== 'queued';
}

export async function deleteJob(tx: Transaction, jobId: number): Promise<void> {
  await tx.query(sql`delete from jobs where job_id = ${jobId}`);
}

/** Puts a job between two steps at the end of the queue, so that others get their turn. */
export async function requeueJob(tx: Transaction, jobId: number, runAfter: number): Promise<void> {
  await tx.query(sql`update jobs set state = 'queued', run_after = ${runAfter} where job_id = ${jobId}`);
}

export async function retryJob(
  tx: Transaction,
  jobId: number,
  { runAfter, error }: { readonly runAfter: number; readonly error: string },
): Promise<void> {
  await tx.query(sql`
    update jobs set state = 'queued', attempts = attempts + 1, run_after = ${runAfter}, error = ${error}
    where job_id = ${jobId}`);
}

/** Ends a job that waits at once, and asks one that runs to end after its step. The job as it then is. */
export async function requestCancel(tx: Transaction, jobId: number, now: number): Promise<Job | undefined> {
  const rows = await tx.query(sql<JobRow>`
    update jobs set cancel_requested = cancel_requested or state in ('queued', 'running'),
      finished_at = case when state = 'queued' then ${now} else finished_at end,
      state = case when state = 'queued' then 'cancelled' else state end
    where job_id = ${jobId}
    returning job_id, kind, subject, params, cursor, progress, state, cancel_requested, attempts, run_after, error,
      requested_by, created_at, finished_at`);
  return rows.map(readJob)[0];
}

export async function loadJob(tx: Transaction, jobId: number): Promise<Job | undefined> {
  const rows = await tx.query(sql<JobRow>`
    select job_id, kind, subject, params, cursor, progress, state, cancel_requested, attempts, run_after, error,
      requested_by, created_at, finished_at
    from jobs where job_id = ${jobId}`);
  return rows.map(readJob)[0];
}

/** Whether a job of the kind is under way, for whatever subject. */
export async function hasActiveJob(tx: Transaction, kind: string): Promise<boolean> {
  const [row] = await tx.query(sql<{ found: boolean }>`
    select exists (select from jobs where kind = ${kind} and state in ('queued', 'running')) as found`);
  return row?.found === true;
}

/** The newest first. */
export async function listJobs(
  tx: Transaction,
  { before, limit, state }: { readonly before: number; readonly limit: number; readonly state: string | undefined },
): Promise<readonly Job[]> {
  const rows = await tx.query(sql<JobRow>`
    select job_id, kind, subject, params, cursor, progress, state, cancel_requested, attempts, run_after, error,
      requested_by, created_at, finished_at
    from jobs where job_id < ${before} and (${state ?? null}::text is null or state = ${state ?? null})
    order by job_id desc limit ${limit}`);
  return rows.map(readJob);
}

function readJob(row: JobRow): Job {
  return {
    jobId: row.job_id,
    kind: row.kind,
    subject: row.subject,
    params: parseJsonText(row.params) as JsonObject,
    cursor: row.cursor === null ? undefined : (parseJsonText(row.cursor) as JsonObject),
    progress: parseJsonText(row.progress) as JsonObject,
    state: row.state,
    cancelRequested: row.cancel_requested,
    attempts: row.attempts,
    runAfter: row.run_after,
    error: row.error ?? undefined,
    requestedBy: row.requested_by,
    createdAt: row.created_at,
    finishedAt: row.finished_at ?? undefined,
  };
}
