/**
 * Rooms: delete one, look at it and its members, give it an administrator, block it. The list is in room-list.ts.
 */
import { Type } from 'typebox';
import type { AdminUsers } from '../../accounts/admin-users.ts';
import { optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { parseRoomId, type RoomId } from '../../protocol/ids.ts';
import type { AdminRooms } from '../../rooms/admin-rooms.ts';
import type { BlockedRooms } from '../../rooms/blocked-rooms.ts';
import type { DeleteRoom } from '../../rooms/delete-room.ts';
import type { MakeRoomAdmin } from '../../rooms/make-room-admin.ts';
import { type AdminEndpoint, defineAdminEndpoint, Empty, MAX_PAGE, Page, readLimit } from './admin-endpoint.ts';
import { nameOf } from './audit.ts';

export interface AdminRoomEndpointsOptions {
  readonly deleteRoom: DeleteRoom;
  readonly adminRooms: AdminRooms;
  readonly blockedRooms: Pick<BlockedRooms, 'list' | 'block' | 'unblock'>;
  readonly makeRoomAdmin: MakeRoomAdmin;
  readonly users: AdminUsers;
}

const Anything = Type.Object({}, { additionalProperties: true });
const Member = Type.Object({
  user_id: Type.String(),
  membership: Type.Optional(Type.Unknown()),
  displayname: Type.Optional(Type.Unknown()),
});
const Members = Type.Object({ members: Type.Array(Member), next_batch: Type.Optional(Type.String()) });
const BlockedRoom = Type.Object({ room_id: Type.String(), blocked_by: Type.String(), created_at: Type.Integer() });
const ROOM = '/_hammerhead/v0/admin/rooms/{room_id}';

export function adminRoomEndpoints(options: AdminRoomEndpointsOptions): readonly AdminEndpoint[] {
  return [deleteRoom(options), ...readRoom(options), makeAdmin(options), ...blockRooms(options)];
}

function deleteRoom(options: AdminRoomEndpointsOptions): AdminEndpoint {
  return defineAdminEndpoint({
    method: 'DELETE',
    path: ROOM,
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

function readRoom({ adminRooms }: AdminRoomEndpointsOptions): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: ROOM,
      auth: 'admin',
      doc: { summary: 'Get Room', answers: { 200: Anything } },
      handle: ({ params }) => adminRooms.loadDetails(readRoomId(params.room_id)),
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/rooms/{room_id}/members',
      auth: 'admin',
      query: Type.Object({ ...Page, membership: Type.Optional(Type.String()) }),
      doc: { summary: 'List Members', answers: { 200: Members } },
      async handle({ params, query }) {
        const limit = readLimit(query.limit, MAX_PAGE);
        const wanted = { after: query.since ?? '', limit, membership: query.membership };
        const members = await adminRooms.loadMembers(readRoomId(params.room_id), wanted);
        const last = members.at(-1);
        return { members, ...(members.length === limit && last !== undefined && { next_batch: last.user_id }) };
      },
    }),
  ];
}

function makeAdmin({ users, makeRoomAdmin }: AdminRoomEndpointsOptions): AdminEndpoint {
  return defineAdminEndpoint({
    method: 'POST',
    path: '/_hammerhead/v0/admin/rooms/{room_id}/make-admin',
    auth: 'admin',
    body: Type.Object({ user_id: Type.String() }),
    doc: {
      summary: 'Make Room Admin',
      answers: {
        200: Type.Object({ power_level: Type.Union([Type.Integer(), Type.Null()]), granted_by: Type.String() }),
      },
    },
    async handle({ params, body }) {
      const roomId = readRoomId(params.room_id);
      const { userId, account } = await users.find(body.user_id);
      if (account.isDeactivated) throw new MatrixError('M_USER_DEACTIVATED', 'This account has been deactivated');
      return makeRoomAdmin(roomId, userId);
    },
  });
}

function blockRooms({ blockedRooms }: AdminRoomEndpointsOptions): readonly AdminEndpoint[] {
  const path = '/_hammerhead/v0/admin/rooms/{room_id}/block';
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/blocked-rooms',
      auth: 'admin',
      query: Type.Object(Page),
      doc: {
        summary: 'List Blocked Rooms',
        answers: { 200: Type.Object({ chunk: Type.Array(BlockedRoom), next_batch: Type.Optional(Type.String()) }) },
      },
      async handle({ query }) {
        const limit = readLimit(query.limit, MAX_PAGE);
        const chunk = await blockedRooms.list({ after: query.since ?? '', limit });
        const last = chunk.at(-1);
        return { chunk, ...(chunk.length === limit && last !== undefined && { next_batch: last.room_id }) };
      },
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

export function readRoomId(text: string): RoomId {
  const roomId = parseRoomId(text);
  if (roomId === undefined) throw new MatrixError('M_INVALID_PARAM', 'This is no room id');
  return roomId;
}
