/**
 * What administrators see of other servers: of sending, and what to do about it, where a server is found, and its keys.
 * Servers that take everything leave no trace, so that a list shows those that something waits for and those that
 * failed once.
 */
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { type DestinationPage, type DestinationRow, listDestinations } from '../storage/destinations.ts';
import { loadServerKeys, type ServerKey } from '../storage/server-keys.ts';
import { FederationError } from './federation-error.ts';
import type { KeyFetcher } from './key-fetcher.ts';
import type { OwnKeys } from './own-keys.ts';
import type { Resolver } from './resolver.ts';
import type { Sender } from './sender.ts';
import type { Target } from './transport.ts';

export interface FederationAdmin {
  list(page: DestinationPage): Promise<readonly (DestinationRow & { readonly lag: number | undefined })[]>;
  retry(serverName: ServerName): boolean;
  resolve(serverName: ServerName): Promise<readonly Target[]>;
  /** The signing keys of a server that are known after it was asked, the newest first; our own too. */
  loadKeys(serverName: ServerName): Promise<readonly ServerKey[]>;
}

export interface FederationAdminOptions {
  readonly database: Database;
  readonly committer: { readonly position: number };
  readonly sender: Pick<Sender, 'get' | 'retry'>;
  readonly resolver: Resolver;
  readonly keyFetcher: Pick<KeyFetcher, 'fetchFromOwners'>;
  readonly ownKeys: Pick<OwnKeys, 'serverName' | 'keys'>;
}

export function createFederationAdmin({
  database,
  committer,
  sender,
  resolver,
  keyFetcher,
  ownKeys,
}: FederationAdminOptions): FederationAdmin {
  return {
    async list(page) {
      const rows = await listDestinations(database, page);
      return rows.map((stored) => {
        // Memory knows what the database will.
        const row = sender.get(stored.serverName) ?? stored;
        return { ...row, lag: row.pendingFrom === undefined ? undefined : committer.position - row.pendingFrom + 1 };
      });
    },
    retry: (serverName) => sender.retry(serverName),
    async resolve(serverName) {
      try {
        return await resolver.resolve(serverName);
      } catch (cause) {
        if (!(cause instanceof FederationError)) throw cause;
        throw new MatrixError('M_NOT_FOUND', cause.message, { cause });
      }
    },
    async loadKeys(serverName) {
      if (serverName === ownKeys.serverName) return ownKeys.keys;
      await keyFetcher.fetchFromOwners([serverName]);
      const keys = (await loadServerKeys(database, [serverName])).get(serverName) ?? [];
      if (keys.length === 0) throw new MatrixError('M_NOT_FOUND', 'The server shows no keys, and none are known');
      return [...keys].sort((one, other) => other.validUntil - one.validUntil);
    },
  };
}
