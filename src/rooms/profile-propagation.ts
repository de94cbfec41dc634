/**
 * Shows a user's new name and avatar in the rooms that they are in: a job, since those may be thousands. Each step reads
 * the profile anew, and a change while the job is under way has it done once more, so that the newest profile wins in
 * every room; rooms that show it already get no event.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
 */
import type { RoomEngine } from '../engine/types.ts';
import type { JobKind, JobRequest } from '../jobs/job-runner.ts';
import { forEachLimited } from '../lib/limited-concurrency.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { listJoinedRooms } from '../storage/memberships.ts';
import { decideProfileChange } from './membership-changes.ts';
import type { LoadProfile } from './profile.ts';

export const PROPAGATE_PROFILE = 'propagate_profile';

export interface ProfilePropagationOptions {
  readonly database: Database;
  readonly engine: Pick<RoomEngine, 'send'>;
  readonly loadProfile: LoadProfile;
  /** Told of a room that could not be shown the profile; the others are shown it all the same. */
  readonly onFailed: (cause: unknown, roomId: RoomId) => void;
}

/** A step takes well under a second, so that stopping need not wait for long, and others get their turn. */
const ROOMS_PER_STEP = 64;
/** Rooms that hear of it at the same time: enough to fill commits, few enough to leave room for others. */
const ROOMS_AT_ONCE = 16;
/** Few retries would give up on a database that restarts; the delays between them grow to a minute. */
const MAX_ATTEMPTS = 20;

export function createProfilePropagationKind(options: ProfilePropagationOptions): JobKind {
  const { database, engine, loadProfile, onFailed } = options;
  return {
    maxAttempts: MAX_ATTEMPTS,
    isRoutine: true,
    async step({ subject, cursor, progress }) {
      const userId = subject as UserId;
      const after = String(cursor?.['after'] ?? '');
      const [profile, roomIds] = await Promise.all([
        loadProfile(userId),
        listJoinedRooms(database, { userId, after, limit: ROOMS_PER_STEP }),
      ]);
      let failed = 0;
      await forEachLimited(roomIds, ROOMS_AT_ONCE, async (roomId) => {
        try {
          await engine.send({ roomId, decide: (snapshot) => decideProfileChange(snapshot, { userId, profile }) });
        } catch (cause) {
          failed += 1;
          onFailed(cause, roomId);
        }
      });
      const isLast = roomIds.length < ROOMS_PER_STEP;
      return {
        cursor: isLast ? undefined : { after: roomIds.at(-1) ?? '' },
        progress: {
          rooms: Number(progress['rooms'] ?? 0) + roomIds.length - failed,
          rooms_failed: Number(progress['rooms_failed'] ?? 0) + failed,
        },
      };
    },
  };
}

export interface ProfilePropagation {
  /** In the transaction that stores the profile. */
  schedule(tx: Transaction, userId: UserId): Promise<unknown>;
  /** After that transaction. */
  start(): void;
}

export function createProfilePropagation(jobs: {
  addAgain(tx: Transaction, request: JobRequest): Promise<number>;
  wake(): void;
}): ProfilePropagation {
  return {
    schedule: (tx, userId) =>
      jobs.addAgain(tx, { kind: PROPAGATE_PROFILE, subject: userId, params: {}, requestedBy: userId }),
    start: () => jobs.wake(),
  };
}
