/** Media: delete one file, or all that match. */
import { EXIT, ExitError } from '../exit-codes.ts';
import type { JsonRecord } from './client.ts';
import type { AdminCommand, CommandContext, CommandGroup, Input } from './command.ts';
import { showAny, showBytes, showTime } from './output.ts';
import { LIMIT_OPTIONS, printList } from './pages.ts';

const MEDIA = '/_hammerhead/v0/admin/media';
const MXC = /^mxc:\/\/([^/]+)\/([^/]+)$/;

/** The API's key of each criterion, by the option that sets it. */
const SETS = {
  remote: 'all_remote_media',
  local: 'all_local_media',
  caches: 'all_caches',
  sparse: 'all_sparse',
} as const;

const FILE = { name: '<mxc>', about: 'its URI: mxc://example.org/abcdef' };
const EXAMPLE = 'mxc://example.org/abcdef';

const COLUMNS = [
  { key: 'origin', title: 'ORIGIN' },
  { key: 'media_id', title: 'ID' },
  { key: 'size', title: 'SIZE', show: showBytes },
  { key: 'content_type', title: 'TYPE' },
  { key: 'file_name', title: 'NAME' },
  { key: 'created_at', title: 'CREATED', show: showTime },
  { key: 'last_access_at', title: 'USED', show: showTime },
  { key: 'quarantined_by', title: 'QUARANTINED BY' },
];

export const media: CommandGroup = {
  name: 'media',
  about: 'uploaded files, and copies from other servers',
  commands: [
    {
      name: 'stats',
      about: 'list users by how much they have stored',
      options: LIMIT_OPTIONS,
      examples: ['hammerheadctl media stats', 'hammerheadctl media stats --all --json'],
      run: (context, input) =>
        printList(context, input, {
          path: '/_hammerhead/v0/admin/statistics/media',
          columns: [
            { key: 'user_id', title: 'USER' },
            { key: 'files', title: 'FILES' },
            { key: 'bytes', title: 'SIZE', show: showBytes },
          ],
        }),
    },
    {
      name: 'list',
      about: 'list the files of a user, the newest first',
      arguments: [{ name: '<user>', about: 'a user id or a localpart' }],
      options: LIMIT_OPTIONS,
      examples: ['hammerheadctl media list alice'],
      run: (context, input) =>
        printList(context, input, {
          path: `/_hammerhead/v0/admin/users/${encodeURIComponent(input.argument(0))}/media`,
          columns: COLUMNS,
        }),
    },
    {
      name: 'show',
      about: 'show one file',
      arguments: [FILE],
      examples: [`hammerheadctl media show ${EXAMPLE}`],
      async run({ client, output }, input) {
        const file = await client.call({ method: 'GET', path: pathOf(input) });
        if (output.isJson) return output.json(file);
        output.record(file, { size: showBytes, created_at: showTime, last_access_at: showTime });
      },
    },
    mark('quarantine', { about: 'withdraw a file from everybody', method: 'PUT', path: 'quarantine' }),
    mark('unquarantine', { about: 'give a withdrawn file back', method: 'DELETE', path: 'quarantine' }),
    mark('protect', { about: 'let a file not be withdrawn together with others', method: 'PUT', path: 'protect' }),
    mark('unprotect', { about: 'take the protection away', method: 'DELETE', path: 'protect' }),
    {
      name: 'delete',
      about: 'delete one file',
      arguments: [FILE],
      examples: [`hammerheadctl media delete ${EXAMPLE}`],
      confirm: (input) => `Delete ${input.argument(0)}? It can't be undone.`,
      run: async (context, input) =>
        report(context, await context.client.call({ method: 'DELETE', path: pathOf(input) })),
    },
    {
      name: 'purge',
      about: 'delete all files that match any of the criteria',
      options: [
        { flags: '--remote', about: 'what was fetched from other Matrix servers' },
        { flags: '--local', about: 'what was uploaded here' },
        { flags: '--caches', about: 'previews and the like, from elsewhere on the web' },
        { flags: '--sparse', about: 'media ids that were handed out and never filled' },
        { flags: '--origin <server>', about: 'everything of that server; _ is this one' },
        { flags: '--user <user>', about: 'everything that the user uploaded' },
      ],
      examples: ['hammerheadctl media purge --caches', 'hammerheadctl media purge --user @spammer:example.org --yes'],
      confirm: (input) => `Delete ${describe(input)}? Files in use are deleted too, and it can't be undone.`,
      async run(context, input) {
        const criteria = readCriteria(input);
        if (Object.keys(criteria).length === 0) throw new ExitError(EXIT.usage, 'say at least one criterion (--help)');
        report(context, await context.client.call({ method: 'POST', path: `${MEDIA}/purge`, body: criteria }));
      },
    },
  ],
};

interface Marking {
  readonly about: string;
  readonly method: 'PUT' | 'DELETE';
  readonly path: string;
}

function mark(name: string, { about, method, path }: Marking): AdminCommand {
  return {
    name,
    about,
    arguments: [FILE],
    examples: [`hammerheadctl media ${name} ${EXAMPLE}`],
    async run({ client, output }, input) {
      const answer = await client.call({ method, path: `${pathOf(input)}/${path}` });
      if (output.isJson) return output.json(answer);
      output.done(`${input.argument(0)}: done`);
    },
  };
}

function pathOf(input: Input): string {
  const [, origin = '', mediaId = ''] = MXC.exec(input.argument(0)) ?? [];
  if (origin === '') throw new ExitError(EXIT.usage, `expected mxc://SERVER/ID, got ${input.argument(0)}`);
  return `${MEDIA}/${encodeURIComponent(origin)}/${encodeURIComponent(mediaId)}`;
}

function readCriteria(input: Input): JsonRecord {
  const sets = Object.entries(SETS).filter(([option]) => input.has(option));
  const [origin, user] = [input.text('origin'), input.text('user')];
  return {
    ...Object.fromEntries(sets.map(([, key]) => [key, true])),
    ...(origin !== undefined && { origin }),
    ...(user !== undefined && { user }),
  };
}

function describe(input: Input): string {
  const parts = Object.entries(readCriteria(input)).map(([key, value]) =>
    value === true ? key.replaceAll('_', ' ') : `everything of ${showAny(value)}`,
  );
  return parts.length === 0 ? 'nothing' : parts.join(' and ');
}

/** Files that could not be deleted make the command fail. */
function report({ output }: CommandContext, counts: JsonRecord): void {
  const { ok, fail } = counts;
  if (output.isJson) output.json(counts);
  else output.done(`${showAny(ok)} deleted, ${showAny(fail)} could not be deleted`);
  if (Number(fail) > 0) throw new ExitError(EXIT.failed, 'not everything could be deleted; the log says why');
}
