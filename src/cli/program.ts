/**
 * The command line: what can be said, and what each command needs. The work is in the files beside this one, and is loaded
 * when it is asked for: most of the code is the server, and the other commands start without it.
 */
import { Argument, Command, CommanderError } from 'commander';
import { OperatorError } from '../lib/operator-error.ts';
import { addAdminCommands } from './admin/admin.ts';
import { renderCompletion, SHELLS, type Shell } from './completion.ts';
import { EXIT, ExitError } from './exit-codes.ts';
import { addMediaCommands } from './media.ts';
import { addExamples, configOption } from './options.ts';

interface ConfigOptions {
  readonly config: string;
}

/** Runs one command and returns the process's exit code. */
export async function runCli(options: readonly string[]): Promise<number> {
  const program = createProgram();
  // Whoever read the output has enough of it, as `head` has after ten lines: that is no failure.
  process.stdout.on('error', (cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EPIPE') process.exit(EXIT.ok);
    throw cause;
  });
  try {
    await program.parseAsync(options, { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.ok;
  } catch (cause) {
    // Help that was asked for ends with 0; whatever else Commander refuses was said wrongly.
    if (cause instanceof CommanderError) return cause.exitCode === 0 ? EXIT.ok : EXIT.usage;
    console.error(isOperatorError(cause) ? `hammerhead: ${cause.message}` : cause);
    return cause instanceof ExitError ? cause.exitCode : EXIT.failed;
  }
}

/** Errors of the system (a port in use, a file that can't be read) say enough by themselves too. */
function isOperatorError(cause: unknown): cause is Error {
  return cause instanceof OperatorError || (cause instanceof Error && 'syscall' in cause);
}

/** The tree of commands; nothing is run yet. */
export function createProgram(): Command {
  const program = new Command('hammerhead')
    .description('A Matrix homeserver on PostgreSQL.')
    .exitOverride()
    .showHelpAfterError('(add --help for what can be said)');
  addExamples(program, [
    'hammerhead serve --config /etc/hammerhead/config.yaml',
    'hammerhead doctor --config /etc/hammerhead/config.yaml',
    'hammerhead admin users create --admin alice',
  ]);
  addServe(program);
  addConfigCommands(program.command('config').description('check, write and describe the configuration file'));
  addDatabaseCommands(program.command('db').description('look after the database'));
  addKeyCommands(program.command('keys').description('the signing keys that other servers know this one by'));
  addDoctor(program);
  addMediaCommands(program.command('media').description('look after stored media'));
  addBackup(program);
  addRestore(program);
  const admin = program.command('admin').description('administer a running server (also: hammerheadctl)');
  addAdminCommands(admin);
  addCompletion(admin, 'hammerheadctl', admin);
  addCompletion(program, 'hammerhead', program);
  addVersion(program);
  return program;
}

function addServe(program: Command): void {
  const serve = program
    .command('serve')
    .description('run the server; writes a configuration file where there is none')
    .addOption(configOption())
    .action(async ({ config }: ConfigOptions) => (await import('./serve.ts')).serve(config));
  addExamples(serve, ['hammerhead serve', 'hammerhead serve --config /etc/hammerhead/config.yaml']);
}

function addConfigCommands(config: Command): void {
  const check = config
    .command('check')
    .description('check the file and say everything that is wrong with it')
    .addOption(configOption())
    .action(async ({ config: path }: ConfigOptions) => (await import('./config.ts')).checkConfig(path));
  addExamples(check, ['hammerhead config check --config /etc/hammerhead/config.yaml']);
  const init = config
    .command('init')
    .description('write a commented file where there is none')
    .addOption(configOption())
    .option('--server-name <name>', 'the server name, as in @alice:NAME')
    .action(async ({ config: path, serverName }: ConfigOptions & { readonly serverName?: string }) =>
      (await import('./config.ts')).initConfig(path, serverName),
    );
  addExamples(init, ['hammerhead config init --server-name example.org --config /etc/hammerhead/config.yaml']);
  const docs = config
    .command('docs')
    .description('print the documentation of every key (docs/configuration.md)')
    .action(async () => (await import('./config.ts')).printReference());
  addExamples(docs, ['hammerhead config docs | less']);
  const schema = config
    .command('schema')
    .description('print a JSON Schema for editors')
    .action(async () => (await import('./config.ts')).printSchema());
  addExamples(schema, ['hammerhead config schema > hammerhead.schema.json']);
}

function addDatabaseCommands(db: Command): void {
  const url = db
    .command('url')
    .description("print the database's URL, for psql and pg_dump")
    .addOption(configOption())
    .action(async ({ config }: ConfigOptions) => (await import('./database.ts')).printDatabaseUrl(config));
  addExamples(url, ['psql "$(hammerhead db url)"']);
  const migrate = db
    .command('migrate')
    .description('bring the schema up to date; serve does it too')
    .addOption(configOption())
    .action(async ({ config }: ConfigOptions) => (await import('./database.ts')).migrateDatabase(config));
  addExamples(migrate, ['hammerhead db migrate']);
  const status = db
    .command('status')
    .description('list the migrations that were run and those that are missing')
    .addOption(configOption())
    .action(async ({ config }: ConfigOptions) => (await import('./database.ts')).printStatus(config));
  addExamples(status, ['hammerhead db status']);
}

function addKeyCommands(keys: Command): void {
  const list = keys
    .command('list')
    .description('print the current key and the former ones')
    .addOption(configOption())
    .action(async ({ config }: ConfigOptions) => (await import('./keys.ts')).listKeys(config));
  addExamples(list, ['hammerhead keys list']);
  const rotate = keys
    .command('rotate')
    .description('make a new signing key while the server is stopped; what the old one signed stays valid')
    .addOption(configOption())
    .action(async ({ config }: ConfigOptions) => (await import('./keys.ts')).rotateKey(config));
  addExamples(rotate, ['hammerhead keys rotate']);
}

function addDoctor(program: Command): void {
  const doctor = program
    .command('doctor')
    .description('examine configuration, database, disk, clock, ports, DNS, TLS and permissions; changes nothing')
    .addOption(configOption())
    .option('--json', 'print the findings as JSON')
    .action(async ({ config, json = false }: ConfigOptions & { readonly json?: boolean }) => {
      const { runDoctor } = await import('./doctor/doctor.ts');
      process.exitCode = (await runDoctor(config, json)) ? EXIT.ok : EXIT.failed;
    });
  addExamples(doctor, ['hammerhead doctor', `hammerhead doctor --json | jq '.findings[] | select(.level != "ok")'`]);
}

interface BackupOptions extends ConfigOptions {
  readonly media?: boolean;
  readonly verify?: boolean;
  readonly json?: boolean;
}

function addBackup(program: Command): void {
  const backup = program
    .command('backup')
    .description('save database, signing key and configuration into a new folder, with the server running or stopped')
    .argument('<folder>', 'where to: a folder that is not there yet')
    .addOption(configOption())
    .option('--media', 'copy the media files too (otherwise only their list)')
    .option('--verify', 'restore the backup into a scratch PostgreSQL, and compare')
    .option('--json', 'print what was saved as JSON')
    .action(async (folder: string, { config, ...options }: BackupOptions) =>
      (await import('./backup/backup.ts')).runBackup({ folder, configPath: config, ...options }),
    );
  addExamples(backup, [
    'hammerhead backup --verify /var/backups/hammerhead/$(date +%F)',
    'hammerhead backup --media --verify /var/backups/hammerhead/full',
  ]);
}

function addRestore(program: Command): void {
  const restore = program
    .command('restore')
    .description('bring a backup back, into an empty data folder and database only')
    .argument('<folder>', 'the backup')
    .addOption(configOption())
    .option('--verify', 'restore nothing: check the backup by restoring it into a scratch PostgreSQL')
    .option('--json', 'print what was restored as JSON')
    .action(async (folder: string, { config, ...options }: Omit<BackupOptions, 'media'>) =>
      (await import('./backup/restore.ts')).runRestore({ folder, configPath: config, ...options }),
    );
  addExamples(restore, [
    'hammerhead restore /var/backups/hammerhead/2026-11-25',
    'hammerhead restore --verify /var/backups/hammerhead/2026-11-25',
  ]);
}

function addCompletion(parent: Command, program: string, root: Command): void {
  const completion = parent
    .command('completion')
    .description('print a script that completes commands and options in your shell')
    .addArgument(new Argument('<shell>', 'the shell').choices([...SHELLS]))
    .action((shell: Shell) => void process.stdout.write(renderCompletion(shell, program, root)));
  addExamples(completion, [
    `source <(${program} completion bash)`,
    `${program} completion fish > ~/.config/fish/completions/${program}.fish`,
  ]);
}

function addVersion(program: Command): void {
  const version = program
    .command('version')
    .description('print the version')
    .option('--json', 'everything that is known about the build, as JSON')
    .action(async ({ json = false }: { readonly json?: boolean }) => (await import('./version.ts')).printVersion(json));
  addExamples(version, ['hammerhead version --json']);
}
