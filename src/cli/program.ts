/**
 * The command line: what can be said, and what each command needs. The work is in the files beside this one.
 */
import { Command, CommanderError } from 'commander';
import { OperatorError } from '../lib/operator-error.ts';
import { addAdminCommands } from './admin.ts';
import { checkConfig, initConfig, printReference, printSchema } from './config.ts';
import { migrateDatabase, printDatabaseUrl, printStatus } from './database.ts';
import { addMediaCommands } from './media.ts';
import { configOption } from './options.ts';
import { printVersion } from './version.ts';

/** Runs one command and returns the process's exit code. */
export async function runCli(options: readonly string[]): Promise<number> {
  const program = createProgram();
  try {
    await program.parseAsync(options, { from: 'user' });
    return 0;
  } catch (cause) {
    if (cause instanceof CommanderError) return cause.exitCode;
    console.error(isOperatorError(cause) ? `hammerhead: ${cause.message}` : cause);
    return 1;
  }
}

/** Errors of the system (a port in use, a file that can't be read) say enough by themselves too. */
function isOperatorError(cause: unknown): cause is Error {
  return cause instanceof OperatorError || (cause instanceof Error && 'syscall' in cause);
}

function createProgram(): Command {
  const program = new Command('hammerhead')
    .description('A Matrix homeserver on PostgreSQL.')
    .exitOverride()
    .showHelpAfterError('(add --help for what can be said)');

  program
    .command('serve')
    .description('run the server; writes a configuration file where there is none')
    .addOption(configOption())
    .action(async ({ config }: { config: string }) => {
      // The server itself is most of the code: the other commands start without it.
      const { serve } = await import('./serve.ts');
      await serve(config);
    });
  addConfigCommands(program.command('config').description('check, write and describe the configuration file'));
  addDatabaseCommands(program.command('db').description('look after the database'));
  addMediaCommands(program.command('media').description('look after stored media'));
  addAdminCommands(program.command('admin').description('administer a running server (also: hammerheadctl)'));
  program
    .command('version')
    .description('print the version')
    .option('--json', 'everything that is known about the build, as JSON')
    .action(({ json = false }: { json?: boolean }) => printVersion(json));
  return program;
}

function addConfigCommands(config: Command): void {
  config
    .command('check')
    .description('check the file and say everything that is wrong with it')
    .addOption(configOption())
    .action(({ config: path }: { config: string }) => checkConfig(path));
  config
    .command('init')
    .description('write a commented file where there is none')
    .addOption(configOption())
    .option('--server-name <name>', 'the server name, as in @alice:NAME')
    .action(({ config: path, serverName }: { config: string; serverName?: string }) => initConfig(path, serverName));
  config
    .command('docs')
    .description('print the documentation of every key (docs/configuration.md)')
    .action(() => printReference());
  config
    .command('schema')
    .description('print a JSON Schema for editors')
    .action(() => printSchema());
}

function addDatabaseCommands(db: Command): void {
  db.command('url')
    .description("print the database's URL, for psql and pg_dump")
    .addOption(configOption())
    .action(({ config }: { config: string }) => printDatabaseUrl(config));
  db.command('migrate')
    .description('bring the schema up to date; serve does it too')
    .addOption(configOption())
    .action(({ config }: { config: string }) => migrateDatabase(config));
  db.command('status')
    .description('list the migrations that were run and those that are missing')
    .addOption(configOption())
    .action(({ config }: { config: string }) => printStatus(config));
}
