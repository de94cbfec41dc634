/**
 * Whose database this is. Every event, user id and room of a server carries its name, and other servers know it by its
 * signing key: starting with another name or key on an existing database would corrupt both sides, so it is refused.
 */
import { OperatorError } from '../lib/operator-error.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface ServerIdentity {
  readonly serverName: string;
  readonly signingKeyId: string;
  /** Unpadded base64. */
  readonly signingPublicKey: string;
}

export class ServerIdentityError extends OperatorError {}

/** Writes the identity at the first start, and refuses another one at every later start. */
export async function claimServerIdentity(tx: Transaction, identity: ServerIdentity, now: number): Promise<void> {
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
  if (!isSameKey) {
    throw new ServerIdentityError(
      `the signing key is ${identity.signingKeyId} (${identity.signingPublicKey}), but this database was made with ` +
        `${known.signingKeyId} (${known.signingPublicKey}). Other servers know this server by that key: put the file ` +
        'signing.key of the original data_dir back',
    );
  }
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
