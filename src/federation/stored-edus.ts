/**
 * EDUs that must not be lost, such as messages to devices: kept by the feature that they belong to until a server has taken
 * them. A feature says that something waits (`Sender.wake`), is asked for it when it is the server's turn, and is told when
 * it arrived; after a restart it says so again.
 */
import type { ServerName } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';

export interface EduSource {
  /** What waits for the server, the oldest first. */
  list(serverName: ServerName, limit: number): Promise<StoredEdus>;
}

export interface StoredEdus {
  readonly edus: readonly JsonObject[];
  /** The server has taken them: they are not listed again. */
  delivered(): Promise<void>;
}

/** What all sources have for the server, as many as fit. */
export async function listStoredEdus(
  sources: readonly EduSource[],
  serverName: ServerName,
  limit: number,
): Promise<StoredEdus> {
  const lists = await Promise.all(sources.map((source) => source.list(serverName, limit)));
  const taken: StoredEdus[] = [];
  let count = 0;
  for (const list of lists) {
    // One list is taken whole or waits for the next transaction: its owner knows it as one.
    if (list.edus.length === 0 || count + list.edus.length > limit) continue;
    taken.push(list);
    count += list.edus.length;
  }
  return {
    edus: taken.flatMap(({ edus }) => edus),
    async delivered() {
      for (const list of taken) await list.delivered();
    },
  };
}
