/**
 * Reports as administrators work through them: the newest first, by state, assignee or what they are about.
 */
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export type ReportState = 'open' | 'resolved';

export interface StoredReport {
  readonly report_id: number;
  readonly kind: 'event' | 'room' | 'user';
  readonly reporter: UserId;
  readonly room_id: RoomId | null;
  readonly event_id: EventId | null;
  /** Of an event its sender. */
  readonly user_id: UserId | null;
  readonly reason: string;
  readonly state: ReportState;
  readonly assignee: string | null;
  readonly note: string | null;
  readonly created_at: number;
  readonly updated_at: number | null;
  readonly updated_by: string | null;
}

/** What is undefined is not asked for. */
export interface ReportsWanted {
  readonly before: number;
  readonly limit: number;
  readonly state: string | undefined;
  readonly kind: string | undefined;
  readonly reporter: string | undefined;
  readonly roomId: string | undefined;
  readonly userId: string | undefined;
  readonly assignee: string | undefined;
}

export function listReports(tx: Transaction, wanted: ReportsWanted): Promise<readonly StoredReport[]> {
  const { before, limit, state, kind, reporter, roomId, userId, assignee } = wanted;
  return tx.query(sql<StoredReport>`
    select report_id, kind, reporter, reported_room as room_id, reported_event as event_id, reported_user as user_id,
      reason, state, assignee, note, created_at, updated_at, updated_by
    from reports
    where report_id < ${before}
      and (${state ?? null}::text is null or state = ${state ?? null})
      and (${kind ?? null}::text is null or kind = ${kind ?? null})
      and (${reporter ?? null}::text is null or reporter = ${reporter ?? null})
      and (${roomId ?? null}::text is null or reported_room = ${roomId ?? null})
      and (${userId ?? null}::text is null or reported_user = ${userId ?? null})
      and (${assignee ?? null}::text is null or assignee = ${assignee ?? null})
    order by report_id desc limit ${limit}`);
}

export async function loadReport(tx: Transaction, reportId: number): Promise<StoredReport | undefined> {
  const [row] = await tx.query(sql<StoredReport>`
    select report_id, kind, reporter, reported_room as room_id, reported_event as event_id, reported_user as user_id,
      reason, state, assignee, note, created_at, updated_at, updated_by
    from reports where report_id = ${reportId}`);
  return row;
}

export interface ReportUpdate {
  /** Undefined leaves it as it is. */
  readonly state: ReportState | undefined;
  /** Undefined leaves it as it is, null takes it away. */
  readonly assignee: string | null | undefined;
  readonly note: string | null | undefined;
  readonly updatedAt: number;
  readonly updatedBy: string;
}

export async function updateReport(
  tx: Transaction,
  reportId: number,
  update: ReportUpdate,
): Promise<StoredReport | undefined> {
  const { state, assignee, note, updatedAt, updatedBy } = update;
  const [row] = await tx.query(sql<StoredReport>`
    update reports set state = coalesce(${state ?? null}, state),
      assignee = case when ${assignee !== undefined}::boolean then ${assignee ?? null}::text else assignee end,
      note = case when ${note !== undefined}::boolean then ${note ?? null}::text else note end,
      updated_at = ${updatedAt}, updated_by = ${updatedBy}
    where report_id = ${reportId}
    returning report_id, kind, reporter, reported_room as room_id, reported_event as event_id,
      reported_user as user_id, reason, state, assignee, note, created_at, updated_at, updated_by`);
  return row;
}
