/**
 * The commands about stored media.
 */
import { type Command, Option } from 'commander';
import type { Config } from '../config/load.ts';
import { toS3Settings } from '../config/s3-settings.ts';
import { systemClock } from '../lib/clock.ts';
import { OperatorError } from '../lib/operator-error.ts';
import { secureRandom } from '../lib/random.ts';
import { createPool } from '../storage/pool.ts';
import { loadExisting } from './config.ts';
import { withDatabaseUrl } from './database.ts';
import { addExamples, configOption } from './options.ts';

const STORES = ['file', 's3'] as const;
type StoreType = (typeof STORES)[number];

interface MigrateOptions {
  readonly config: string;
  readonly from: StoreType;
  readonly to: StoreType;
}

export function addMediaCommands(media: Command): void {
  const migration = media
    .command('migrate')
    .description('copy all media into the other store; the server may run meanwhile, and a second run goes on')
    .addOption(configOption())
    .addOption(new Option('--from <store>', 'where they are').choices(STORES).makeOptionMandatory())
    .addOption(new Option('--to <store>', 'where they go').choices(STORES).makeOptionMandatory())
    .action(migrate);
  addExamples(migration, ['hammerhead media migrate --from file --to s3']);
}

async function migrate({ config: path, from, to }: MigrateOptions): Promise<void> {
  const config = loadExisting(path);
  if (from === to) throw new OperatorError('--from and --to name the same store');
  const { migrateMedia } = await import('../media/migrate-media.ts');
  await withDatabaseUrl(config, async (connection) => {
    await using stack = new AsyncDisposableStack();
    const database = stack.use(createPool({ connection, onError: (cause) => console.error(cause.message) }));
    const result = await migrateMedia({
      database,
      clock: systemClock,
      from: stack.use(await openConfigured(config, from)),
      to: stack.use(await openConfigured(config, to)),
      onProgress: ({ copied, present, bytes, failures }) =>
        console.log(`copied ${copied} (${bytes} bytes), present ${present}, failed ${failures.length}`),
    });
    for (const { sha256, reason } of result.failures) console.error(`${sha256} is ${reason} in the source`);
    console.log(`${result.copied} copied, ${result.present} were there already, ${result.strays} strays removed`);
    if (result.failures.length > 0) throw new OperatorError(`${result.failures.length} files could not be copied`);
  });
}

async function openConfigured({ mediaRepo }: Config, type: StoreType) {
  const { openStore } = await import('../media/open-store.ts');
  const { s3 } = mediaRepo.storage;
  if (type === 's3' && s3 === undefined) throw new OperatorError('the configuration file has no media_repo.storage.s3');
  return openStore({
    rootPath: mediaRepo.rootPath,
    s3: type === 's3' ? s3 && toS3Settings(s3) : undefined,
    random: secureRandom,
    clock: systemClock,
  });
}
