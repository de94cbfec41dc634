/** About the server itself, and what has no group of its own. */

import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { parseJsonText } from '../../lib/parse-json.ts';
import { EXIT, ExitError } from '../exit-codes.ts';
import { exitCodeOf, type JsonRecord } from './client.ts';
import type { AdminCommand, CommandContext, Input } from './command.ts';
import { showAny, showBytes, showTime } from './output.ts';
import { LIMIT_OPTIONS, printList } from './pages.ts';

const METHODS = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE'] as const;

export const serverCommands: readonly AdminCommand[] = [
  reader('uptime', {
    about: 'when the server started',
    path: '/_hammerhead/v0/uptime',
    show: { started_at: showTime },
  }),
  reader('version', {
    about: "the running server's version",
    path: '/_hammerhead/v0/version',
    show: { build_date: showTime },
  }),
  reader('statistics', {
    about: 'how much there is: accounts, rooms, events, bytes',
    path: '/_hammerhead/v0/admin/statistics',
    show: { database_bytes: showBytes },
  }),
  {
    name: 'reload-config',
    about: 'read the configuration file again, and take over what can change without a restart',
    examples: ['hammerheadctl reload-config'],
    async run({ client, output }) {
      const config = await client.call({ method: 'POST', path: '/_hammerhead/v0/admin/reload-config' });
      if (output.isJson) return output.json(config);
      output.done('reloaded');
    },
  },
  {
    name: 'audit',
    about: 'list what administrators did, the newest first',
    options: [{ flags: '--actor <user>', about: 'only what this user did' }, ...LIMIT_OPTIONS],
    examples: ['hammerheadctl audit --limit 20', 'hammerheadctl audit --actor @alice:example.org --json'],
    run: (context, input) =>
      printList(context, input, {
        path: '/_hammerhead/v0/admin/audit',
        query: { actor: input.text('actor') },
        columns: [
          { key: 'at', title: 'AT', show: showTime },
          { key: 'actor', title: 'ACTOR' },
          { key: 'method', title: 'METHOD' },
          { key: 'path', title: 'PATH' },
          { key: 'params', title: 'ABOUT' },
          { key: 'status', title: 'STATUS' },
          { key: 'ip', title: 'FROM' },
        ],
      }),
  },
  {
    name: 'notice',
    about: 'send a server notice to a user',
    arguments: [
      { name: '<user>', about: 'a user id or a localpart' },
      { name: '<text>', about: 'what to say' },
    ],
    examples: ["hammerheadctl notice alice 'The server restarts at 22:00.'"],
    async run({ client, output }, input) {
      const content = { msgtype: 'm.text', body: input.argument(1) };
      const body = { user_id: input.argument(0), content };
      const sent = await client.call({ method: 'POST', path: '/_synapse/admin/v1/send_server_notice', body });
      if (output.isJson) return output.json(sent);
      output.done(`sent ${showAny(sent['event_id'])}`);
    },
  },
  {
    name: 'make-pdu',
    about: 'make an event as servers exchange it, and do nothing with it',
    arguments: [{ name: '<file>', about: 'a file with the event as JSON; - for stdin' }],
    options: [
      { flags: '--room-version <version>', about: "for rooms that the server does not know (default: the room's)" },
      { flags: '--no-sign', about: 'hash, and do not sign' },
      { flags: '--no-hash', about: 'neither hash nor sign' },
    ],
    examples: ['hammerheadctl make-pdu event.json', 'hammerheadctl make-pdu --room-version 12 - < event.json'],
    run: makePdu,
  },
  {
    name: 'request',
    about: 'any endpoint: prints whatever is answered',
    arguments: [
      { name: '<method>', about: METHODS.join(', ') },
      { name: '<path>', about: 'the path, with its query' },
      { name: '[body]', about: 'a JSON text' },
    ],
    examples: [
      'hammerheadctl request GET /_hammerhead/v0/uptime',
      `hammerheadctl request PATCH /_hammerhead/v0/admin/users/alice '{"locked": true}'`,
    ],
    run: requestAnything,
  },
];

interface Reading {
  readonly about: string;
  readonly path: string;
  readonly show: Readonly<Record<string, (value: unknown) => string>>;
}

function reader(name: string, { about, path, show }: Reading): AdminCommand {
  return {
    name,
    about,
    examples: [`hammerheadctl ${name}`, `hammerheadctl ${name} --json`],
    async run({ client, output }) {
      const answer = await client.call({ method: 'GET', path });
      if (output.isJson) return output.json(answer);
      output.record(answer, show);
    },
  };
}

async function makePdu({ client, output }: CommandContext, input: Input): Promise<void> {
  const body = {
    pdu: parsePdu(await readText(input.argument(0))),
    room_version: input.text('roomVersion'),
    // Commander turns --no-hash and --no-sign into false.
    dont_hash: !input.has('hash'),
    dont_sign: !input.has('sign'),
  };
  output.json(await client.call({ method: 'POST', path: '/_hammerhead/v0/admin/make-pdu', body }));
}

function readText(file: string): Promise<string> {
  return file === '-' ? readAll(process.stdin) : readFile(file, 'utf8');
}

function parsePdu(text: string): JsonRecord {
  try {
    return parseJsonText(text) as JsonRecord;
  } catch (cause) {
    throw new ExitError(EXIT.usage, 'the event is no JSON', { cause });
  }
}

async function requestAnything({ client }: CommandContext, input: Input): Promise<void> {
  const given = input.argument(0).toUpperCase();
  const method = METHODS.find((name) => name === given);
  if (method === undefined) throw new ExitError(EXIT.usage, `expected one of ${METHODS.join(', ')}, got ${given}`);
  const body = input.argument(2);
  const { status, text } = await client.callRaw(method, input.argument(1), body === '' ? undefined : body);
  console.log(text);
  if (status >= 400) throw new ExitError(exitCodeOf(status), `the server answered ${status}`);
}
