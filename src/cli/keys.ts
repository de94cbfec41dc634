/**
 * The commands about the server's signing keys: which there are, and a new one in the place of the current.
 */
import { join } from 'node:path';
import { loadSigningKey, makeSigningKey, replaceSigningKey } from '../config/signing-key.ts';
import { systemClock } from '../lib/clock.ts';
import { OperatorError } from '../lib/operator-error.ts';
import { secureRandom } from '../lib/random.ts';
import type { SigningKey } from '../protocol/signing.ts';
import type { Database } from '../storage/database.ts';
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

export async function listKeys(configPath: string): Promise<void> {
  await withDatabaseUrl(loadExisting(configPath), async (connection) => {
    await using database = createPool({ connection });
    const identity = await loadIdentity(database);
    console.log(`${identity.signingKeyId} ${identity.signingPublicKey} current`);
    for (const { keyId, publicKey, expiredAt } of await listRetiredKeys(database)) {
      console.log(`${keyId} ${publicKey} until ${new Date(expiredAt).toISOString()}`);
    }
  });
}

/** Refused while a server runs on the database: it would go on signing with the old key. */
export async function rotateKey(configPath: string): Promise<void> {
  const config = loadExisting(configPath);
  await using opened = await openDatabase({
    url: config.database.url?.reveal(),
    dataDir: config.dataDir,
    pool: {},
    logger: commandLogger('warn'),
    onReplaced: (cause) => console.error(cause.message),
  });
  const { database } = opened;
  await loadIdentity(database);
  const path = join(config.dataDir, 'signing.key');
  const identityOf = ({ keyId, publicKey }: SigningKey): ServerIdentity => ({
    serverName: config.serverName,
    signingKeyId: keyId,
    signingPublicKey: publicKey,
  });
  const current = await loadSigningKey(path);
  await claimServerIdentity(database, identityOf(current), systemClock.now());
  const next = makeSigningKey(secureRandom);
  await announceSigningKey(database, identityOf(next));
  await replaceSigningKey(path, next);
  await claimServerIdentity(database, identityOf(next), systemClock.now());
  console.log(`the signing key is ${next.keyId} now; ${current.keyId} is published as its predecessor`);
}

async function loadIdentity(database: Database): Promise<ServerIdentity> {
  const identity = await loadServerIdentity(database);
  if (identity === undefined) throw new OperatorError('there is no key yet: the server makes it at its first start');
  return identity;
}
