/** What users reported: list, look at, work on. */
import type { AdminCommand, CommandContext, CommandGroup, Input } from './command.ts';
import { showTime } from './output.ts';
import { LIMIT_OPTIONS, printList } from './pages.ts';

const REPORTS = '/_hammerhead/v0/admin/reports';
const REPORT = { name: '<report>', about: 'its number' };
const TIMES = { created_at: showTime, updated_at: showTime };

export const reports: CommandGroup = {
  name: 'reports',
  about: 'what users reported: events, rooms, other users',
  commands: [
    {
      name: 'list',
      about: 'list reports, the newest first',
      options: [
        { flags: '--state <state>', about: 'only these', choices: ['open', 'resolved'] },
        { flags: '--kind <kind>', about: 'only about these', choices: ['event', 'room', 'user'] },
        ...LIMIT_OPTIONS,
      ],
      examples: ['hammerheadctl reports list --state open'],
      run: (context, input) =>
        printList(context, input, {
          path: REPORTS,
          query: { state: input.text('state'), kind: input.text('kind') },
          columns: [
            { key: 'report_id', title: 'REPORT' },
            { key: 'kind', title: 'ABOUT' },
            { key: 'state', title: 'STATE' },
            { key: 'created_at', title: 'CREATED', show: showTime },
            { key: 'reporter', title: 'BY' },
            { key: 'user_id', title: 'USER' },
            { key: 'room_id', title: 'ROOM' },
            { key: 'reason', title: 'REASON' },
          ],
        }),
    },
    {
      name: 'show',
      about: 'show one report, with the event that it is about',
      arguments: [REPORT],
      examples: ['hammerheadctl reports show 17'],
      async run({ client, output }, input) {
        const report = await client.call({ method: 'GET', path: pathOf(input) });
        if (output.isJson) return output.json(report);
        output.record(report, TIMES);
      },
    },
    stateCommand('resolve', { about: 'close a report', state: 'resolved' }),
    stateCommand('reopen', { about: 'open a report again', state: 'open' }),
  ],
};

function stateCommand(
  name: string,
  { about, state }: { readonly about: string; readonly state: string },
): AdminCommand {
  return {
    name,
    about,
    arguments: [REPORT],
    options: [{ flags: '--note <text>', about: 'what was found or done' }],
    examples: [`hammerheadctl reports ${name} 17 --note 'spam, the account is locked'`],
    run: (context, input) => setState(context, input, state),
  };
}

async function setState({ client, output }: CommandContext, input: Input, state: string): Promise<void> {
  const note = input.text('note');
  const body = { state, ...(note !== undefined && { note }) };
  const report = await client.call({ method: 'PATCH', path: pathOf(input), body });
  if (output.isJson) return output.json(report);
  output.done(`report ${input.argument(0)}: ${state}`);
}

function pathOf(input: Input): string {
  return `${REPORTS}/${encodeURIComponent(input.argument(0))}`;
}
