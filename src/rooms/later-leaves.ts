/**
 * Rejected invites and knocks taken back that no server could be told of: a job tells them later, for about a day. It does
 * nothing where the user stands to the room in another way by then, since a new invite must not be rejected by an old word.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
 */
import type { RoomEngine } from '../engine/types.ts';
import type { RemoteHandshakes } from '../federation/remote-handshakes.ts';
import { type Job, JobFailure, type JobKind, type JobStep } from '../jobs/job-runner.ts';
import type { EventId, RoomId, ServerName, UserId } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { getRoomVersion, type RoomVersion } from '../protocol/room-version.ts';
import type { Transaction } from '../storage/database.ts';
import { insertJob } from '../storage/jobs.ts';
import type { OutsideStandings } from './outside-standing.ts';

export const LEAVE_ELSEWHERE = 'leave_elsewhere';

export interface UntoldLeave {
  readonly userId: UserId;
  readonly roomId: RoomId;
  /** By which the user left here. */
  readonly eventId: EventId;
  readonly content: JsonObject;
  readonly servers: readonly ServerName[];
  readonly version: RoomVersion;
}

export interface LaterLeavesOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly standings: OutsideStandings;
  readonly handshakes: Pick<RemoteHandshakes, 'leave'>;
}

/** Twelve pauses until an hour is reached, and then one every hour for a day. */
const MAX_ATTEMPTS = 36;
const MAX_RETRY_MS = 60 * 60 * 1000;

/** Runs soon; whoever wakes no job is found within a minute. */
export async function addLaterLeave(tx: Transaction, untold: UntoldLeave, now: number): Promise<void> {
  const { userId, roomId, version, ...rest } = untold;
  await insertJob(tx, {
    kind: LEAVE_ELSEWHERE,
    // The event is part of it: an older word about the room does not stand in for this one.
    subject: `${userId} ${roomId} ${untold.eventId}`,
    params: { ...rest, userId, roomId, version: version.id },
    requestedBy: userId,
    createdAt: now,
    runAfter: now,
  });
}

export function createLaterLeaves({ engine, standings, handshakes }: LaterLeavesOptions): JobKind {
  const tell = async (untold: UntoldLeave): Promise<void> => {
    const { userId, roomId, eventId } = untold;
    const snapshot = await engine.loadSnapshot(roomId);
    if (!standings.isElsewhere(snapshot)) return;
    const standing = await standings.load({ userId, roomId }, snapshot);
    if (standing !== undefined && standing.eventId !== eventId) return;
    if ((await handshakes.leave(untold)) === undefined) throw new Error('no server in the room could be told');
  };
  return {
    maxAttempts: MAX_ATTEMPTS,
    maxRetryMs: MAX_RETRY_MS,
    isRoutine: true,
    async step(job): Promise<JobStep> {
      const untold = readUntold(job);
      await standings.exclusive(untold.roomId, () => tell(untold));
      return { cursor: undefined, progress: {} };
    },
  };
}

/** Written by `addLaterLeave`. */
function readUntold({ params }: Job): UntoldLeave {
  const { userId, roomId, eventId, content, servers } = params;
  const version = getRoomVersion(String(params['version']));
  if (version === undefined) throw new JobFailure('the room version is not known any more');
  return {
    userId: userId as UserId,
    roomId: roomId as RoomId,
    eventId: eventId as EventId,
    content: isJsonObject(content) ? content : {},
    servers: isJsonArray(servers) ? servers.map((name) => name as ServerName) : [],
    version,
  };
}
