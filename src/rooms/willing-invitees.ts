/**
 * Rooms as clients have them, who cannot invite whoever does not want it.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#invite-permission
 */
import { parseUserId } from '../protocol/ids.ts';
import { requireWilling } from './invite-permissions.ts';
import type { Rooms } from './rooms.ts';

export function withInvitePermissions(rooms: Rooms): Rooms {
  const { database, memberships } = rooms;
  return {
    ...rooms,
    async create(creator, request) {
      await requireWilling(database, request.invites, creator.userId);
      return rooms.create(creator, request);
    },
    memberships: {
      ...memberships,
      async invite(actor, request) {
        await requireWilling(database, [request.target], actor.userId);
        return memberships.invite(actor, request);
      },
    },
    async setState(actor, request) {
      const isInvite = request.type === 'm.room.member' && request.content['membership'] === 'invite';
      const invitee = isInvite ? parseUserId(request.stateKey) : undefined;
      if (invitee !== undefined) await requireWilling(database, [invitee], actor.userId);
      return rooms.setState(actor, request);
    },
  };
}
