/** Media: delete one file, or all that match. */
import { EXIT, ExitError } from '../exit-codes.ts';
import type { JsonRecord } from './client.ts';
import type { CommandContext, CommandGroup, Input } from './command.ts';
import { showAny } from './output.ts';

const MEDIA = '/_hammerhead/v0/admin/media';
const MXC = /^mxc:\/\/([^/]+)\/([^/]+)$/;

/** The API's key of each criterion, by the option that sets it. */
const SETS = {
  remote: 'all_remote_media',
  local: 'all_local_media',
  caches: 'all_caches',
  sparse: 'all_sparse',
} as const;

export const media: CommandGroup = {
  name: 'media',
  about: 'uploaded files, and copies from other servers',
  commands: [
    {
      name: 'delete',
      about: 'delete one file',
      arguments: [{ name: '<mxc>', about: 'its URI: mxc://example.org/abcdef' }],
      examples: ['hammerheadctl media delete mxc://example.org/abcdef'],
      confirm: (input) => `Delete ${input.argument(0)}? It can't be undone.`,
      async run(context, input) {
        const [, origin = '', mediaId = ''] = MXC.exec(input.argument(0)) ?? [];
        if (origin === '') throw new ExitError(EXIT.usage, `expected mxc://SERVER/ID, got ${input.argument(0)}`);
        const path = `${MEDIA}/${encodeURIComponent(origin)}/${encodeURIComponent(mediaId)}`;
        report(context, await context.client.call({ method: 'DELETE', path }));
      },
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
