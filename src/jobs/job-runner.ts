/**
 * Runs background jobs, in steps of bounded work. What a step did is recorded before the next begins, so a job survives
 * the end of the process: the next start goes on with the step that was not recorded, and steps can be repeated.
 *
 * Invariants: one process runs jobs at a time; a job ends in `done`, `failed` or `cancelled`, and whoever waits is told.
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Database, Transaction } from '../storage/database.ts';
import {
  claimJobs,
  deleteJob,
  finishJob,
  hasActiveJob,
  insertJob,
  insertOrRepeatJob,
  type Job,
  type JobData,
  type JobEnd,
  listJobs,
  loadJob,
  loadNextDue,
  type NewJob,
  requestCancel,
  requeueInterruptedJob,
  requeueInterruptedJobs,
  requeueJob,
  retryJob,
  saveJobStep,
} from '../storage/jobs.ts';

export type { Job, JobData };

/** `cursor` undefined ends the job. */
export interface JobStep {
  readonly cursor: JobData | undefined;
  /** Counts that tell people how far it is. */
  readonly progress: JobData;
}

export interface JobKind {
  /** One bounded piece of work; done again where the process ended before it was recorded. */
  step(job: Job): Promise<JobStep>;
  /** How often in a row a step may fail before the job does. */
  readonly maxAttempts: number;
  /** The longest pause after a failure, for what waits for others; a minute where it is not given. */
  readonly maxRetryMs?: number;
  /** Whether it leaves no record when it succeeds: for what users cause all the time. */
  readonly isRoutine?: boolean;
}

/** Thrown by a step that would fail again however often it is tried. */
export class JobFailure extends Error {}
export class JobsStoppedError extends Error {}

export interface JobRequest {
  readonly kind: string;
  readonly subject: string;
  readonly params: JobData;
  readonly requestedBy: string;
  /** Milliseconds from now. */
  readonly delay?: number;
}

export interface Jobs extends AsyncDisposable {
  /** Takes up what an earlier process left, and from now on what is added. */
  start(): Promise<void>;
  /** In the caller's transaction, who calls `wake` afterwards. Undefined where such a job is under way. */
  add(tx: Transaction, request: JobRequest): Promise<number | undefined>;
  /** As `add`; where such a job has begun, it is done once more when it ends, since what it saw may be out of date. */
  addAgain(tx: Transaction, request: JobRequest): Promise<number>;
  /** Looks for jobs that are due. */
  wake(): void;
  /** Resolves when the job has ended. */
  wait(jobId: number): Promise<Job>;
  isActive(kind: string): Promise<boolean>;
  /** Undefined for an unknown job. */
  cancel(jobId: number): Promise<Job | undefined>;
  load(jobId: number): Promise<Job | undefined>;
  list(page: {
    readonly before: number;
    readonly limit: number;
    readonly state: string | undefined;
  }): Promise<readonly Job[]>;
}

export interface JobsOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly kinds: Readonly<Record<string, JobKind>>;
}

/** Few, since each may itself do several things at a time, and users come first. */
const MAX_RUNNING = 4;
/** A clock that was set, or a job added by another process, is noticed within this. */
const MAX_SLEEP_MS = 60_000;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;

export function createJobs(options: JobsOptions): Jobs {
  const { database, clock } = options;
  const runner = new JobRunner(options);
  const newJob = ({ delay = 0, ...request }: JobRequest): NewJob => {
    const now = clock.now();
    return { ...request, createdAt: now, runAfter: now + delay };
  };
  return {
    start: () => runner.start(),
    add(tx, request) {
      return insertJob(tx, newJob(request));
    },
    addAgain(tx, request) {
      return insertOrRepeatJob(tx, newJob(request));
    },
    wake: () => runner.wake(),
    wait: (jobId) => runner.wait(jobId),
    isActive: (kind) => hasActiveJob(database, kind),
    async cancel(jobId) {
      const job = await requestCancel(database, jobId, clock.now());
      if (job?.state === 'cancelled') runner.tell(job);
      return job;
    },
    load: (jobId) => loadJob(database, jobId),
    list: (page) => listJobs(database, page),
    [Symbol.asyncDispose]: () => runner.stop(),
  };
}

interface Failure {
  readonly cause: unknown;
  readonly kind: JobKind;
}

interface Waiter {
  resolve(job: Job): void;
  reject(cause: unknown): void;
}

class JobRunner {
  readonly #options: JobsOptions;
  readonly #kinds: readonly string[];
  readonly #running = new Map<number, Promise<void>>();
  readonly #waiters = new Map<number, Waiter[]>();
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  readonly #stopping = Promise.withResolvers<void>();
  #timer: Disposable | undefined;
  #state: 'new' | 'started' | 'stopped' = 'new';

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#kinds = Object.keys(options.kinds);
  }

  async start(): Promise<void> {
    await requeueInterruptedJobs(this.#options.database);
    this.#state = 'started';
    this.wake();
  }

  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#stopping.resolve();
    this.#timer?.[Symbol.dispose]();
    for (const waiters of this.#waiters.values()) {
      for (const { reject } of waiters)
        reject(new JobsStoppedError('the server is stopping; the job goes on at the next start'));
    }
    this.#waiters.clear();
    await this.#looking;
    await Promise.all(this.#running.values());
  }

  wake(): void {
    if (this.#state !== 'started') return;
    if (this.#looking !== undefined) {
      this.#lookAgain = true;
      return;
    }
    this.#looking = this.#look().finally(() => {
      this.#looking = undefined;
      if (this.#lookAgain) {
        this.#lookAgain = false;
        this.wake();
      }
    });
  }

  async wait(jobId: number): Promise<Job> {
    const { promise, resolve, reject } = Promise.withResolvers<Job>();
    this.#waiters.set(jobId, [...(this.#waiters.get(jobId) ?? []), { resolve, reject }]);
    // It may have ended before anybody waited.
    const job = await loadJob(this.#options.database, jobId);
    if (job !== undefined && job.finishedAt !== undefined) this.tell(job);
    return promise;
  }

  tell(job: Job): void {
    for (const { resolve } of this.#waiters.get(job.jobId) ?? []) resolve(job);
    this.#waiters.delete(job.jobId);
  }

  /** Starts what is due, and sets the timer for what is not. */
  async #look(): Promise<void> {
    const { database, clock, logger } = this.#options;
    this.#timer?.[Symbol.dispose]();
    let sleep = FIRST_RETRY_MS;
    try {
      const limit = MAX_RUNNING - this.#running.size;
      const jobs = limit === 0 ? [] : await claimJobs(database, { now: clock.now(), limit, kinds: this.#kinds });
      for (const job of jobs) this.#run(job);
      const due = await loadNextDue(database, this.#kinds);
      const isFull = this.#running.size >= MAX_RUNNING;
      sleep = due === undefined || isFull ? MAX_SLEEP_MS : Math.min(MAX_SLEEP_MS, Math.max(0, due - clock.now()));
    } catch (cause) {
      logger.warn({ cause }, 'could not look for background jobs');
    }
    if (this.#state === 'started') this.#timer = clock.after(sleep, () => this.wake());
  }

  #run(job: Job): void {
    const running = this.#runSteps(job)
      .catch((cause: unknown) => {
        // The database is away, and the job still marked as running: nobody else will take it up.
        this.#options.logger.error(
          { cause, jobId: job.jobId, kind: job.kind },
          'a background job could not be recorded',
        );
        return this.#requeue(job.jobId);
      })
      .finally(() => {
        this.#running.delete(job.jobId);
        this.wake();
      });
    this.#running.set(job.jobId, running);
  }

  /** Until the database is back, or this process stops: then the next start does it. */
  async #requeue(jobId: number): Promise<void> {
    const { database, clock, logger } = this.#options;
    while (this.#state === 'started') {
      const { promise, resolve } = Promise.withResolvers<void>();
      using _timer = clock.after(FIRST_RETRY_MS, resolve);
      await Promise.race([promise, this.#stopping.promise]);
      try {
        return await requeueInterruptedJob(database, jobId);
      } catch (cause) {
        logger.warn({ cause, jobId }, 'a background job could not be taken up again');
      }
    }
  }

  async #runSteps(started: Job): Promise<void> {
    const { database, logger, kinds } = this.#options;
    const kind = kinds[started.kind];
    if (kind === undefined) return;
    let job = started;
    while (this.#state === 'started') {
      let step: JobStep;
      try {
        if (job.cancelRequested) return await this.#end(job, { state: 'cancelled', error: undefined });
        step = await kind.step(job);
      } catch (cause) {
        return this.#failed(job, { cause, kind });
      }
      const { cursor, progress } = step;
      if (cursor === undefined) return this.#end({ ...job, progress }, { state: 'done', error: undefined });
      const cancelRequested = await saveJobStep(database, job.jobId, { cursor, progress });
      logger.info({ jobId: job.jobId, kind: job.kind, subject: job.subject, ...progress }, 'background job');
      job = { ...job, cursor, progress, cancelRequested, attempts: 0 };
      // A long job must not keep a short one waiting until its end.
      if (this.#running.size >= MAX_RUNNING) return requeueJob(database, job.jobId, this.#options.clock.now());
    }
  }

  async #failed(job: Job, { cause, kind: { maxAttempts, maxRetryMs } }: Failure): Promise<void> {
    const { database, clock, logger } = this.#options;
    const { jobId, kind, subject, attempts } = job;
    const error = cause instanceof Error ? cause.message : String(cause);
    logger.warn({ cause, jobId, kind, subject, attempts }, 'a step of a background job failed');
    if (cause instanceof JobFailure || attempts + 1 >= maxAttempts) return this.#end(job, { state: 'failed', error });
    const delay = Math.min(maxRetryMs ?? MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** attempts);
    await retryJob(database, jobId, { runAfter: clock.now() + delay, error });
  }

  async #end(job: Job, end: Pick<JobEnd, 'state' | 'error'>): Promise<void> {
    const { database, clock, logger, kinds } = this.#options;
    const { jobId, kind, subject, progress } = job;
    const finishedAt = clock.now();
    const hasEnded = await finishJob(database, jobId, { ...end, progress, finishedAt });
    logger.info({ jobId, kind, subject, ...end, ...progress, hasEnded }, 'background job ended');
    if (!hasEnded) return;
    if (end.state === 'done' && kinds[kind]?.isRoutine === true) await deleteJob(database, jobId);
    this.tell({ ...job, ...end, finishedAt });
  }
}
