/**
 * The PDUs that wait for their rooms: worked on in the order in which they came, rooms side by side. A burst of
 * transactions costs a room one look at what waits, and what was worked on is removed for all rooms together, a little
 * later.
 *
 * Invariants: a PDU is removed only after the engine has taken it in or turned it down, and only itself: another
 * server's may be committed later with an earlier number; after a crash, what was not removed is worked on again and is
 * known then.
 */
import type { Receiver } from '../engine/receive-pdu.ts';
import { createRoomAcls } from '../engine/room-acls.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Clock } from '../lib/clock.ts';
import { createJointQuestions } from '../lib/joint-questions.ts';
import { KeyedQueue } from '../lib/keyed-queue.ts';
import type { Logger } from '../lib/logger.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import type { Database } from '../storage/database.ts';
import { deleteStaged, listStaged, type StagedPdu, type StagedWanted } from '../storage/inbound.ts';
import type { RemoteJoins } from './remote-join.ts';

/** PDUs of one room that are received together. */
const PDUS_PER_STEP = 50;
/** As many as a transaction names. */
const MAX_ROOMS_TOGETHER = 50;
/** After a failure of ours, the room's PDUs wait; longer each time. */
const MIN_RETRY_MS = 1_000;
const MAX_RETRY_MS = 5 * 60_000;
/** A PDU that makes us fail over and over must not keep the others of its room waiting for ever. */
const MAX_ATTEMPTS = 6;
/** Soon enough that a crash repeats little, late enough that many go at once. */
const REMOVING_DELAY_MS = 100;

export interface StagedWorkOptions {
  readonly database: Database;
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly receiver: Receiver;
  /** Rooms that a user of ours is about to be in. */
  readonly joins: Pick<RemoteJoins, 'getPending'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface StagedWork {
  /** Something was staged for the room. */
  wake(roomId: RoomId): void;
  /** Runs it behind what waits for the room; what it throws is let go. */
  afterwards(roomId: RoomId, work: () => Promise<void>): void;
  /** Resolves when nothing waits any more. */
  idle(): Promise<void>;
  stop(): Promise<void>;
}

export function createStagedWork(options: StagedWorkOptions): StagedWork {
  const { joins, clock, logger } = options;
  const queue = new KeyedQueue<RoomId>();
  const done = createDone(options);
  const receiveStaged = createStagedReceiver(options);
  /** Rooms whose next look at what waits has not begun. */
  const waiting = new Set<RoomId>();
  const retries = new Map<RoomId, Disposable>();
  let isStopped = false;

  async function work(roomId: RoomId, attempt: number): Promise<void> {
    await joins.getPending(roomId)?.over;
    for (;;) {
      if (isStopped) return;
      // A PDU that fails is found out by working on one at a time.
      const limit = attempt > 1 ? 1 : PDUS_PER_STEP;
      waiting.delete(roomId);
      const staged = await done.listRest(roomId, limit);
      if (staged.length === 0) return;
      try {
        await receiveStaged(roomId, staged);
      } catch (cause) {
        if (attempt < MAX_ATTEMPTS) throw cause;
        logger.error({ cause, roomId, pdu: staged[0]?.inboundId }, 'an event of another server was given up');
      }
      done.add(roomId, staged);
      attempt = 1;
      // Whatever came since has woken the room.
      if (staged.length < limit) return;
    }
  }

  function wake(roomId: RoomId, attempt = 1): void {
    if (attempt === 1 && waiting.has(roomId)) return;
    waiting.add(roomId);
    queue
      .run(roomId, () => work(roomId, attempt))
      .catch((cause: unknown) => {
        logger.warn({ cause, roomId, attempt }, 'events of another server wait to be tried again');
        const delay = Math.min(MIN_RETRY_MS * 2 ** (attempt - 1), MAX_RETRY_MS);
        retries.get(roomId)?.[Symbol.dispose]();
        retries.set(
          roomId,
          clock.after(delay, () => {
            retries.delete(roomId);
            wake(roomId, attempt + 1);
          }),
        );
      });
  }

  return {
    wake,
    afterwards(roomId, last) {
      queue.run(roomId, last).catch((cause: unknown) => logger.debug({ cause, roomId }, 'an EDU was not of use'));
    },
    async idle() {
      await queue.idle();
      await done.flush();
    },
    async stop() {
      isStopped = true;
      for (const retry of retries.values()) retry[Symbol.dispose]();
      await queue.idle();
      await done[Symbol.asyncDispose]();
    },
  };
}

interface Done extends AsyncDisposable {
  /** The oldest PDUs of the room that were not worked on. */
  listRest(roomId: RoomId, limit: number): Promise<readonly StagedPdu[]>;
  add(roomId: RoomId, staged: readonly StagedPdu[]): void;
  flush(): Promise<void>;
}

/** What was worked on and is still to be removed. */
function createDone({ database, clock, logger }: StagedWorkOptions): Done {
  const ids = new Map<RoomId, Set<number>>();
  const list = createJointQuestions<StagedWanted, readonly StagedPdu[]>(
    async (wanted) => {
      const found = await listStaged(database, wanted);
      return new Map(wanted.map((room) => [room, found.get(room.roomId) ?? []]));
    },
    { maxTogether: MAX_ROOMS_TOGETHER },
  );
  let timer: Disposable | undefined;
  let removing: Promise<void> = Promise.resolve();

  async function remove(): Promise<void> {
    const removed = [...ids].flatMap(([roomId, ofRoom]) => [...ofRoom].map((id) => ({ roomId, id })));
    if (removed.length === 0) return;
    await deleteStaged(
      database,
      removed.map(({ id }) => id),
    );
    for (const { roomId, id } of removed) {
      const ofRoom = ids.get(roomId);
      ofRoom?.delete(id);
      if (ofRoom?.size === 0) ids.delete(roomId);
    }
  }

  function flush(): Promise<void> {
    timer?.[Symbol.dispose]();
    timer = undefined;
    // What could not be removed is removed with what comes next, or worked on again after a restart.
    removing = removing.then(remove).catch((cause: unknown) => logger.warn({ cause }, 'staged events are still there'));
    return removing;
  }

  return {
    listRest: (roomId, limit) => list({ roomId, except: [...(ids.get(roomId) ?? [])], limit }),
    add(roomId, staged) {
      const ofRoom = ids.get(roomId) ?? new Set();
      for (const { inboundId } of staged) ofRoom.add(inboundId);
      ids.set(roomId, ofRoom);
      timer ??= clock.after(REMOVING_DELAY_MS, flush);
    },
    flush,
    [Symbol.asyncDispose]: flush,
  };
}

type ReceiveStaged = (roomId: RoomId, staged: readonly StagedPdu[]) => Promise<void>;

/** Those that one server sent in a row are received together. */
function createStagedReceiver({ engine, receiver }: StagedWorkOptions): ReceiveStaged {
  const isAllowed = createRoomAcls();
  return async (roomId, staged) => {
    let rest = staged;
    while (rest.length > 0) {
      const origin = rest[0]?.origin;
      if (origin === undefined) return;
      const end = rest.findIndex((one) => one.origin !== origin);
      const run = end === -1 ? rest : rest.slice(0, end);
      rest = rest.slice(run.length);
      // Of a room that was only being joined when they came, the list was not known then.
      const snapshot = await engine.loadSnapshot(roomId);
      if (snapshot !== undefined && !isAllowed(snapshot, origin)) continue;
      // Our own text, whose numbers were looked at when it was staged.
      const pdus = run.map(({ pdu }) => parseJsonText(pdu) as JsonValue);
      await receiver.receive(roomId, { origin, pdus });
    }
  };
}
