/**
 * Reports of events, rooms and users: list, look at, work on.
 */
import { Type } from 'typebox';
import { MatrixError } from '../../protocol/errors.ts';
import type { ReportAdmin } from '../../rooms/report-admin.ts';
import {
  type AdminEndpoint,
  DEFAULT_PAGE,
  defineAdminEndpoint,
  Page,
  readEntryId,
  readLimit,
  readSince,
} from './admin-endpoint.ts';
import { nameOf } from './audit.ts';

export interface AdminReportOptions {
  readonly reports: ReportAdmin;
}

const COLLECTION = '/_hammerhead/v0/admin/reports';
const ONE = '/_hammerhead/v0/admin/reports/{report_id}';
const TextOrNull = Type.Union([Type.String(), Type.Null()]);
const State = Type.Enum(['open', 'resolved']);
const entry = {
  report_id: Type.Integer(),
  kind: Type.Enum(['event', 'room', 'user']),
  reporter: Type.String(),
  room_id: TextOrNull,
  event_id: TextOrNull,
  user_id: TextOrNull,
  reason: Type.String(),
  state: State,
  assignee: TextOrNull,
  note: TextOrNull,
  created_at: Type.Integer(),
  updated_at: Type.Union([Type.Integer(), Type.Null()]),
  updated_by: TextOrNull,
};
const Report = Type.Object(entry);
const ReportWithEvent = Type.Object({
  ...entry,
  event: Type.Optional(Type.Object({}, { additionalProperties: true, description: 'As clients see it' })),
});
const Filters = {
  state: Type.Optional(State),
  kind: Type.Optional(Type.Enum(['event', 'room', 'user'])),
  reporter: Type.Optional(Type.String()),
  room_id: Type.Optional(Type.String()),
  user_id: Type.Optional(Type.String()),
  assignee: Type.Optional(Type.String()),
};
/** Names and user ids. */
const MAX_ASSIGNEE_LENGTH = 255;
/** As long as what users may write in a report. */
const MAX_NOTE_LENGTH = 4_000;
const Change = Type.Object({
  state: Type.Optional(State),
  assignee: Type.Optional(Type.Union([Type.String({ maxLength: MAX_ASSIGNEE_LENGTH }), Type.Null()])),
  note: Type.Optional(Type.Union([Type.String({ maxLength: MAX_NOTE_LENGTH }), Type.Null()])),
});

export function adminReportEndpoints({ reports }: AdminReportOptions): readonly AdminEndpoint[] {
  const readId = (text: string): number =>
    readEntryId('report_id', text, () => new MatrixError('M_NOT_FOUND', 'There is no such report'));
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: COLLECTION,
      auth: 'admin',
      query: Type.Object({ ...Page, ...Filters }),
      doc: {
        summary: 'List Reports',
        answers: { 200: Type.Object({ chunk: Type.Array(Report), next_batch: Type.Optional(Type.Integer()) }) },
      },
      async handle({ query }) {
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        const { state, kind, reporter, room_id: roomId, user_id: userId, assignee } = query;
        const filters = { state, kind, reporter, roomId, userId, assignee };
        const found = await reports.list({ before: readSince(query.since), limit, ...filters });
        const last = found.at(-1);
        return {
          chunk: found,
          ...(found.length === limit && last !== undefined && { next_batch: last.report_id }),
        };
      },
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: ONE,
      auth: 'admin',
      doc: { summary: 'Get Report', answers: { 200: ReportWithEvent } },
      handle: ({ params }) => reports.load(readId(params.report_id)),
    }),
    defineAdminEndpoint({
      method: 'PATCH',
      path: ONE,
      auth: 'admin',
      body: Change,
      doc: { summary: 'Update Report', answers: { 200: Report } },
      handle: ({ params, body, requester }) =>
        reports.update(readId(params.report_id), {
          state: body.state,
          assignee: body.assignee,
          note: body.note,
          updatedBy: nameOf(requester),
        }),
    }),
  ];
}
