/**
 * Deleting a room: local users are made to leave by ordinary membership events, then everything that the database holds
 * of the room goes in one transaction, while nobody can write to it, and after the sender to other servers has read it.
 * A job, so that a restart finishes what was begun.
 *
 * Without `force` the first error ends the work; with it, what fails is passed over where possible.
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { type Job, JobFailure, type JobKind, type JobRequest, type JobStep } from '../jobs/job-runner.ts';
import type { Clock } from '../lib/clock.ts';
import { forEachLimited } from '../lib/limited-concurrency.ts';
import type { Logger } from '../lib/logger.ts';
import { MatrixError } from '../protocol/errors.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { hasPendingOutside } from '../storage/outside-memberships.ts';
import { deleteRoomRows, deleteRoomRowsByForce, listLocalMembers } from '../storage/room-deletion.ts';

export const DELETE_ROOM = 'delete_room';
/** The rooms that all local users have left. */
export const DELETE_ABANDONED_ROOM = 'delete_abandoned_room';

export interface RoomDeletionKindOptions {
  readonly engine: Pick<RoomEngine, 'dropRoom'>;
  readonly database: Database;
  readonly serverName: ServerName;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Leaves the room, rejects the invite or takes back the knock. */
  leaveRoom(userId: UserId, roomId: RoomId): Promise<unknown>;
  /** Resolves when the sender to other servers needs the room's events no more. */
  settleSending(): Promise<void>;
  /** A room went by force, perhaps with members in it. */
  onForced(): void;
}

const MEMBERS_PER_STEP = 50;
/** Few beside those who send at the same time, since each costs as much as a message. */
const LEAVING_AT_ONCE = 4;
/** After each step the server's users have it to themselves for as long as the step took: up to so long. */
const MAX_REST_MS = 250;
/** Whoever joins while the room is evacuated is made to leave as well; beyond this somebody does it on purpose. */
const MAX_ROUNDS = 10;
/** An abandoned room harms nobody: better try again for a long time. */
const MAX_ATTEMPTS = 20;

export function createRoomDeletionKinds(options: RoomDeletionKindOptions): Readonly<Record<string, JobKind>> {
  return {
    [DELETE_ROOM]: {
      maxAttempts: 1,
      step: (job) => (job.cursor?.['phase'] === 'delete' ? deleteStep(options, job) : evacuateStep(options, job)),
    },
    [DELETE_ABANDONED_ROOM]: {
      maxAttempts: MAX_ATTEMPTS,
      async step({ subject }) {
        const isDeleted = await dropRoom(options, subject as RoomId, { isForced: false });
        return { cursor: undefined, progress: { deleted: isDeleted ? 1 : 0 } };
      },
    },
  };
}

async function evacuateStep(options: RoomDeletionKindOptions, job: Job): Promise<JobStep> {
  const { database, serverName, logger, clock } = options;
  const startedAt = clock.monotonic();
  const roomId = job.subject as RoomId;
  const isForced = job.params['force'] === true;
  const round = Number(job.cursor?.['round'] ?? 1);
  const after = String(job.cursor?.['after'] ?? '');
  const members = await listLocalMembers(database, { roomId, serverName, after, limit: MEMBERS_PER_STEP });
  let failed = 0;
  await forEachLimited(members, LEAVING_AT_ONCE, async (userId) => {
    try {
      await options.leaveRoom(userId, roomId);
    } catch (cause) {
      if (!isForced) throw new JobFailure(`${userId} could not be made to leave: ${messageOf(cause)}`, { cause });
      failed += 1;
      logger.warn({ cause, roomId, userId }, 'a member could not be made to leave a room that is being deleted');
    }
  });
  const progress = {
    members_left: Number(job.progress['members_left'] ?? 0) + members.length - failed,
    members_not_left: Number(job.progress['members_not_left'] ?? 0) + failed,
  };
  const last = members.at(-1);
  if (last !== undefined) await rest(clock, clock.monotonic() - startedAt);
  return {
    cursor: last === undefined ? { phase: 'delete', round } : { phase: 'evacuate', round, after: last },
    progress,
  };
}

function rest(clock: Clock, milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(Math.min(MAX_REST_MS, milliseconds), resolve);
  });
}

async function deleteStep(options: RoomDeletionKindOptions, job: Job): Promise<JobStep> {
  const { progress } = job;
  const round = Number(job.cursor?.['round'] ?? 1);
  const isForced = job.params['force'] === true;
  const isDeleted = await dropRoom(options, job.subject as RoomId, { isForced });
  if (isDeleted) return { cursor: undefined, progress };
  if (round >= MAX_ROUNDS) throw new JobFailure('users of this server kept joining the room');
  return { cursor: { phase: 'evacuate', round: round + 1 }, progress };
}

/** False where local users are in the room, which then stays as it is. */
async function dropRoom(
  options: RoomDeletionKindOptions,
  roomId: RoomId,
  { isForced }: { readonly isForced: boolean },
): Promise<boolean> {
  const { engine, database, serverName } = options;
  const work = async (snapshot: RoomSnapshot | undefined): Promise<boolean> => {
    if (isForced) {
      await options.settleSending().catch((cause: unknown) => {
        options.logger.warn({ cause, roomId }, 'other servers may not hear that users left a room that is deleted');
      });
      await deleteByForce(options, roomId);
      options.onForced();
      return true;
    }
    if (snapshot !== undefined && hasLocalMembers(snapshot, serverName)) return false;
    await options.settleSending();
    // Who was invited from outside meanwhile is not to lose the invite unheard.
    return database.transaction(async (tx) => {
      if (await hasPendingOutside(tx, roomId)) return false;
      await deleteRoomRows(tx, roomId, serverName);
      return true;
    });
  };
  try {
    return await engine.dropRoom(roomId, work);
  } catch (cause) {
    if (!isForced) throw cause;
    options.logger.warn({ cause, roomId }, 'a room that is being deleted could not be read');
    return work(undefined);
  }
}

/** In one transaction where that works, else table by table. */
async function deleteByForce({ database, serverName, logger }: RoomDeletionKindOptions, roomId: RoomId): Promise<void> {
  try {
    await database.transaction((tx) => deleteRoomRows(tx, roomId, serverName));
  } catch (cause) {
    logger.warn({ cause, roomId }, 'a room could not be deleted in one transaction');
    const failures = await deleteRoomRowsByForce(database, roomId, serverName);
    for (const [table, failure] of failures) {
      logger.warn({ cause: failure, roomId, table }, 'rows of a deleted room had to stay');
    }
  }
}

/** Whether anybody of this server is in the room, invited to it or knocking on it. */
export function hasLocalMembers(snapshot: RoomSnapshot, serverName: ServerName): boolean {
  for (const { stateKey, content } of snapshot.members()) {
    const { membership } = content;
    const isThere = membership === 'join' || membership === 'invite' || membership === 'knock';
    // A membership event was accepted, so its state key is a user id.
    if (isThere && serverNameOf(stateKey as UserId) === serverName) return true;
  }
  return false;
}

export interface RoomDeletionOptions {
  readonly database: Database;
  readonly jobs: {
    add(tx: Transaction, request: JobRequest): Promise<number | undefined>;
    wake(): void;
    wait(jobId: number): Promise<Job>;
    isActive(kind: string): Promise<boolean>;
  };
}

export interface RoomDeletionRequest {
  readonly roomId: RoomId;
  readonly force: boolean;
  readonly requestedBy: string;
}

/** Resolves when the room is gone. M_LIMIT_EXCEEDED while another is being deleted. */
export type DeleteRoom = (request: RoomDeletionRequest) => Promise<void>;

/** A guess: most deletions take seconds. */
const RETRY_AFTER_MS = 5_000;

export function createRoomDeletion({ database, jobs }: RoomDeletionOptions): DeleteRoom {
  let isBusy = false;
  const run = async ({ roomId, force, requestedBy }: RoomDeletionRequest): Promise<void> => {
    // One that an earlier process began may still be under way.
    const isActive = await jobs.isActive(DELETE_ROOM);
    const request = { kind: DELETE_ROOM, subject: roomId, params: { force }, requestedBy };
    const jobId = isActive ? undefined : await jobs.add(database, request);
    if (jobId === undefined) throw busy();
    jobs.wake();
    const { state, error } = await jobs.wait(jobId);
    if (state !== 'done') throw new MatrixError('M_UNKNOWN', `The room could not be deleted: ${error ?? state}`);
  };
  return async (request) => {
    if (isBusy) throw busy();
    isBusy = true;
    try {
      await run(request);
    } finally {
      isBusy = false;
    }
  };
}

function busy(): MatrixError {
  return new MatrixError('M_LIMIT_EXCEEDED', 'Another room is being deleted', {
    fields: { retry_after_ms: RETRY_AFTER_MS },
    headers: { 'retry-after': String(RETRY_AFTER_MS / 1000) },
  });
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
