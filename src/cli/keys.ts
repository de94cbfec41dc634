/**
 * The commands about the server's signing keys: which there are, and a new one in the place of the current.
 */
import { join } from 'node:path';
import type { Command } from 'commander';
import { loadOrCreateSigningKey, makeSigningKey, replaceSigningKey } from '../config/signing-key.ts';
import { systemClock } from '../lib/clock.ts';
import { OperatorError } from '../lib/operator-error.ts';
import { secureRandom } from '../lib/random.ts';
import type { SigningKey } from '../protocol/signing.ts';
import { openDatabase } from '../storage/open-database.ts';
import { createPool } from '../storage/pool.ts';
import {
  announceSigningKey,
  claimServerIdentity,
  loadServerIdentity,
  type ServerIdentity,
} from '../storage/server-identity.ts';
import { listRetiredKeys } from '../storage/server-keys.ts';
import { loadExisting } from './config.ts';
import { commandLogger, withDatabaseUrl } from './database.ts';
import { configOption } from './options.ts';

export function addKeyCommands(keys: Command): void {
  keys
    .command('list')
    .description('print the current key and the former ones')
    .addOption(configOption())
    .action(({ config }: { config: string }) => listKeys(config));
  keys
    .command('rotate')
    .description('make a new signing key while the server is stopped; what the old one signed stays valid')
    .addOption(configOption())
    .action(({ config }: { config: string }) => rotateKey(config));
}

async function listKeys(configPath: string): Promise<void> {
  await withDatabaseUrl(loadExisting(configPath), async (connection) => {
    await using database = createPool({ connection });
    const identity = await loadServerIdentity(database);
    if (identity === undefined) throw new OperatorError('there is no key yet: the server makes it at its first start');
    console.log(`${identity.signingKeyId} ${identity.signingPublicKey} current`);
    for (const { keyId, publicKey, expiredAt } of await listRetiredKeys(database)) {
      console.log(`${keyId} ${publicKey} until ${new Date(expiredAt).toISOString()}`);
    }
  });
}

/** Refused while a server runs on the database: it would go on signing with the old key. */
async function rotateKey(configPath: string): Promise<void> {
  const config = loadExisting(configPath);
  await using opened = await openDatabase({
    url: config.database.url?.reveal(),
    dataDir: config.dataDir,
    pool: {},
    logger: commandLogger('warn'),
    onReplaced: (cause) => console.error(cause.message),
  });
  const { database } = opened;
  const path = join(config.dataDir, 'signing.key');
  const identityOf = ({ keyId, publicKey }: SigningKey): ServerIdentity => ({
    serverName: config.serverName,
    signingKeyId: keyId,
    signingPublicKey: publicKey,
  });
  const current = await loadOrCreateSigningKey(path, secureRandom);
  await claimServerIdentity(database, identityOf(current), systemClock.now());
  const next = makeSigningKey(secureRandom);
  await announceSigningKey(database, identityOf(next));
  await replaceSigningKey(path, next);
  await claimServerIdentity(database, identityOf(next), systemClock.now());
  console.log(`the signing key is ${next.keyId} now; ${current.keyId} is published as its predecessor`);
}
