/** Registration tokens: what lets somebody make an account. */
import { InvalidArgumentError } from 'commander';
import { wholeNumber } from '../options.ts';
import type { CommandGroup } from './command.ts';
import { showAny, showTime } from './output.ts';
import { readChunk } from './pages.ts';

const TOKENS = '/_hammerhead/v0/admin/registration-tokens';

export const registrationTokens: CommandGroup = {
  name: 'registration-tokens',
  about: 'what lets somebody make an account',
  commands: [
    {
      name: 'list',
      about: 'list tokens',
      examples: ['hammerheadctl registration-tokens list'],
      async run({ client, output }) {
        const answer = await client.call({ method: 'GET', path: TOKENS });
        if (output.isJson) return output.json(answer);
        output.table(readChunk(answer), [
          { key: 'token', title: 'TOKEN' },
          { key: 'completed', title: 'USED' },
          { key: 'uses_allowed', title: 'OF' },
          { key: 'expires_at', title: 'EXPIRES', show: showTime },
          { key: 'created_at', title: 'CREATED', show: showTime },
        ]);
      },
    },
    {
      name: 'create',
      about: 'make a token; the server chooses one where none is given',
      arguments: [{ name: '[token]', about: 'letters, digits and ._~-' }],
      options: [
        { flags: '--uses <n>', about: 'how often it can be used (default: any number)', parse: wholeNumber(1) },
        {
          flags: '--expires <time>',
          about: 'when it ends: 2026-12-31 or 2026-12-31T18:00Z (default: never)',
          parse: readTime,
        },
      ],
      examples: [
        'hammerheadctl registration-tokens create --uses 1',
        'hammerheadctl registration-tokens create welcome --uses 20 --expires 2027-01-31',
      ],
      async run({ client, output }, input) {
        const token = input.argument(0);
        const [uses, expiresAt] = [input.number('uses'), input.number('expires')];
        const body = {
          ...(token !== '' && { token }),
          ...(uses !== undefined && { uses_allowed: uses }),
          ...(expiresAt !== undefined && { expires_at: expiresAt }),
        };
        const made = await client.call({ method: 'POST', path: TOKENS, body });
        if (output.isJson) return output.json(made);
        output.done(showAny(made['token']));
      },
    },
    {
      name: 'delete',
      about: 'take a token back; accounts that it made stay',
      arguments: [{ name: '<token>', about: 'the token' }],
      examples: ['hammerheadctl registration-tokens delete welcome'],
      async run({ client, output }, input) {
        const path = `${TOKENS}/${encodeURIComponent(input.argument(0))}`;
        const answer = await client.call({ method: 'DELETE', path });
        if (output.isJson) return output.json(answer);
        output.done(`${input.argument(0)}: deleted`);
      },
    },
  ],
};

function readTime(text: string): number {
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) throw new InvalidArgumentError('expected a date like 2026-12-31 or 2026-12-31T18:00Z');
  return time;
}
