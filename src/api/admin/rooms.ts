/**
 * Rooms: delete one, list and look at them.
 */
import { Type } from 'typebox';
import { optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { parseRoomId, type RoomId } from '../../protocol/ids.ts';
import type { AdminRooms } from '../../rooms/admin-rooms.ts';
import type { BlockedRooms } from '../../rooms/blocked-rooms.ts';
import type { DeleteRoom } from '../../rooms/delete-room.ts';
import {
  type AdminEndpoint,
  DEFAULT_PAGE,
  defineAdminEndpoint,
  Empty,
  readLimit,
  readNumber,
} from './admin-endpoint.ts';
import { nameOf } from './audit.ts';

export interface AdminRoomEndpointsOptions {
  readonly deleteRoom: DeleteRoom;
  readonly adminRooms: AdminRooms;
  readonly blockedRooms: Pick<BlockedRooms, 'list' | 'block' | 'unblock'>;
}

const RoomList = Type.Object({
  chunk: Type.Array(Type.Object({}, { additionalProperties: true })),
  next_batch: Type.Optional(Type.Integer()),
});
const Anything = Type.Object({}, { additionalProperties: true });

export function adminRoomEndpoints(options: AdminRoomEndpointsOptions): readonly AdminEndpoint[] {
  return [deleteRoom(options), ...readRooms(options), ...blockRooms(options)];
}

function deleteRoom(options: AdminRoomEndpointsOptions): AdminEndpoint {
  return defineAdminEndpoint({
    method: 'DELETE',
    path: '/_hammerhead/v0/admin/rooms/{room_id}',
    auth: 'admin',
    body: Type.Object({ force: optional(Type.Boolean()) }),
    // The only key has a default, and proxies drop the bodies of DELETE.
    emptyBody: true,
    doc: { summary: 'Delete Room', answers: { 200: Empty } },
    async handle({ params, body, requester }) {
      const roomId = readRoomId(params.room_id);
      await options.deleteRoom({ roomId, force: body.force === true, requestedBy: nameOf(requester) });
      return {};
    },
  });
}

function readRooms({ adminRooms }: AdminRoomEndpointsOptions): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/rooms',
      auth: 'admin',
      query: Type.Object({
        since: Type.Optional(Type.String()),
        limit: Type.Optional(Type.String()),
        order_by: Type.Optional(Type.String()),
        search: Type.Optional(Type.String()),
      }),
      doc: { summary: 'List Rooms', answers: { 200: RoomList } },
      async handle({ query }) {
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        const skip = Math.max(0, readNumber('since', query.since) ?? 0);
        const orderBy = ORDERS.find((order) => order === (query.order_by ?? 'members'));
        if (orderBy === undefined) throw new MatrixError('M_INVALID_PARAM', `order_by is one of ${ORDERS.join(', ')}`);
        const rooms = await adminRooms.list({ skip, limit, orderBy, search: query.search ?? '' });
        return { chunk: rooms, ...(rooms.length === limit && { next_batch: skip + rooms.length }) };
      },
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/rooms/{room_id}',
      auth: 'admin',
      doc: { summary: 'Get Room', answers: { 200: Anything } },
      handle: ({ params }) => adminRooms.loadDetails(readRoomId(params.room_id)),
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/rooms/{room_id}/members',
      auth: 'admin',
      doc: { summary: 'List Members', answers: { 200: Anything } },
      handle: ({ params }) => adminRooms.loadMembers(readRoomId(params.room_id)),
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/statistics',
      auth: 'admin',
      doc: { summary: 'Get Statistics', answers: { 200: Anything } },
      handle: () => adminRooms.loadStatistics(),
    }),
  ];
}

function blockRooms({ blockedRooms }: AdminRoomEndpointsOptions): readonly AdminEndpoint[] {
  const path = '/_hammerhead/v0/admin/rooms/{room_id}/block';
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/blocked-rooms',
      auth: 'admin',
      doc: { summary: 'List Blocked Rooms', answers: { 200: RoomList } },
      handle: async () => ({ chunk: await blockedRooms.list() }),
    }),
    defineAdminEndpoint({
      method: 'PUT',
      path,
      auth: 'admin',
      doc: { summary: 'Block Room', answers: { 200: Empty } },
      async handle({ params, requester }) {
        await blockedRooms.block(readRoomId(params.room_id), nameOf(requester));
        return {};
      },
    }),
    defineAdminEndpoint({
      method: 'DELETE',
      path,
      auth: 'admin',
      doc: { summary: 'Unblock Room', answers: { 200: Empty } },
      async handle({ params }) {
        await blockedRooms.unblock(readRoomId(params.room_id));
        return {};
      },
    }),
  ];
}

const ORDERS = ['members', 'events', 'name'] as const;

function readRoomId(text: string): RoomId {
  const roomId = parseRoomId(text);
  if (roomId === undefined) throw new MatrixError('M_INVALID_PARAM', 'This is no room id');
  return roomId;
}
