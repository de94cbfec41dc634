/**
 * What administrators see of sending, and do about it. Servers that take everything leave no trace, so that a list shows
 * those that something waits for and those that failed once.
 */
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { type DestinationPage, type DestinationRow, listDestinations } from '../storage/destinations.ts';
import { FederationError } from './federation-error.ts';
import type { Resolver } from './resolver.ts';
import type { Sender } from './sender.ts';
import type { Target } from './transport.ts';

export interface FederationAdmin {
  list(page: DestinationPage): Promise<readonly (DestinationRow & { readonly lag: number | undefined })[]>;
  retry(serverName: ServerName): boolean;
  resolve(serverName: ServerName): Promise<readonly Target[]>;
}

export interface FederationAdminOptions {
  readonly database: Database;
  readonly committer: { readonly position: number };
  readonly sender: Pick<Sender, 'get' | 'retry'>;
  readonly resolver: Resolver;
}

export function createFederationAdmin({
  database,
  committer,
  sender,
  resolver,
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
  };
}
