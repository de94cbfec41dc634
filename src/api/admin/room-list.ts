/**
 * The list of rooms, sorted and searched.
 */
import { Type } from 'typebox';
import { MatrixError } from '../../protocol/errors.ts';
import type { AdminRooms } from '../../rooms/admin-rooms.ts';
import { type AdminEndpoint, DEFAULT_PAGE, defineAdminEndpoint, Page, readLimit } from './admin-endpoint.ts';
import { createCursor } from './cursor.ts';

const Room = Type.Object({
  room_id: Type.String(),
  room_version: Type.String(),
  creator: Type.String(),
  created_at: Type.Integer(),
  is_public: Type.Boolean(),
  name: Type.Union([Type.String(), Type.Null()]),
  joined_members: Type.Integer(),
  local_members: Type.Integer(),
  events: Type.Integer(),
  event_bytes: Type.Integer(),
});
const RoomList = Type.Object({ chunk: Type.Array(Room), next_batch: Type.Optional(Type.String()) });

const FIGURES = { members: 'joined_members', events: 'events', bytes: 'event_bytes' } as const;
const Figure = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const byFigure = createCursor(Type.Tuple([Figure, Type.String()]));
const byName = createCursor(Type.Tuple([Type.String(), Type.String()]));

export function adminRoomListEndpoints(rooms: AdminRooms): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/rooms',
      auth: 'admin',
      query: Type.Object({
        ...Page,
        order_by: Type.Optional(Type.String()),
        search: Type.Optional(Type.String()),
      }),
      doc: { summary: 'List Rooms', answers: { 200: RoomList } },
      async handle({ query }) {
        const { since, search = '', order_by: order = 'members' } = query;
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        if (order === 'name') return listByName(rooms, { since, search, limit });
        if (order === 'members' || order === 'events' || order === 'bytes') {
          return listByFigure(rooms, order, { since, search, limit });
        }
        throw new MatrixError('M_INVALID_PARAM', 'order_by is one of members, events, bytes, name');
      },
    }),
  ];
}

interface Wanted {
  readonly since: string | undefined;
  readonly search: string;
  readonly limit: number;
}

async function listByFigure(
  rooms: AdminRooms,
  orderBy: keyof typeof FIGURES,
  { since, search, limit }: Wanted,
): Promise<object> {
  const chunk = await rooms.listByFigure({ orderBy, after: byFigure.read(since), limit, search });
  const last = chunk.at(-1);
  const isMore = chunk.length === limit && last !== undefined;
  return { chunk, ...(isMore && { next_batch: byFigure.write([last[FIGURES[orderBy]], last.room_id]) }) };
}

async function listByName(rooms: AdminRooms, { since, search, limit }: Wanted): Promise<object> {
  const found = await rooms.listByName({ after: byName.read(since), limit, search });
  const last = found.at(-1);
  const isMore = found.length === limit && last !== undefined;
  const chunk = found.map(({ sort_name: _sortName, ...room }) => room);
  return { chunk, ...(isMore && { next_batch: byName.write([last.sort_name, last.room_id]) }) };
}
