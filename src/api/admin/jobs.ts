/**
 * Background jobs: what runs, how far it is, and a way to end it.
 */
import { Type } from 'typebox';
import { MatrixError } from '../../protocol/errors.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import {
  type AdminEndpoint,
  DEFAULT_PAGE,
  defineAdminEndpoint,
  Page,
  readEntryId,
  readLimit,
  readSince,
} from './admin-endpoint.ts';

export interface AdminJob {
  readonly jobId: number;
  readonly kind: string;
  readonly subject: string;
  readonly progress: JsonObject;
  readonly state: string;
  readonly error: string | undefined;
  readonly requestedBy: string;
  readonly createdAt: number;
  readonly finishedAt: number | undefined;
}

export interface AdminJobs {
  list(page: {
    readonly before: number;
    readonly limit: number;
    readonly state: string | undefined;
  }): Promise<readonly AdminJob[]>;
  load(jobId: number): Promise<AdminJob | undefined>;
  /** A job that runs ends after its step. */
  cancel(jobId: number): Promise<AdminJob | undefined>;
}

const State = Type.Enum(['queued', 'running', 'done', 'failed', 'cancelled']);

const JobEntry = Type.Object({
  job_id: Type.Integer(),
  kind: Type.String(),
  subject: Type.String(),
  state: Type.String(),
  progress: Type.Object({}, { additionalProperties: true }),
  error: Type.Optional(Type.String()),
  requested_by: Type.String(),
  created_at: Type.Integer(),
  finished_at: Type.Optional(Type.Integer()),
});

export function adminJobEndpoints(jobs: AdminJobs): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/jobs',
      auth: 'admin',
      query: Type.Object({ ...Page, state: Type.Optional(State) }),
      doc: {
        summary: 'List Jobs',
        answers: { 200: Type.Object({ chunk: Type.Array(JobEntry), next_batch: Type.Optional(Type.Integer()) }) },
      },
      async handle({ query }) {
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        const found = await jobs.list({ before: readSince(query.since), limit, state: query.state });
        const last = found.at(-1);
        return {
          chunk: found.map(toEntry),
          ...(found.length === limit && last !== undefined && { next_batch: last.jobId }),
        };
      },
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/jobs/{job_id}',
      auth: 'admin',
      doc: { summary: 'Get Job', answers: { 200: JobEntry } },
      handle: async ({ params }) => toEntry(await jobs.load(readJobId(params.job_id))),
    }),
    defineAdminEndpoint({
      method: 'POST',
      path: '/_hammerhead/v0/admin/jobs/{job_id}/cancel',
      auth: 'admin',
      doc: { summary: 'Cancel Job', answers: { 200: JobEntry } },
      handle: async ({ params }) => toEntry(await jobs.cancel(readJobId(params.job_id))),
    }),
  ];
}

function readJobId(text: string): number {
  return readEntryId('job_id', text, noSuchJob);
}

function toEntry(job: AdminJob | undefined) {
  if (job === undefined) throw noSuchJob();
  return {
    job_id: job.jobId,
    kind: job.kind,
    subject: job.subject,
    state: job.state,
    progress: job.progress,
    error: job.error,
    requested_by: job.requestedBy,
    created_at: job.createdAt,
    finished_at: job.finishedAt,
  };
}

function noSuchJob(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'There is no such job');
}
