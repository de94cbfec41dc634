/** How it stands with other servers. */
import type { CommandGroup, Input } from './command.ts';
import { showTime } from './output.ts';
import { LIMIT_OPTIONS, printList, readRecords } from './pages.ts';

const FEDERATION = '/_hammerhead/v0/admin/federation';
const SERVER = { name: '<name>', about: 'its server name' };

export const federation: CommandGroup = {
  name: 'federation',
  about: 'how it stands with other servers',
  commands: [
    {
      name: 'destinations',
      about: 'list the servers that something waits for, or that did not answer',
      options: [{ flags: '--failing', about: 'only those that do not answer' }, ...LIMIT_OPTIONS],
      examples: ['hammerheadctl federation destinations', 'hammerheadctl federation destinations --failing --all'],
      run: (context, input) =>
        printList(context, input, {
          path: `${FEDERATION}/destinations`,
          query: { failing: input.has('failing') ? 'true' : undefined },
          columns: [
            { key: 'server_name', title: 'SERVER' },
            { key: 'failures', title: 'FAILURES' },
            { key: 'failing_since', title: 'SINCE', show: showTime },
            { key: 'retry_at', title: 'NEXT ATTEMPT', show: showTime },
            { key: 'lag', title: 'BEHIND' },
            { key: 'last_error', title: 'ERROR' },
          ],
        }),
    },
    {
      name: 'retry',
      about: 'send to a server at once, however often it failed',
      arguments: [SERVER],
      examples: ['hammerheadctl federation retry example.org'],
      async run({ client, output }, input) {
        const answer = await client.call({ method: 'POST', path: `${FEDERATION}/destinations/${nameIn(input)}/retry` });
        if (output.isJson) return output.json(answer);
        output.done(answer['waiting'] === true ? 'trying now' : 'nothing waits for this server');
      },
    },
    {
      name: 'keys',
      about: 'the signing keys of a server, which is asked for them',
      arguments: [SERVER],
      examples: ['hammerheadctl federation keys example.org'],
      async run({ client, output }, input) {
        const answer = await client.call({ method: 'GET', path: `${FEDERATION}/keys/${nameIn(input)}` });
        if (output.isJson) return output.json(answer);
        output.table(readRecords(answer['keys']), [
          { key: 'key_id', title: 'ID' },
          { key: 'public_key', title: 'KEY' },
          { key: 'valid_until', title: 'VALID UNTIL', show: showTime },
          { key: 'expired_at', title: 'EXPIRED', show: showTime },
        ]);
      },
    },
    {
      name: 'resolve',
      about: 'where a server is found',
      arguments: [SERVER],
      examples: ['hammerheadctl federation resolve example.org'],
      async run({ client, output }, input) {
        const answer = await client.call({ method: 'GET', path: `${FEDERATION}/resolve/${nameIn(input)}` });
        if (output.isJson) return output.json(answer);
        output.table(readRecords(answer['targets']), [
          { key: 'host', title: 'HOST' },
          { key: 'port', title: 'PORT' },
          { key: 'host_header', title: 'NAME' },
        ]);
      },
    },
  ],
};

function nameIn(input: Input): string {
  return encodeURIComponent(input.argument(0));
}
