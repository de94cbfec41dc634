/** The database: whether it is reached, suits, is whole, and belongs to this configuration; and its clock. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../../config/load.ts';
import { readSigningKey } from '../../config/signing-key.ts';
import type { Clock } from '../../lib/clock.ts';
import { type DatabaseFacts, loadDatabaseFacts } from '../../storage/database-facts.ts';
import { loadMigrationStatus } from '../../storage/migrate.ts';
import { OLDEST_VERSION } from '../../storage/open-database.ts';
import { showBytes } from '../admin/output.ts';
import { withDatabaseUrl } from '../database.ts';
import { type Finding, fail, messageOf, ok, warn } from './finding.ts';

const CHECK = 'database';
/** Besides the pool: the committer, migrations, `psql`, a backup, PostgreSQL's own reserve. */
const SPARE_CONNECTIONS = 10;
const CLOCK_WARN_MS = 1_000;
/** Tokens expire and rate limits run by our clock, statistics by the database's. */
const CLOCK_FAIL_MS = 60_000;

export async function checkDatabase(config: Config, clock: Clock): Promise<readonly Finding[]> {
  if (await isNew(config)) return [ok(CHECK, 'there is none yet: the first start makes it')];
  try {
    return await withDatabaseUrl(config, (url) => examine(config, { url, clock }));
  } catch (cause) {
    const remedy =
      config.database.url === undefined
        ? `the log may say more: ${join(config.dataDir, 'logs', 'postgresql.log')}`
        : 'check database.url, and that PostgreSQL runs and lets this machine in (pg_hba.conf)';
    return [fail(CHECK, `can't be reached: ${messageOf(cause)}`, remedy)];
  }
}

async function isNew({ database, dataDir }: Config): Promise<boolean> {
  if (database.url !== undefined) return false;
  return stat(join(dataDir, 'postgresql', 'data')).then(
    () => false,
    () => true,
  );
}

async function examine(
  config: Config,
  { url, clock }: { readonly url: string; readonly clock: Clock },
): Promise<readonly Finding[]> {
  const before = clock.now();
  const facts = await loadDatabaseFacts(url);
  const ownNow = (before + clock.now()) / 2;
  return [
    ...judgeFacts(facts, config.database.maxOpenConnections),
    judgeClock(facts.now - ownNow),
    await checkMigrations(url),
    await checkIdentity(config, facts),
  ];
}

/** Version, encoding, collation, durability and connections. */
export function judgeFacts(facts: DatabaseFacts, poolSize: number): readonly Finding[] {
  const findings = [judgeVersion(facts), judgeEncoding(facts), judgeCollation(facts), ...judgeDurability(facts)];
  if (facts.maxConnections < poolSize + SPARE_CONNECTIONS) {
    findings.push(
      warn(
        CHECK,
        `PostgreSQL allows ${facts.maxConnections} connections, and the pool may open ${poolSize}`,
        `set max_connections of PostgreSQL to at least ${poolSize + SPARE_CONNECTIONS}, or database.max_open_connections lower`,
      ),
    );
  }
  const problems = findings.filter((finding) => finding !== undefined);
  if (problems.length > 0) return problems;
  return [
    ok(
      CHECK,
      `PostgreSQL ${facts.version}, ${facts.encoding}, collation ${facts.collation}, ${showBytes(facts.bytes)}`,
    ),
  ];
}

function judgeVersion({ version, versionNumber }: DatabaseFacts): Finding | undefined {
  if (versionNumber >= OLDEST_VERSION) return undefined;
  return fail(CHECK, `PostgreSQL ${version} is too old`, 'update PostgreSQL to 15 or newer');
}

function judgeEncoding({ encoding }: DatabaseFacts): Finding | undefined {
  if (encoding === 'UTF8') return undefined;
  return fail(
    CHECK,
    `text is stored as ${encoding}, which can't hold every character`,
    "make a database with: create database hammerhead encoding 'UTF8' template template0; and move to it (backup, restore)",
  );
}

/** Ids are sorted by "C" everywhere; this is about the rest, whose indexes break when the library sorts otherwise. */
function judgeCollation({ collationVersion, actualCollationVersion, collation }: DatabaseFacts): Finding | undefined {
  if (collationVersion === actualCollationVersion) return undefined;
  return warn(
    CHECK,
    `the system now sorts text as version ${actualCollationVersion} of collation ${collation}, indexes were made with ` +
      `${collationVersion}`,
    'with the server stopped: reindex database; alter database NAME refresh collation version',
  );
}

function judgeDurability({ settings }: DatabaseFacts): readonly Finding[] {
  return Object.entries(settings)
    .filter(([, value]) => value === 'off')
    .map(([name]) =>
      warn(
        CHECK,
        `${name} is off: what was acknowledged may be lost in a crash`,
        `set ${name} = on in postgresql.conf`,
      ),
    );
}

export function judgeClock(difference: number): Finding {
  const seconds = (Math.abs(difference) / 1000).toFixed(1);
  const message = `the database's clock is ${seconds} s ${difference < 0 ? 'behind' : 'ahead of'} this machine's`;
  const remedy = 'let both machines follow a time server (systemd-timesyncd, chrony)';
  if (Math.abs(difference) > CLOCK_FAIL_MS) return fail('clock', message, remedy);
  if (Math.abs(difference) > CLOCK_WARN_MS) return warn('clock', message, remedy);
  return ok('clock', "the database's clock and this machine's agree");
}

async function checkMigrations(url: string): Promise<Finding> {
  try {
    const { applied, pending } = await loadMigrationStatus(url);
    if (pending.length === 0) return ok('schema', `up to date (migration ${applied.at(-1)?.version ?? 0})`);
    return warn(
      'schema',
      `${pending.length} migrations are missing`,
      'the next start runs them; or run: hammerhead db migrate. Make a backup first',
    );
  } catch (cause) {
    return fail('schema', messageOf(cause), 'install the version of Hammerhead that this database needs');
  }
}

async function checkIdentity({ serverName, dataDir }: Config, { identity }: DatabaseFacts): Promise<Finding> {
  const path = join(dataDir, 'signing.key');
  if (identity === undefined) return ok('identity', 'the database belongs to nobody yet');
  if (identity.serverName !== serverName) {
    return fail(
      'identity',
      `server_name is ${serverName}, but the database belongs to ${identity.serverName}`,
      'set server_name back',
    );
  }
  try {
    const key = readSigningKey(await readFile(path, 'utf8'), path);
    if (key.publicKey === identity.signingPublicKey && key.keyId === identity.signingKeyId) {
      return ok('identity', `the database and ${path} belong to ${serverName}`);
    }
    return fail(
      'identity',
      `${path} is not the key that this database was made with`,
      'put the original signing.key back',
    );
  } catch (cause) {
    return fail('identity', messageOf(cause), `put the original ${path} back, from a backup`);
  }
}
