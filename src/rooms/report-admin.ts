/**
 * Reports as administrators see them: what was reported, by whom and why, the event's content as far as it is known, and
 * what they note about it.
 */
import { renderClientEvent } from '../engine/client-events.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Database } from '../storage/database.ts';
import {
  listReports,
  loadReport,
  type ReportsWanted,
  type ReportUpdate,
  type StoredReport,
  updateReport,
} from '../storage/report-admin.ts';

export interface ReportAdminOptions {
  readonly engine: Pick<RoomEngine, 'loadEvent'>;
  readonly database: Database;
  readonly clock: Clock;
}

export interface ReportAdmin {
  /** The newest first. */
  list(wanted: ReportsWanted): Promise<readonly StoredReport[]>;
  /** With the reported event where the server has it; throws M_NOT_FOUND for an unknown report. */
  load(reportId: number): Promise<StoredReport & { readonly event?: JsonObject }>;
  update(reportId: number, update: Omit<ReportUpdate, 'updatedAt'>): Promise<StoredReport>;
}

export function createReportAdmin({ engine, database, clock }: ReportAdminOptions): ReportAdmin {
  return {
    list: (wanted) => listReports(database, wanted),
    async load(reportId) {
      const report = await loadReport(database, reportId);
      if (report === undefined) throw unknownReport();
      const { room_id: roomId, event_id: eventId } = report;
      const stored = roomId === null || eventId === null ? undefined : await engine.loadEvent(roomId, eventId);
      if (stored === undefined) return report;
      return { ...report, event: renderClientEvent(stored, { userId: report.reporter }, clock.now()) };
    },
    async update(reportId, update) {
      const report = await updateReport(database, reportId, { ...update, updatedAt: clock.now() });
      if (report === undefined) throw unknownReport();
      return report;
    },
  };
}

function unknownReport(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'There is no such report');
}
