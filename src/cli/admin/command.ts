/**
 * The commands for a running server as a table: each entry says what can be said, and does one thing through the admin
 * API. What they share (how to reach the server, `--json`, `--yes`, examples) is mounted here, so that a new command is a
 * new entry.
 */
import { type Command, Option } from 'commander';
import { confirm } from '../ask.ts';
import { addExamples, configOption } from '../options.ts';
import { type AdminClient, createAdminClient } from './client.ts';
import { type ConnectionOptions, findConnection } from './connection.ts';
import { createOutput, type Output } from './output.ts';

export interface AdminCommand {
  readonly name: string;
  readonly about: string;
  /** As Commander writes them: `<needed>`, `[optional]`. */
  readonly arguments?: readonly { readonly name: string; readonly about: string }[];
  readonly options?: readonly CommandOption[];
  readonly examples: readonly string[];
  /** What is asked before something that can't be undone. */
  confirm?(input: Input): string;
  run(context: CommandContext, input: Input): Promise<void>;
}

export interface CommandOption {
  /** As Commander writes them: `--limit <n>`. */
  readonly flags: string;
  readonly about: string;
  readonly choices?: readonly string[];
  readonly parse?: (text: string) => unknown;
  readonly default?: unknown;
}

export interface CommandGroup {
  readonly name: string;
  readonly about: string;
  readonly commands: readonly AdminCommand[];
}

export interface CommandContext {
  readonly client: AdminClient;
  readonly output: Output;
}

/** What was said. */
export interface Input {
  /** Empty where an optional argument is missing. */
  argument(index: number): string;
  text(option: string): string | undefined;
  number(option: string): number | undefined;
  has(option: string): boolean;
}

export function mountGroup(parent: Command, { name, about, commands }: CommandGroup): void {
  const group = parent.command(name).description(about);
  for (const command of commands) mountCommand(group, command);
}

export function mountCommand(parent: Command, command: AdminCommand): void {
  const mounted = parent.command(command.name).description(command.about);
  for (const { name, about } of command.arguments ?? []) mounted.argument(name, about);
  for (const option of command.options ?? []) mounted.addOption(createOption(option));
  if (command.confirm !== undefined) mounted.option('-y, --yes', 'do not ask for confirmation');
  addConnectionOptions(mounted).option('--json', "print the API's answer as JSON");
  addExamples(mounted, command.examples);
  mounted.action(() => run(command, mounted));
}

export function addConnectionOptions(command: Command): Command {
  return command
    .addOption(configOption())
    .option(
      '--url <url>',
      'the server: http(s)://HOST:PORT or unix:PATH (default: the first listener of the configuration)',
    )
    .addOption(
      new Option(
        '--token <token>',
        "an administrator's access token (default: the configuration's pre-shared secret)",
      ).env('HAMMERHEAD_TOKEN'),
    );
}

async function run(command: AdminCommand, mounted: Command): Promise<void> {
  const options: ConnectionOptions & Readonly<Record<string, unknown>> = mounted.opts();
  const input = readInput(mounted.processedArgs, options);
  const client = createAdminClient(findConnection(options));
  if (command.confirm !== undefined && !input.has('yes')) await confirm(command.confirm(input));
  await command.run({ client, output: createOutput(input.has('json')) }, input);
}

function readInput(given: readonly unknown[], options: Readonly<Record<string, unknown>>): Input {
  return {
    argument: (index) => (typeof given[index] === 'string' ? given[index] : ''),
    text: (option) => (typeof options[option] === 'string' ? options[option] : undefined),
    number: (option) => (typeof options[option] === 'number' ? options[option] : undefined),
    has: (option) => options[option] === true,
  };
}

function createOption({ flags, about, choices, parse, default: byDefault }: CommandOption): Option {
  const option = new Option(flags, about);
  if (choices !== undefined) option.choices([...choices]);
  if (parse !== undefined) option.argParser(parse);
  return byDefault === undefined ? option : option.default(byDefault);
}
