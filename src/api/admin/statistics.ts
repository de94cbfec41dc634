/**
 * What the server holds, and what takes the room: tables, and the media of each user. Of rooms the list of rooms tells.
 */
import { Type } from 'typebox';
import type { ServerStatistics } from '../../rooms/server-statistics.ts';
import { type AdminEndpoint, DEFAULT_PAGE, defineAdminEndpoint, Page, readLimit } from './admin-endpoint.ts';
import { createCursor } from './cursor.ts';

const Totals = Type.Object({
  accounts: Type.Integer(),
  deactivated_accounts: Type.Integer(),
  devices: Type.Integer(),
  rooms: Type.Integer(),
  events: Type.Integer(),
  open_reports: Type.Integer(),
  database_bytes: Type.Integer(),
});
const Tables = Type.Object({
  chunk: Type.Array(Type.Object({ table: Type.String(), bytes: Type.Integer(), rows: Type.Integer() })),
});
const MediaByUser = Type.Object({
  chunk: Type.Array(Type.Object({ user_id: Type.String(), files: Type.Integer(), bytes: Type.Integer() })),
  next_batch: Type.Optional(Type.String()),
});
const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const byBytes = createCursor(Type.Tuple([Bytes, Type.String()]));

export function adminStatisticsEndpoints(statistics: ServerStatistics): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/statistics',
      auth: 'admin',
      doc: { summary: 'Get Statistics', answers: { 200: Totals } },
      handle: () => statistics.load(),
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/statistics/tables',
      auth: 'admin',
      doc: { summary: 'List Table Sizes', answers: { 200: Tables } },
      handle: async () => ({ chunk: await statistics.listTables() }),
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/statistics/media',
      auth: 'admin',
      query: Type.Object(Page),
      doc: { summary: 'List Media Usage', answers: { 200: MediaByUser } },
      async handle({ query }) {
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        const chunk = await statistics.listMediaByUser({ after: byBytes.read(query.since), limit });
        const last = chunk.at(-1);
        const isMore = chunk.length === limit && last !== undefined;
        return { chunk, ...(isMore && { next_batch: byBytes.write([last.bytes, last.user_id]) }) };
      },
    }),
  ];
}
