/**
 * What administrators do with media: delete one, delete what matches, withdraw one from everybody.
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { MatrixError } from '../protocol/errors.ts';
import { parseServerName, type ServerName } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import type { MediaKey } from '../storage/media.ts';
import { type DeletedMedia, type DeletionCriteria, deleteMedia, deleteMediaWhere } from '../storage/media-deletion.ts';
import { collectFiles } from './collect-files.ts';
import type { MediaStore } from './store.ts';

export interface DeletionCount {
  readonly ok: number;
  readonly fail: number;
}

/** Media that meets any of these goes. */
export interface PurgeCriteria {
  readonly allRemoteMedia?: boolean | undefined;
  readonly allLocalMedia?: boolean | undefined;
  /** What was cached from outside of Matrix, such as the pictures of URL previews. */
  readonly allCaches?: boolean | undefined;
  /** Ids that were created and never got content. */
  readonly allSparse?: boolean | undefined;
  /** A server name, `_` for this server; empty for none. */
  readonly origin?: string | undefined;
  /** A user id; empty for none. */
  readonly user?: string | undefined;
}

export interface MediaAdmin {
  /** Media that does not exist counts as deleted; throws when the file cannot be removed. `_` is this server. */
  deleteOne(origin: string, mediaId: string): Promise<DeletionCount>;
  purge(criteria: PurgeCriteria): Promise<DeletionCount>;
}

export interface MediaAdminOptions {
  readonly database: Database;
  readonly store: MediaStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly serverName: ServerName;
}

const THIS_SERVER = '_';
/** Rows of one transaction: their cost is shared, and progress shows. */
const BATCH = 1_000;

export function createMediaAdmin(options: MediaAdminOptions): MediaAdmin {
  const { database, clock, serverName } = options;
  return {
    async deleteOne(origin, mediaId) {
      if (origin === '' || mediaId === '') throw new MatrixError('M_MISSING_PARAM', 'origin and media id are needed');
      const server = origin === THIS_SERVER ? serverName : parseServerName(origin);
      const deleted = server && (await deleteMedia(database, { origin: server, mediaId }, clock.now()));
      if (deleted === undefined) return { ok: 1, fail: 0 };
      const count = await removeFiles(options, [deleted]);
      if (count.fail > 0) throw new Error('the media file could not be deleted; this is tried again later');
      return count;
    },
    purge: (criteria) => purge(options, toDeletionCriteria(criteria, serverName)),
  };
}

async function purge(options: MediaAdminOptions, criteria: DeletionCriteria): Promise<DeletionCount> {
  const { database, clock, logger } = options;
  const before = clock.now();
  let total: DeletionCount = { ok: 0, fail: 0 };
  let after: MediaKey | undefined;
  for (;;) {
    const deleted = await deleteMediaWhere(database, { criteria, before, after, limit: BATCH });
    after = deleted.at(-1);
    if (after === undefined) return total;
    const { ok, fail } = await removeFiles(options, deleted);
    total = { ok: total.ok + ok, fail: total.fail + fail };
    logger.info({ ...total }, 'purging media');
  }
}

async function removeFiles(options: MediaAdminOptions, deleted: readonly DeletedMedia[]): Promise<DeletionCount> {
  const files = deleted.flatMap(({ sha256 }) => (sha256 === null ? [] : [sha256]));
  const stuck = await collectFiles(options, files);
  const fail = files.filter((sha256) => stuck.has(sha256)).length;
  return { ok: deleted.length - fail, fail };
}

function toDeletionCriteria(criteria: PurgeCriteria, serverName: ServerName): DeletionCriteria {
  const { origin = '', user = '' } = criteria;
  const server = origin === THIS_SERVER ? serverName : parseServerName(origin);
  return {
    allRemote: criteria.allRemoteMedia === true,
    allLocal: criteria.allLocalMedia === true,
    allExternal: criteria.allCaches === true,
    allSparse: criteria.allSparse === true,
    // What can be no server name has no media.
    origin: server ?? null,
    userId: user === '' ? null : user.replaceAll('\0', ''),
  };
}
