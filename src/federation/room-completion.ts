/**
 * Makes rooms whole that were joined without their members: asks one server after another, and again later if none helps,
 * until the room is whole or nobody of ours is in it. What is left to do is in the database: the next start goes on with it.
 *
 * Invariants: a room is worked on once at a time; few rooms at once, and whoever waits to try again holds up nobody.
 */
import type { RoomCompleter } from '../engine/complete-room.ts';
import { createLocalMembers } from '../engine/local-members.ts';
import { serversIn } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { createTurnstile } from '../lib/turnstile.ts';
import type { RoomId, ServerName } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { listPartialRooms, loadPartialRoom } from '../storage/partial-rooms.ts';
import type { ServerPolicy } from './server-policy.ts';

/** The state of a large room takes a hundred megabytes while it is stored. */
const MAX_AT_ONCE = 4;
const MAX_WAITING = 100_000;
/** Servers asked before there is a pause. */
const SERVERS_PER_ROUND = 10;
const FIRST_PAUSE_MS = 2_000;
const MAX_PAUSE_MS = 10 * 60_000;

export interface RoomCompletion extends AsyncDisposable {
  /** Takes up what an earlier process left. */
  start(): Promise<void>;
  /** The room may lack members. */
  wake(roomId: RoomId): void;
  /** Resolves when no room is being worked on just now. */
  idle(): Promise<void>;
}

export interface RoomCompletionOptions {
  readonly database: Database;
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly completer: RoomCompleter;
  readonly policy: ServerPolicy;
  readonly serverName: ServerName;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Parts extends RoomCompletionOptions {
  readonly isInhabited: ReturnType<typeof createLocalMembers>;
}

export function createRoomCompletion(options: RoomCompletionOptions): RoomCompletion {
  const { clock, logger } = options;
  const parts: Parts = { ...options, isInhabited: createLocalMembers(options.serverName) };
  const turnstile = createTurnstile({ maxRunning: MAX_AT_ONCE, maxWaiting: MAX_WAITING });
  const running = new Map<RoomId, Promise<void>>();
  /** Rooms that were woken while they were worked on. */
  const again = new Set<RoomId>();
  const pauses = new Map<RoomId, Disposable>();
  const failures = new Map<RoomId, number>();
  let isStopped = false;

  async function work(roomId: RoomId): Promise<void> {
    const isDone = await turnstile.run(async () => isStopped || (await completeRoom(parts, roomId)));
    if (isDone === true) failures.delete(roomId);
    else pause(roomId);
  }

  function pause(roomId: RoomId): void {
    if (isStopped) return;
    const failed = failures.get(roomId) ?? 0;
    failures.set(roomId, failed + 1);
    const delay = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failed, 20), MAX_PAUSE_MS);
    logger.info({ roomId, delay, failures: failed + 1 }, 'no server gave the members of a room; trying again');
    pauses.set(
      roomId,
      clock.after(delay, () => wake(roomId)),
    );
  }

  function wake(roomId: RoomId): void {
    if (isStopped) return;
    if (running.has(roomId)) {
      again.add(roomId);
      return;
    }
    pauses.get(roomId)?.[Symbol.dispose]();
    pauses.delete(roomId);
    const worked = work(roomId)
      .catch((cause: unknown) => {
        logger.error({ cause, roomId }, 'the members of a room could not be taken in');
        pause(roomId);
      })
      .finally(() => {
        running.delete(roomId);
        if (again.delete(roomId)) wake(roomId);
      });
    running.set(roomId, worked);
  }

  const idle = async (): Promise<void> => {
    while (running.size > 0) await Promise.all(running.values());
  };
  return {
    async start() {
      for (const roomId of await listPartialRooms(options.database)) wake(roomId);
    },
    wake,
    idle,
    async [Symbol.asyncDispose]() {
      isStopped = true;
      for (const one of pauses.values()) one[Symbol.dispose]();
      await idle();
    },
  };
}

/** Whether there is nothing left to do. */
async function completeRoom(parts: Parts, roomId: RoomId): Promise<boolean> {
  const { clock, logger, completer } = parts;
  const since = clock.monotonic();
  const servers = await listServers(parts, roomId);
  if (servers === undefined) return true;
  logger.info({ roomId, servers: servers.length }, 'fetching the members of a room');
  for (const server of servers) {
    const outcome = await completer.complete(roomId, server);
    if (outcome === 'whole') {
      const members = (await parts.engine.loadSnapshot(roomId))?.joinedCount;
      logger.info({ roomId, server, members, took: clock.monotonic() - since }, 'a room has all its members');
      return true;
    }
    logger.info({ roomId, server }, 'a server did not give the members of a room');
  }
  return false;
}

/** The one that let us in first. Undefined where nobody of ours is there, or nothing is missing. */
async function listServers(parts: Parts, roomId: RoomId): Promise<readonly ServerName[] | undefined> {
  const partial = await loadPartialRoom(parts.database, roomId);
  const snapshot = await parts.engine.loadSnapshot(roomId);
  if (partial === undefined || snapshot === undefined || !parts.isInhabited(snapshot)) return undefined;
  const servers = new Set([partial.joinedVia, ...serversIn(snapshot)]);
  return [...servers].filter((server) => parts.policy.admits(server)).slice(0, SERVERS_PER_ROUND);
}
