/**
 * What the sender stores, all in one transaction: how far it followed the stream, and with it whatever of that was not
 * taken yet. It is written a moment after something changed, never per event; a server that takes everything at once leaves
 * nothing but the position.
 */
import type { Clock } from '../lib/clock.ts';
import type { RoomId, ServerName } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import {
  type DestinationRow,
  deleteOwedEvents,
  insertOwedEvents,
  saveDestinations,
  saveFederatedRooms,
} from '../storage/destinations.ts';
import { saveFollowerPosition } from '../storage/stream-followers.ts';
import type { DestinationQueue } from './destination-queue.ts';

/** The name under which the sender's position is stored: one for each writer, whose positions are its own. */
export const followerOf = (writerId: number): string => `federation:${writerId}`;

export interface SenderProgress {
  /** The newest event of a room that goes to other servers. */
  noteRoom(roomId: RoomId, position: number): void;
  /** Something moved: it is stored soon. */
  touch(): void;
  /** Stores everything now. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

export interface SenderProgressOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly writerId: number;
  /** What the database says of servers at the start. */
  readonly rows: readonly DestinationRow[];
  /** Everything up to here was noted, or is in a queue. */
  readonly getPosition: () => number;
  readonly queues: ReadonlyMap<ServerName, DestinationQueue>;
  readonly onError: (cause: unknown) => void;
}

/** What a crash may repeat: other servers drop what they have. */
const FLUSH_DELAY_MS = 1_000;

export function createSenderProgress(options: SenderProgressOptions): SenderProgress {
  const { database, clock, writerId, queues } = options;
  const rooms = new Map<RoomId, number>();
  /** Rows of servers that are not settled, as they are in the database. */
  const stored = new Map(options.rows.map((row) => [row.serverName, row]));
  let storedPosition: number | undefined;
  let timer: Disposable | undefined;
  let isClosed = false;
  let writing: Promise<void> = Promise.resolve();

  async function write(): Promise<void> {
    const position = options.getPosition();
    const rows = changedRows();
    const owed = [...queues.values()].flatMap((queue) => queue.listOwed());
    const moved = [...rooms].map(([roomId, at]) => ({ roomId, position: at }));
    const sent = rows.filter(({ serverName }) => stored.get(serverName)?.pendingFrom !== undefined);
    if (position === storedPosition && rows.length + owed.length + moved.length === 0) return;
    await database.transaction(async (tx) => {
      if (moved.length > 0) await saveFederatedRooms(tx, moved);
      if (owed.length > 0) await insertOwedEvents(tx, owed);
      if (rows.length > 0) await saveDestinations(tx, rows);
      if (sent.length > 0) await deleteOwedEvents(tx, sent.map(toSent));
      await saveFollowerPosition(tx, followerOf(writerId), position);
    });
    // What changed while this was written is newer, and stays for the next time.
    for (const { roomId, position: at } of moved) if (rooms.get(roomId) === at) rooms.delete(roomId);
    for (const row of rows) {
      if (isSettled(row)) stored.delete(row.serverName);
      else stored.set(row.serverName, row);
    }
    for (const { serverName, position: at } of owed) queues.get(serverName)?.forgetOwed(at);
    storedPosition = position;
  }

  function changedRows(): readonly DestinationRow[] {
    const now = [...queues.values()].map((queue) => queue.toRow());
    const gone = [...stored.keys()].filter((name) => !queues.has(name)).map((name) => settled(name, clock.now()));
    return [...now, ...gone].filter((row) => differs(row, stored.get(row.serverName)));
  }

  const flush = (): Promise<void> => {
    timer?.[Symbol.dispose]();
    timer = undefined;
    writing = writing.then(write, write);
    return writing;
  };
  const touch = (): void => {
    if (isClosed) return;
    timer ??= clock.after(FLUSH_DELAY_MS, () => {
      flush().catch((cause: unknown) => {
        options.onError(cause);
        touch();
      });
    });
  };

  return {
    noteRoom(roomId, position) {
      rooms.set(roomId, Math.max(position, rooms.get(roomId) ?? 0));
    },
    touch,
    flush,
    async close() {
      isClosed = true;
      await flush();
    },
  };
}

function toSent({ serverName, pendingFrom }: DestinationRow): { serverName: ServerName; before: number } {
  return { serverName, before: pendingFrom ?? Number.MAX_SAFE_INTEGER };
}

function isSettled({ pendingFrom, failures }: DestinationRow): boolean {
  return pendingFrom === undefined && failures === 0;
}

function settled(serverName: ServerName, lastSuccessAt: number): DestinationRow {
  return {
    serverName,
    pendingFrom: undefined,
    failures: 0,
    failingSince: undefined,
    retryAt: undefined,
    lastError: undefined,
    lastSuccessAt,
  };
}

/** Whether the database has to learn of it; of a server that it does not know, nothing that is well. */
function differs(row: DestinationRow, known: DestinationRow | undefined): boolean {
  if (known === undefined) return !isSettled(row);
  return row.pendingFrom !== known.pendingFrom || row.failures !== known.failures || row.retryAt !== known.retryAt;
}
