/**
 * Shows how far a background job is: while a request waits for its end, or until it ends. Only on a terminal; the job does
 * not depend on who watches.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { parseJsonText } from '../../lib/parse-json.ts';
import { createProgressLine, type Progress } from '../progress-line.ts';
import type { AdminClient, JsonRecord } from './client.ts';
import { showAny } from './output.ts';
import { readChunk } from './pages.ts';

const JOBS = '/_hammerhead/v0/admin/jobs';
const POLL_MS = 500;
const ENDED: ReadonlySet<unknown> = new Set(['done', 'failed', 'cancelled']);

export interface Watched {
  readonly label: string;
  /** What the job is about: a room id, or a user by id or localpart. */
  readonly subject: string;
}

/** Runs `work`, and shows meanwhile the job that it waits for. */
export async function withJobProgress<T>(client: AdminClient, watched: Watched, work: () => Promise<T>): Promise<T> {
  if (process.stderr.isTTY !== true) return work();
  using line = createProgressLine();
  line.show({ label: watched.label });
  let isOver = false;
  const result = work().finally(() => {
    isOver = true;
  });
  const over = result.then(
    () => undefined,
    () => undefined,
  );
  while (!isOver) {
    const job = await findJob(client, watched.subject);
    if (!isOver) line.show({ label: watched.label, ...describeProgress(job) });
    await Promise.race([over, sleep(POLL_MS)]);
  }
  return result;
}

/** Watches a job to its end, and returns it as it is then. */
export async function waitForJob(client: AdminClient, jobId: string): Promise<JsonRecord> {
  using line = createProgressLine();
  for (;;) {
    const job = await client.call({ method: 'GET', path: `${JOBS}/${encodeURIComponent(jobId)}` });
    if (ENDED.has(job['state'])) return job;
    line.show({ label: `${showAny(job['kind'])} ${showAny(job['subject'])}`, ...describeProgress(job) });
    await sleep(POLL_MS);
  }
}

/** Undefined where there is none, or where who asks may not see it: the secret does not open this list. */
async function findJob(client: AdminClient, subject: string): Promise<JsonRecord | undefined> {
  const { status, text } = await client.callRaw('GET', `${JOBS}?state=running`, undefined);
  if (status !== 200) return undefined;
  const parsed = parseJsonText(text) as JsonRecord;
  return readChunk(parsed).find(({ subject: found }) => found === subject || showAny(found).startsWith(`@${subject}:`));
}

function describeProgress(job: JsonRecord | undefined): Omit<Progress, 'label'> {
  const found = job?.['progress'];
  const counts = typeof found === 'object' && found !== null ? Object.entries(found) : [];
  const numbers = Object.fromEntries(counts.filter((entry): entry is [string, number] => typeof entry[1] === 'number'));
  const { done, total } = numbers;
  const detail = counts.map(([name, count]) => `${name.replaceAll('_', ' ')}: ${showAny(count)}`).join(', ');
  return { detail, ...(done !== undefined && total !== undefined && { done, total }) };
}
