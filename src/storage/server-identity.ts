/**
 * Whose database this is. Every event, user id and room of a server carries its name, and other servers know it by its
 * signing key: starting with another name or key on an existing database would corrupt both sides, so it is refused.
 *
 * A key changes in two steps, so that a crash in between is no loss: the next one is announced here, then its file takes
 * the place of the old one. Whoever comes with the announced key makes it the current one.
 */
import { OperatorError } from '../lib/operator-error.ts';
import type { Database, Transaction } from './database.ts';
import { insertRetiredKey } from './server-keys.ts';
import { sql } from './sql.ts';

export interface ServerIdentity {
  readonly serverName: string;
  readonly signingKeyId: string;
  /** Unpadded base64. */
  readonly signingPublicKey: string;
}

export class ServerIdentityError extends OperatorError {}

/** Writes the identity at the first start, and refuses another one at every later start. */
export function claimServerIdentity(database: Database, identity: ServerIdentity, now: number): Promise<void> {
  return database.transaction((tx) => claim(tx, identity, now));
}

/** From now on this key is accepted in the place of the current one. */
export async function announceSigningKey(
  tx: Transaction,
  key: Pick<ServerIdentity, 'signingKeyId' | 'signingPublicKey'>,
): Promise<void> {
  await tx.query(sql`
    update server_identity
    set next_signing_key_id = ${key.signingKeyId}, next_signing_public_key = ${key.signingPublicKey}`);
}

async function claim(tx: Transaction, identity: ServerIdentity, now: number): Promise<void> {
  await insertServerIdentity(tx, identity, now);
  const known = await loadServerIdentity(tx);
  if (known === undefined) throw new Error('the server identity vanished');
  if (known.serverName !== identity.serverName) {
    throw new ServerIdentityError(
      `server_name is ${identity.serverName}, but this database belongs to ${known.serverName}. A server's name is part ` +
        'of its user ids, rooms and events and can never be changed: set server_name back, or start with an empty ' +
        'database (another data_dir or database.url)',
    );
  }
  const isSameKey =
    known.signingKeyId === identity.signingKeyId && known.signingPublicKey === identity.signingPublicKey;
  if (!isSameKey && !(await takeNextKey(tx, { identity, known, now }))) {
    throw new ServerIdentityError(
      `the signing key is ${identity.signingKeyId} (${identity.signingPublicKey}), but this database was made with ` +
        `${known.signingKeyId} (${known.signingPublicKey}). Other servers know this server by that key: put the file ` +
        'signing.key of the original data_dir back',
    );
  }
}

interface KeyChange {
  readonly identity: ServerIdentity;
  readonly known: ServerIdentity;
  readonly now: number;
}

/** Whether the key is the announced one; it is the current one then, and the former one is published as retired. */
async function takeNextKey(tx: Transaction, { identity, known, now }: KeyChange): Promise<boolean> {
  const changed = await tx.query(sql<{ changed: boolean }>`
    update server_identity
    set signing_key_id = next_signing_key_id, signing_public_key = next_signing_public_key,
      next_signing_key_id = null, next_signing_public_key = null
    where next_signing_key_id = ${identity.signingKeyId} and next_signing_public_key = ${identity.signingPublicKey}
    returning true as changed`);
  if (changed.length === 0) return false;
  await insertRetiredKey(tx, { keyId: known.signingKeyId, publicKey: known.signingPublicKey, expiredAt: now });
  return true;
}

export async function loadServerIdentity(tx: Transaction): Promise<ServerIdentity | undefined> {
  const rows = await tx.query(sql<ServerIdentity>`
    select server_name as "serverName", signing_key_id as "signingKeyId", signing_public_key as "signingPublicKey"
    from server_identity`);
  return rows[0];
}

async function insertServerIdentity(tx: Transaction, identity: ServerIdentity, now: number): Promise<void> {
  await tx.query(sql`
    insert into server_identity (server_name, signing_key_id, signing_public_key, created_at)
    values (${identity.serverName}, ${identity.signingKeyId}, ${identity.signingPublicKey}, ${now})
    on conflict do nothing`);
}
