/**
 * What the server holds, and what takes the room in its database: for administrators.
 */
import type { Database } from '../storage/database.ts';
import {
  listMediaByUser,
  listTableSizes,
  loadStatistics,
  type Statistics,
  type TableSize,
  type UserMedia,
  type UserMediaWanted,
} from '../storage/database-statistics.ts';

export interface ServerStatistics {
  load(): Promise<Statistics>;
  /** The greatest first. */
  listTables(): Promise<readonly TableSize[]>;
  /** Who uploaded the most first. */
  listMediaByUser(wanted: UserMediaWanted): Promise<readonly UserMedia[]>;
}

export function createServerStatistics(database: Database): ServerStatistics {
  return {
    load: () => loadStatistics(database),
    listTables: () => listTableSizes(database),
    listMediaByUser: (wanted) => listMediaByUser(database, wanted),
  };
}
