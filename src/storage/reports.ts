/**
 * What users reported, for the administrators of the server. Reports outlive what they are about.
 */
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface NewReport {
  readonly kind: 'event' | 'room' | 'user';
  readonly reporter: UserId;
  readonly roomId?: RoomId | undefined;
  readonly eventId?: EventId | undefined;
  /** Of an event its sender. */
  readonly userId?: UserId | undefined;
  readonly reason: string;
  /** Unix milliseconds. */
  readonly createdAt: number;
}

/** A new report is open. */
export async function insertReport(tx: Transaction, report: NewReport): Promise<void> {
  const { kind, reporter, roomId, eventId, userId, reason, createdAt } = report;
  await tx.query(sql`
    insert into reports (kind, reporter, reported_room, reported_event, reported_user, reason, created_at)
    values (${kind}, ${reporter}, ${roomId ?? null}, ${eventId ?? null}, ${userId ?? null}, ${reason}, ${createdAt})`);
}
