/** Background work: what runs, how far it is, and a way to end it. */
import { EXIT, ExitError } from '../exit-codes.ts';
import type { CommandContext, CommandGroup, Input } from './command.ts';
import { waitForJob } from './job-progress.ts';
import { showAny, showTime } from './output.ts';
import { LIMIT_OPTIONS, printList } from './pages.ts';

const JOBS = '/_hammerhead/v0/admin/jobs';
const JOB = { name: '<job>', about: 'its number' };
const TIMES = { created_at: showTime, finished_at: showTime };

export const jobs: CommandGroup = {
  name: 'jobs',
  about: 'work in the background',
  commands: [
    {
      name: 'list',
      about: 'list jobs, the newest first',
      options: [
        {
          flags: '--state <state>',
          about: 'only these',
          choices: ['queued', 'running', 'done', 'failed', 'cancelled'],
        },
        ...LIMIT_OPTIONS,
      ],
      examples: ['hammerheadctl jobs list', 'hammerheadctl jobs list --state failed'],
      run: (context, input) =>
        printList(context, input, {
          path: JOBS,
          query: { state: input.text('state') },
          columns: [
            { key: 'job_id', title: 'JOB' },
            { key: 'kind', title: 'KIND' },
            { key: 'subject', title: 'SUBJECT' },
            { key: 'state', title: 'STATE' },
            { key: 'created_at', title: 'CREATED', show: showTime },
            { key: 'finished_at', title: 'FINISHED', show: showTime },
            { key: 'requested_by', title: 'BY' },
          ],
        }),
    },
    {
      name: 'show',
      about: 'show one job',
      arguments: [JOB],
      options: [{ flags: '--wait', about: 'wait for its end; fails where the job fails' }],
      examples: ['hammerheadctl jobs show 17', 'hammerheadctl jobs show 17 --wait'],
      run: showJob,
    },
    {
      name: 'cancel',
      about: 'end a job: at once where it waits, after its step where it runs; what is done stays done',
      arguments: [JOB],
      examples: ['hammerheadctl jobs cancel 17'],
      async run({ client, output }, input) {
        const job = await client.call({ method: 'POST', path: `${pathOf(input)}/cancel` });
        if (output.isJson) return output.json(job);
        output.done(
          `job ${input.argument(0)}: ${job['state'] === 'running' ? 'ends after its step' : showAny(job['state'])}`,
        );
      },
    },
  ],
};

async function showJob({ client, output }: CommandContext, input: Input): Promise<void> {
  const isWaiting = input.has('wait');
  const job = isWaiting
    ? await waitForJob(client, input.argument(0))
    : await client.call({ method: 'GET', path: pathOf(input) });
  if (output.isJson) output.json(job);
  else output.record(job, TIMES);
  if (isWaiting && job['state'] !== 'done') throw new ExitError(EXIT.failed, `the job ${showAny(job['state'])}`);
}

function pathOf(input: Input): string {
  return `${JOBS}/${encodeURIComponent(input.argument(0))}`;
}
