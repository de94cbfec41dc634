/**
 * Reports of content, kept for the administrators. Nobody learns from the answer whether what they reported exists: only
 * reports of what does exist, and of events that the reporter can see, are kept.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#reporting-content
 */
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility } from '../engine/visible-events.ts';
import type { Clock } from '../lib/clock.ts';
import { type EventId, localpartOf, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { loadAccountByLocalpart } from '../storage/accounts.ts';
import type { Transaction } from '../storage/database.ts';
import { insertReport, type NewReport } from '../storage/reports.ts';
import { type Actor, requireNotSuspended } from './actor.ts';

export interface Reports {
  reportEvent(
    actor: Actor,
    event: { readonly roomId: RoomId; readonly eventId: EventId },
    reason: string,
  ): Promise<void>;
  reportRoom(actor: Actor, roomId: RoomId, reason: string): Promise<void>;
  reportUser(actor: Actor, userId: UserId, reason: string): Promise<void>;
}

export interface ReportsOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot' | 'loadEvent'>;
  readonly database: Transaction;
  readonly visibility: Visibility;
  readonly clock: Clock;
  readonly serverName: ServerName;
}

/** What an administrator can be expected to read, in UTF-16 code units. */
const MAX_REASON_LENGTH = 4_000;

export function createReports({ engine, database, visibility, clock, serverName }: ReportsOptions): Reports {
  const keep = (report: Omit<NewReport, 'createdAt'>): Promise<void> => {
    const reason = report.reason.slice(0, MAX_REASON_LENGTH).toWellFormed();
    return insertReport(database, { ...report, reason, createdAt: clock.now() });
  };
  return {
    async reportEvent(actor, { roomId, eventId }, reason) {
      requireNotSuspended(actor);
      const snapshot = await engine.loadSnapshot(roomId);
      if (snapshot?.membershipOf(actor.userId) !== 'join') return;
      const stored = await engine.loadEvent(roomId, eventId);
      const [visible] = stored === undefined ? [] : await visibility.filterVisible([stored], actor, snapshot);
      if (visible === undefined) return;
      await keep({ kind: 'event', reporter: actor.userId, roomId, eventId, userId: visible.event.sender, reason });
    },

    async reportRoom(actor, roomId, reason) {
      requireNotSuspended(actor);
      if ((await engine.loadSnapshot(roomId)) === undefined) return;
      await keep({ kind: 'room', reporter: actor.userId, roomId, reason });
    },

    async reportUser(actor, userId, reason) {
      requireNotSuspended(actor);
      // Whether a user of another server exists is for that server to know.
      const isLocal = serverNameOf(userId) === serverName;
      if (isLocal && (await loadAccountByLocalpart(database, localpartOf(userId))) === undefined) return;
      await keep({ kind: 'user', reporter: actor.userId, userId, reason });
    },
  };
}
