/**
 * Keys of servers as the fetcher keeps them: in the database, where everybody finds them.
 */
import type { Database } from '../storage/database.ts';
import { loadServerKeys, saveServerKeys } from '../storage/server-keys.ts';
import type { KeyStore } from './key-fetcher.ts';

export function createKeyStore(database: Database): KeyStore {
  return {
    save: (fetched, origin) => database.transaction((tx) => saveServerKeys(tx, fetched, origin)),
    load: async (serverName) => (await loadServerKeys(database, [serverName])).get(serverName) ?? [],
  };
}
