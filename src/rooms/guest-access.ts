/**
 * Guests in rooms: they join only where the room says so, and leave when it stops saying so. Whoever follows the stream
 * only learns sooner: a start looks for all guests who should have left, so that none stays when the process ends in
 * between. Leaving is a job, since a room may hold many of them.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#guest-access
 */
import type { RoomEngine } from '../engine/types.ts';
import type { JobKind, JobRequest } from '../jobs/job-runner.ts';
import { forEachLimited } from '../lib/limited-concurrency.ts';
import type { Logger } from '../lib/logger.ts';
import type { RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { listJoinedGuests, listRoomsWithUnwelcomeGuests } from '../storage/guests.ts';
import { type PduRow, pduStream } from '../storage/pdu-stream.ts';
import type { Hub } from '../streams/hub.ts';
import { allowsGuests, changeMembership } from './membership-changes.ts';

export const EVICT_GUESTS = 'evict_guests';

export interface GuestEvictionOptions {
  readonly database: Database;
  readonly engine: Pick<RoomEngine, 'send'>;
  readonly serverName: ServerName;
  readonly logger: Logger;
}

/** A step takes well under a second, so that stopping need not wait for long. */
const GUESTS_PER_STEP = 50;
const LEAVING_AT_ONCE = 8;
const MAX_ATTEMPTS = 20;

export function createGuestEvictionKind({ database, engine, serverName, logger }: GuestEvictionOptions): JobKind {
  const evict = (userId: UserId, roomId: RoomId): Promise<unknown> =>
    engine.send({
      roomId,
      decide(snapshot) {
        // The room may have changed its mind, and the guest may have left.
        if (allowsGuests(snapshot) || snapshot.membershipOf(userId) !== 'join') return [];
        return changeMembership(snapshot, { sender: userId, target: userId, membership: 'leave', content: {} });
      },
    });
  return {
    maxAttempts: MAX_ATTEMPTS,
    isRoutine: true,
    async step({ subject, cursor, progress }) {
      const roomId = subject as RoomId;
      const after = String(cursor?.['after'] ?? '');
      const guests = await listJoinedGuests(database, { roomId, serverName, after, limit: GUESTS_PER_STEP });
      let left = 0;
      await forEachLimited(guests, LEAVING_AT_ONCE, async (userId) => {
        try {
          await evict(userId, roomId);
          left += 1;
        } catch (cause) {
          logger.warn({ cause, roomId, userId }, 'a guest could not be made to leave');
        }
      });
      const last = guests.at(-1);
      return {
        cursor: last === undefined ? undefined : { after: last },
        progress: { guests_left: Number(progress['guests_left'] ?? 0) + left },
      };
    },
  };
}

export interface GuestAccessOptions {
  readonly database: Database;
  readonly hub: Hub;
  readonly engine: Pick<RoomEngine, 'getSnapshot'>;
  readonly jobs: { addAgain(tx: Transaction, request: JobRequest): Promise<number>; wake(): void };
  readonly serverName: ServerName;
  readonly logger: Logger;
}

const ROOMS_PER_QUERY = 500;

/** Has to be made after the engine, so that rooms hear of a batch before this does. */
export async function followGuestAccess(options: GuestAccessOptions): Promise<Disposable> {
  const { database, hub, engine, jobs, serverName, logger } = options;
  const schedule = (roomId: RoomId): Promise<number> =>
    jobs.addAgain(database, { kind: EVICT_GUESTS, subject: roomId, params: {}, requestedBy: 'server' });
  const list = (after: string): Promise<readonly RoomId[]> =>
    listRoomsWithUnwelcomeGuests(database, { serverName, after, limit: ROOMS_PER_QUERY });
  for (let found = await list(''); found.length > 0; found = await list(found.at(-1) ?? '')) {
    for (const roomId of found) await schedule(roomId);
  }
  jobs.wake();
  return hub.follow((batch) => {
    const changed = new Set<RoomId>();
    for (const { row } of batch.rowsOf(pduStream)) {
      if (changesGuestAccess(row, engine)) changed.add(row.head.roomId);
    }
    for (const roomId of changed) {
      const snapshot = engine.getSnapshot(roomId);
      if (snapshot === undefined || allowsGuests(snapshot)) continue;
      schedule(roomId).then(jobs.wake, (cause: unknown) =>
        logger.warn({ cause, roomId }, 'guests will leave a room after the next start only'),
      );
    }
  });
}

function changesGuestAccess(
  { stored, state, head, replacesNid, redacts }: PduRow,
  engine: GuestAccessOptions['engine'],
): boolean {
  if (redacts !== undefined) {
    const current = engine.getSnapshot(head.roomId)?.get('m.room.guest_access', '');
    return current?.eventId === redacts.eventId;
  }
  // Where it replaces nothing, no guest can have joined.
  return stored.event.type === 'm.room.guest_access' && state !== undefined && replacesNid !== null;
}
