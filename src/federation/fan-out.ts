/**
 * From the stream of events to the servers that each goes to: those with users in the room, and the one whose user it
 * removes. Events of our users go out, and those that other servers' users made by way of us, but
 * not those that ours made by way of another server, which sends them. Follows the stream from a position of its own: what the hub hands over is used as it is, what was missed while
 * nobody followed is read again.
 *
 * Invite events reach their server by the invite API, which carries what it needs to understand them.
 */
import { createRoomAcls } from '../engine/room-acls.ts';
import type { RoomEngine } from '../engine/types.ts';
import { parseUserId, type RoomId, type ServerName, serverNameOf } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import type { Database } from '../storage/database.ts';
import { listEventsOfServer } from '../storage/events-of-server.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import { loadNextStreamPosition } from '../storage/stream-events.ts';
import type { CommittedBatch } from '../streams/batch.ts';
import type { RoomServers } from './room-servers.ts';
import { encodePdu, type OutgoingPdu } from './transaction.ts';

export interface FanOut {
  /** Everything up to here was handed over. */
  readonly position: number;
  /** Called for each batch of the stream, in order. */
  follow(batch: CommittedBatch): void;
  /** Reads what was committed before the first batch. */
  start(upTo: number): void;
  /** Goes on after a failure. */
  wake(): void;
  /** Resolves when what was followed so far is handed over. */
  idle(): Promise<void>;
}

export interface FanOutOptions {
  readonly database: Database;
  readonly engine: Pick<RoomEngine, 'loadSnapshots'>;
  readonly roomServers: RoomServers;
  readonly serverName: ServerName;
  /** Where the last run of the server ended. */
  readonly position: number;
  readonly deliver: (serverName: ServerName, pdu: OutgoingPdu) => void;
  /** The position moved. */
  readonly onProgress: () => void;
  readonly onError: (cause: unknown) => void;
}

interface LocalEvent {
  readonly roomId: RoomId;
  readonly position: number;
  readonly pdu: Pdu;
}

/** Events that wait in memory for the state of a room; beyond this they are read from the database again. */
const MAX_WAITING = 5_000;
const PAGE_SIZE = 500;
/** The stream is read in stretches: without an end, a page would cost all that is left of it. */
const POSITIONS_PER_PAGE = 2_000;

export function createFanOut(options: FanOutOptions): FanOut {
  const { database, serverName } = options;
  const isAllowed = createRoomAcls();
  let position = options.position;
  /** What is known to be committed. */
  let committed = options.position;
  /** All local events in (waitingFrom, committed]. */
  let waiting: LocalEvent[] = [];
  let waitingFrom = options.position;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while (position < committed) {
      const isInMemory = waitingFrom <= position;
      const upTo = isInMemory ? committed : await endOfPage();
      const events = isInMemory ? waiting.splice(0) : await read(upTo);
      // Should this fail, the database still has them.
      if (isInMemory) waitingFrom = upTo;
      await distribute(events);
      // A full page may have left something behind it.
      position = isInMemory || events.length < PAGE_SIZE ? upTo : (events.at(-1)?.position ?? upTo);
      options.onProgress();
    }
  }

  /** Positions that were left free are passed over in one step. */
  async function endOfPage(): Promise<number> {
    const upTo = waitingFrom;
    const first = await loadNextStreamPosition(database, { after: position, upTo });
    return first === undefined ? upTo : Math.min(first + POSITIONS_PER_PAGE, upTo);
  }

  const read = (upTo: number): Promise<readonly LocalEvent[]> =>
    listEventsOfServer(database, { serverName, after: position, upTo, limit: PAGE_SIZE });

  async function distribute(events: readonly LocalEvent[]): Promise<void> {
    if (events.length === 0) return;
    const snapshots = await options.engine.loadSnapshots([...new Set(events.map(({ roomId }) => roomId))]);
    for (const { roomId, position: at, pdu } of events) {
      const snapshot = snapshots.get(roomId);
      const present = snapshot === undefined ? NOBODY : options.roomServers.of(snapshot);
      const removed = findRemoved(pdu);
      const targets = new Set(removed === undefined ? present : [...present, removed]);
      targets.delete(serverName);
      // Who sent us an event to be sent on has it.
      const sender = parseUserId(pdu.sender);
      if (sender !== undefined) targets.delete(serverNameOf(sender));
      // Whom the room keeps out learns of it no more than that.
      const isKeptOut = (target: ServerName): boolean => snapshot !== undefined && !isAllowed(snapshot, target);
      if (pdu.type !== 'm.room.server_acl') for (const target of targets) if (isKeptOut(target)) targets.delete(target);
      // What no catch-up finds, since it goes by members, is written down for those who do not take it at once.
      const members = snapshot === undefined ? NOBODY : options.roomServers.withMembers(snapshot);
      const text = targets.size === 0 ? undefined : encodePdu(pdu);
      if (text === undefined) continue;
      for (const target of targets) {
        options.deliver(target, { roomId, position: at, text, isOwed: !members.has(target) });
      }
    }
  }

  const wake = (): void => {
    running ??= run()
      .catch(options.onError)
      .finally(() => {
        running = undefined;
      });
  };

  return {
    get position() {
      return position;
    },
    start(upTo) {
      committed = Math.max(committed, upTo);
      waitingFrom = committed;
      wake();
    },
    wake,
    follow(batch) {
      // Whoever missed a batch, or has too many in memory, reads.
      if (batch.from !== committed || waiting.length > MAX_WAITING) {
        waiting = [];
        waitingFrom = batch.to;
      } else {
        waiting.push(...localEvents(batch, serverName));
      }
      committed = batch.to;
      wake();
    },
    async idle() {
      while (running !== undefined) await running;
    },
  };
}

const NOBODY: ReadonlySet<ServerName> = new Set();

function localEvents(batch: CommittedBatch, serverName: ServerName): readonly LocalEvent[] {
  return batch.rowsOf(pduStream).flatMap(({ position, row }) => {
    const { roomId, sender, pdu } = row.stored.event;
    const isOutgoing = row.isOutgoing ?? serverNameOf(sender) === serverName;
    return isOutgoing ? [{ roomId, position, pdu }] : [];
  });
}

/** The server of a user whom the event takes out of the room. */
function findRemoved({ type, state_key: stateKey, content }: Pdu): ServerName | undefined {
  const { membership } = content;
  if (type !== 'm.room.member' || (membership !== 'leave' && membership !== 'ban')) return undefined;
  const userId = parseUserId(stateKey ?? '');
  return userId === undefined ? undefined : serverNameOf(userId);
}
