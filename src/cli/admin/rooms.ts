/** Rooms: list, look at, delete, block. */
import type { AdminCommand, CommandGroup, Input } from './command.ts';
import { withJobProgress } from './job-progress.ts';
import { showAny, showBytes, showFlag, showTime } from './output.ts';
import { LIMIT_OPTIONS, printList, readChunk } from './pages.ts';

const ROOMS = '/_hammerhead/v0/admin/rooms';
const ROOM = { name: '<room>', about: 'a room id (in single quotes: shells read the !)' };
const EXAMPLE = "'!abc:example.org'";

const COLUMNS = [
  { key: 'room_id', title: 'ROOM' },
  { key: 'name', title: 'NAME' },
  { key: 'joined_members', title: 'MEMBERS' },
  { key: 'local_members', title: 'LOCAL' },
  { key: 'events', title: 'EVENTS' },
  { key: 'event_bytes', title: 'SIZE', show: showBytes },
  { key: 'room_version', title: 'VERSION' },
  { key: 'is_public', title: 'PUBLIC', show: showFlag },
  { key: 'created_at', title: 'CREATED', show: showTime },
];

export const rooms: CommandGroup = {
  name: 'rooms',
  about: 'rooms',
  commands: [
    {
      name: 'list',
      about: 'list rooms',
      options: [
        { flags: '--search <text>', about: 'a part of the name, the id or an alias' },
        {
          flags: '--order <order>',
          about: 'the greatest first, or by name',
          choices: ['members', 'events', 'bytes', 'name'],
        },
        ...LIMIT_OPTIONS,
      ],
      examples: ['hammerheadctl rooms list --order events --limit 10', 'hammerheadctl rooms list --search cats'],
      run: (context, input) =>
        printList(context, input, {
          path: ROOMS,
          query: { search: input.text('search'), order_by: input.text('order') },
          columns: COLUMNS,
        }),
    },
    {
      name: 'show',
      about: 'show one room',
      arguments: [ROOM],
      examples: [`hammerheadctl rooms show ${EXAMPLE}`],
      async run({ client, output }, input) {
        const room = await client.call({ method: 'GET', path: pathOf(input) });
        if (output.isJson) return output.json(room);
        output.record(room, { created_at: showTime, event_bytes: showBytes });
      },
    },
    {
      name: 'members',
      about: 'list everybody who is or was in a room',
      arguments: [ROOM],
      examples: [`hammerheadctl rooms members ${EXAMPLE}`],
      async run({ client, output }, input) {
        const { members } = await client.call({ method: 'GET', path: `${pathOf(input)}/members` });
        if (output.isJson) return output.json({ members });
        output.table(readChunk({ chunk: members }), [
          { key: 'user_id', title: 'USER' },
          { key: 'membership', title: 'MEMBERSHIP' },
          { key: 'displayname', title: 'NAME' },
        ]);
      },
    },
    {
      name: 'delete',
      about: 'make all local users leave a room, then delete everything of it',
      arguments: [ROOM],
      options: [{ flags: '--force', about: 'pass over errors where possible' }],
      examples: [`hammerheadctl rooms delete ${EXAMPLE}`, `hammerheadctl rooms delete ${EXAMPLE} --force --yes`],
      confirm: (input) => `Delete ${input.argument(0)} with all of its events? It can't be undone.`,
      async run({ client, output }, input) {
        const room = input.argument(0);
        const body = { force: input.has('force') };
        await withJobProgress(client, { label: `deleting ${room}`, subject: room }, () =>
          client.call({ method: 'DELETE', path: pathOf(input), body }),
        );
        if (output.isJson) return output.json({ deleted: true });
        output.done(`${room}: deleted`);
      },
    },
    {
      name: 'make-admin',
      about: 'give a user of this server the power of the most powerful local member',
      arguments: [ROOM, { name: '<user>', about: 'a user id or a localpart, of a member of the room' }],
      examples: [`hammerheadctl rooms make-admin ${EXAMPLE} alice`],
      async run({ client, output }, input) {
        const body = { user_id: input.argument(1) };
        const answer = await client.call({ method: 'POST', path: `${pathOf(input)}/make-admin`, body });
        if (output.isJson) return output.json(answer);
        const { power_level: level, granted_by: by } = answer;
        output.done(`${input.argument(1)}: power level ${showAny(level)}, granted by ${showAny(by)}`);
      },
    },
    blockCommand('block', { about: 'let nobody of this server enter a room', method: 'PUT', done: 'blocked' }),
    blockCommand('unblock', { about: 'let users enter the room again', method: 'DELETE', done: 'unblocked' }),
    {
      name: 'blocked',
      about: 'list blocked rooms',
      examples: ['hammerheadctl rooms blocked'],
      async run({ client, output }) {
        const answer = await client.call({ method: 'GET', path: '/_hammerhead/v0/admin/blocked-rooms' });
        if (output.isJson) return output.json(answer);
        output.table(readChunk(answer), [
          { key: 'room_id', title: 'ROOM' },
          { key: 'blocked_by', title: 'BLOCKED BY' },
          { key: 'created_at', title: 'SINCE', show: showTime },
        ]);
      },
    },
  ],
};

interface Blocking {
  readonly about: string;
  readonly method: 'PUT' | 'DELETE';
  readonly done: string;
}

function blockCommand(name: string, { about, method, done }: Blocking): AdminCommand {
  return {
    name,
    about,
    arguments: [ROOM],
    examples: [`hammerheadctl rooms ${name} ${EXAMPLE}`],
    async run({ client, output }, input) {
      const answer = await client.call({ method, path: `${pathOf(input)}/block` });
      if (output.isJson) return output.json(answer);
      output.done(`${input.argument(0)}: ${done}`);
    },
  };
}

function pathOf(input: Input): string {
  return `${ROOMS}/${encodeURIComponent(input.argument(0))}`;
}
