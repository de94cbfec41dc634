/**
 * Rooms that all local users have left are deleted after a while. Whoever follows the stream only learns sooner: a start
 * looks for all such rooms, so that none is forgotten when the process ends in between.
 */
import type { RoomEngine } from '../engine/types.ts';
import type { JobRequest } from '../jobs/job-runner.ts';
import type { Logger } from '../lib/logger.ts';
import type { RoomId, ServerName } from '../protocol/ids.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import { listAbandonedRooms } from '../storage/room-deletion.ts';
import { stateChangeStream } from '../storage/state-change-stream.ts';
import type { Hub } from '../streams/hub.ts';
import { DELETE_ABANDONED_ROOM, hasLocalMembers } from './delete-room.ts';

export interface AbandonedRoomsOptions {
  readonly database: Database;
  readonly hub: Hub;
  readonly engine: Pick<RoomEngine, 'getSnapshot'>;
  readonly jobs: { add(tx: Transaction, request: JobRequest): Promise<number | undefined>; wake(): void };
  readonly serverName: ServerName;
  readonly logger: Logger;
  readonly delayMs?: number;
}

/** Time for those who left to read up to their leaving, and for an invite that undoes it. */
const DELAY_MS = 10 * 60 * 1000;
const ROOMS_PER_QUERY = 500;

/** Has to be made after the engine, so that rooms hear of a batch before this does. */
export async function followAbandonedRooms(options: AbandonedRoomsOptions): Promise<Disposable> {
  const { database, hub, engine, jobs, serverName, logger, delayMs = DELAY_MS } = options;
  const schedule = (roomId: RoomId): Promise<number | undefined> =>
    jobs.add(database, {
      kind: DELETE_ABANDONED_ROOM,
      subject: roomId,
      params: {},
      requestedBy: 'server',
      delay: delayMs,
    });
  for (let found = await list(); found.length > 0; found = await list()) {
    for (const roomId of found) await schedule(roomId);
  }
  jobs.wake();
  return hub.follow((batch) => {
    const left = new Set<RoomId>();
    for (const { row } of batch.rowsOf(pduStream)) {
      const membership = row.state?.membership;
      const isLocal = row.stored.event.stateKey?.endsWith(`:${serverName}`) === true;
      if ((membership === 'leave' || membership === 'ban') && isLocal) left.add(row.head.roomId);
    }
    for (const { row } of batch.rowsOf(stateChangeStream)) {
      const isGone = row.member?.membership === 'leave' || row.member?.membership === 'ban';
      if (isGone && row.stateKey.endsWith(`:${serverName}`)) left.add(row.roomId);
    }
    for (const roomId of left) {
      const snapshot = engine.getSnapshot(roomId);
      if (snapshot === undefined || hasLocalMembers(snapshot, serverName)) continue;
      schedule(roomId).then(jobs.wake, (cause: unknown) =>
        logger.warn({ cause, roomId }, 'an abandoned room will be deleted after the next start only'),
      );
    }
  });

  function list(): Promise<readonly RoomId[]> {
    return listAbandonedRooms(database, serverName, ROOMS_PER_QUERY);
  }
}
