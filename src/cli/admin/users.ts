/** Accounts: create, list, look at, change, shut. */
import { askNewPassword, readPassword } from '../ask.ts';
import type { AdminClient, JsonRecord } from './client.ts';
import type { AdminCommand, CommandContext, CommandGroup, CommandOption, Input } from './command.ts';
import { withJobProgress } from './job-progress.ts';
import { showAny, showFlag, showTime } from './output.ts';
import { LIMIT_OPTIONS, printList } from './pages.ts';

const USERS = '/_hammerhead/v0/admin/users';
const USER = { name: '<user>', about: 'a user id or a localpart' };

const PASSWORD_OPTIONS: readonly CommandOption[] = [
  { flags: '--password-stdin', about: 'read the password from stdin (default: ask for it)' },
];

const COLUMNS = [
  { key: 'entry_id', title: 'ID' },
  { key: 'localpart', title: 'USER' },
  { key: 'admin', title: 'ADMIN', show: showFlag },
  { key: 'locked', title: 'LOCKED', show: showFlag },
  { key: 'suspended', title: 'SUSPENDED', show: showFlag },
  { key: 'deactivated', title: 'DEACTIVATED', show: showFlag },
  { key: 'created_at', title: 'CREATED', show: showTime },
];

export const users: CommandGroup = {
  name: 'users',
  about: 'accounts',
  commands: [
    {
      name: 'create',
      about: 'make an account; the first one of a server becomes its administrator',
      arguments: [{ name: '<name>', about: 'the localpart: alice for @alice:example.org' }],
      options: [
        { flags: '--admin', about: 'make it an administrator' },
        ...PASSWORD_OPTIONS,
        { flags: '--no-password', about: 'nobody can log in until a password is set' },
      ],
      examples: [
        'hammerheadctl users create --admin alice',
        'hammerheadctl users create --password-stdin bob < password.txt',
      ],
      run: createUser,
    },
    {
      name: 'list',
      about: 'list accounts, the newest first',
      options: [{ flags: '--search <text>', about: 'a part of the localpart or the display name' }, ...LIMIT_OPTIONS],
      examples: [
        'hammerheadctl users list',
        'hammerheadctl users list --search bob',
        "hammerheadctl users list --all --json | jq -r '.chunk[].localpart'",
      ],
      run(context, input) {
        const search = input.text('search');
        const path = search === undefined ? USERS : '/_hammerhead/v0/admin/user-search';
        return printList(context, input, { path, query: { search }, columns: COLUMNS });
      },
    },
    {
      name: 'show',
      about: 'show one account with its profile, devices and rooms',
      arguments: [USER],
      examples: ['hammerheadctl users show alice', 'hammerheadctl users show @alice:example.org --json'],
      async run({ client, output }, input) {
        const user = await client.call({ method: 'GET', path: pathOf(input) });
        if (output.isJson) return output.json(user);
        output.record(user, {
          created_at: showTime,
          last_seen_at: showTime,
          devices: showDevices,
          profile: showFields,
          rooms: showRooms,
        });
      },
    },
    {
      name: 'update',
      about: 'make an account an administrator, or no administrator any more',
      arguments: [USER],
      options: [{ flags: '--admin <yes|no>', about: 'whether it administers the server', choices: ['yes', 'no'] }],
      examples: ['hammerheadctl users update alice --admin yes'],
      async run(context, input) {
        const admin = input.text('admin');
        const isAdmin = admin === 'yes';
        await change(context, input, {
          body: admin === undefined ? {} : { admin: isAdmin },
          done: admin === undefined ? 'unchanged' : isAdmin ? 'now an administrator' : 'no administrator any more',
        });
      },
    },
    flagCommand('lock', { about: 'shut the account until it is unlocked', body: { locked: true }, done: 'locked' }),
    flagCommand('unlock', { about: 'open a locked account', body: { locked: false }, done: 'unlocked' }),
    flagCommand('suspend', { about: 'let the user read and not write', body: { suspended: true }, done: 'suspended' }),
    flagCommand('unsuspend', { about: 'let the user write again', body: { suspended: false }, done: 'unsuspended' }),
    {
      name: 'reset-password',
      about: 'set a new password',
      arguments: [USER],
      options: [...PASSWORD_OPTIONS, { flags: '--logout', about: 'log all devices out as well' }],
      examples: [
        'hammerheadctl users reset-password alice',
        'pwgen -s 24 1 | hammerheadctl users reset-password alice --password-stdin --logout',
      ],
      async run(context, input) {
        const password = input.has('passwordStdin') ? await readPassword() : await askNewPassword();
        await change(context, input, { body: { password }, done: 'has a new password' });
        if (input.has('logout')) await logOut(context, input);
      },
    },
    {
      name: 'logout',
      about: 'log all devices out',
      arguments: [USER],
      examples: ['hammerheadctl users logout alice'],
      run: logOut,
    },
    {
      name: 'deactivate',
      about: 'shut the account for ever; its name is never free again',
      arguments: [USER],
      options: [
        { flags: '--erase', about: 'mark the account as erased' },
        { flags: '--redact', about: 'redact everything that it ever sent' },
      ],
      examples: ['hammerheadctl users deactivate spammer --redact', 'hammerheadctl users deactivate bob --erase --yes'],
      confirm: (input) =>
        `Deactivate ${input.argument(0)}${input.has('redact') ? ' and redact all messages' : ''}? It can't be undone.`,
      run: deactivate,
    },
  ],
};

interface Change {
  readonly body: JsonRecord;
  readonly done: string;
}

function flagCommand(name: string, { about, body, done }: Change & { readonly about: string }): AdminCommand {
  return {
    name,
    about,
    arguments: [USER],
    examples: [`hammerheadctl users ${name} alice`],
    run: (context, input) => change(context, input, { body, done }),
  };
}

async function createUser({ client, output }: CommandContext, input: Input): Promise<void> {
  const localpart = input.argument(0);
  const password = await choosePassword(input);
  const created = await client.call({ method: 'POST', path: `${USERS}/create`, body: { localpart, password } });
  if (input.has('admin')) await makeAdmin(client, localpart);
  if (output.isJson) return output.json(created);
  output.done(`${localpart} created (account ${showAny(created['account_id'])})`);
}

/** Undefined for an account that nobody can log in to; Commander turns `--no-password` into a `password` of false. */
async function choosePassword(input: Input): Promise<string | undefined> {
  if (input.has('passwordStdin')) return readPassword();
  return input.has('password') ? askNewPassword() : undefined;
}

async function makeAdmin(client: AdminClient, localpart: string): Promise<void> {
  await client.call({ method: 'PATCH', path: `${USERS}/${encodeURIComponent(localpart)}`, body: { admin: true } });
}

async function change({ client, output }: CommandContext, input: Input, { body, done }: Change): Promise<void> {
  const answer = await client.call({ method: 'PATCH', path: pathOf(input), body });
  if (output.isJson) return output.json(answer);
  output.done(`${input.argument(0)}: ${done}`);
}

async function logOut({ client, output }: CommandContext, input: Input): Promise<void> {
  const answer = await client.call({ method: 'POST', path: `${pathOf(input)}/reset-sessions` });
  if (output.isJson) return output.json(answer);
  output.done(`${input.argument(0)}: ${showAny(answer['devices'])} devices logged out`);
}

async function deactivate(context: CommandContext, input: Input): Promise<void> {
  const { client, output } = context;
  const user = input.argument(0);
  const body = { erase: input.has('erase'), redact: input.has('redact') };
  const path = `${pathOf(input)}/deactivate`;
  const isDone = await withJobProgress(client, { label: `deactivating ${user}`, subject: user }, async () => {
    const { status } = await client.callOrThrow({ method: 'POST', path, body });
    return status !== ALREADY_DEACTIVATED;
  });
  if (output.isJson) return output.json({ deactivated: true, changed: isDone });
  output.done(`${user}: ${isDone ? 'deactivated' : 'was deactivated before'}`);
}

const ALREADY_DEACTIVATED = 304;

function pathOf(input: Input): string {
  return `${USERS}/${encodeURIComponent(input.argument(0))}`;
}

function showDevices(devices: unknown): string {
  if (!Array.isArray(devices)) return '-';
  return devices.map((device: JsonRecord) => describeDevice(device)).join('\n') || '-';
}

function describeDevice(device: JsonRecord): string {
  const { device_id: id, display_name: name, last_seen_at: seenAt, last_seen_ip: ip } = device;
  return `${showAny(id)} (${showAny(name)}) last seen ${showTime(seenAt)} from ${showAny(ip)}`;
}

function showFields(fields: unknown): string {
  return (
    fieldsOf(fields)
      .map(([field, value]) => `${showAny(field)}: ${showAny(value)}`)
      .join('\n') || '-'
  );
}

/** By membership: how many, and which. */
function showRooms(rooms: unknown): string {
  const lists = fieldsOf(rooms).map(([membership, ids]) => ({ membership, ids: Array.isArray(ids) ? ids : [] }));
  const filled = lists.filter(({ ids }) => ids.length > 0);
  return filled.map(({ membership, ids }) => `${membership}: ${ids.length}\n${showAny(ids)}`).join('\n') || '-';
}

function fieldsOf(value: unknown): readonly [string, unknown][] {
  return typeof value === 'object' && value !== null ? Object.entries(value) : [];
}
